//! Inputs from a seed, for compilers without libFuzzer: half-right ones, because pure noise dies at the
//! first length it declares.

/// A small generator of numbers (SplitMix64): the same seed, the same numbers, on every machine.
pub struct Numbers(u64);

impl Numbers {
    /// The numbers of one seed.
    pub fn new(seed: u64) -> Self {
        Numbers(seed)
    }

    /// The next number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let [a, b, c, d, ..] = (mixed ^ (mixed >> 31)).to_be_bytes();
        u32::from_be_bytes([a, b, c, d]) % bound
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let [.., byte] = self.below(256).to_be_bytes();
        byte
    }

    /// Fewer than `bound` bytes of noise.
    pub fn noise(&mut self, bound: u32) -> Vec<u8> {
        (0..self.below(bound)).map(|_| self.byte()).collect()
    }
}

/// An input for [`frames`](super::frames): a choice of limit and reads, then frames, some of them bent.
pub fn stream(numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = vec![numbers.byte() & 0x03, numbers.byte(), numbers.byte(), 0];
    for _ in 0..numbers.below(8) {
        frame(numbers, &mut bytes);
    }
    bend(numbers, &mut bytes);
    bytes
}

fn frame(numbers: &mut Numbers, out: &mut Vec<u8>) {
    let options = if numbers.below(4) == 0 { numbers.noise(32) } else { Vec::new() };
    let body = numbers.noise(200);
    let fields = [
        20 + length(&options),
        numbers.below(300),
        1000 + numbers.below(20),
        numbers.below(9),
        length(&body),
    ];
    out.extend(fields.iter().flat_map(|field| field.to_be_bytes()));
    out.extend(options);
    out.extend(body);
}

/// An input for [`messages`](super::messages): well-formed fields under the numbers in use, some of them
/// bent.
pub fn message(numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..numbers.below(12) {
        field(numbers, &mut bytes);
    }
    bend(numbers, &mut bytes);
    bytes
}

/// A field of number 1 to 15: a varint or something with a length.
fn field(numbers: &mut Numbers, out: &mut Vec<u8>) {
    let [.., tag] = ((1 + numbers.below(15)) << 3).to_be_bytes();
    if numbers.below(2) == 0 {
        out.push(tag);
        out.extend((0..numbers.below(9)).map(|_| 0x80));
        out.push(numbers.byte() & 0x7F);
    } else {
        let value = numbers.noise(100);
        let [.., len] = length(&value).to_be_bytes();
        out.extend([tag | 2, len]);
        out.extend(value);
    }
}

/// In half of the inputs, sets up to four bytes to anything.
fn bend(numbers: &mut Numbers, bytes: &mut [u8]) {
    let len = length(bytes);
    if len == 0 || numbers.below(2) == 0 {
        return;
    }
    for _ in 0..numbers.below(5) {
        let at = usize::try_from(numbers.below(len)).expect("an index of memory");
        bytes[at] = numbers.byte();
    }
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("generated inputs are short")
}
