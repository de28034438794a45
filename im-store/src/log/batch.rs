//! What one sync makes durable: a header, records, and bytes that are never zero at the end.
//!
//! The header's checksum starts from the store's own number, so that no message's content passes for a batch.

use super::codec::Input;
use super::record;

/// Checksum, sequence number, length of the rest, count of records, magic.
pub(super) const HEADER: usize = 24;

/// Batches begin at multiples of this, so that one is found among damage.
pub(super) const ALIGN: usize = 8;

/// The end of a header, without a zero byte: where it lacks, the header was not written to its end.
pub(super) const MAGIC: [u8; 4] = *b"IMB1";

/// What fills a batch up to its alignment; at least one byte of it ends every batch.
pub(super) const FILL: u8 = 0xED;

/// A batch's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Batches are numbered from 1 through the whole log.
    pub(super) seq: u64,
    /// Records and fill.
    pub(super) body_len: u32,
    pub(super) count: u32,
}

impl Header {
    /// The header at the front of `bytes`.
    pub(super) fn parse(bytes: &[u8], salt: u32) -> Option<Self> {
        let bytes = bytes.get(..HEADER)?;
        let mut input = Input(bytes);
        let crc = input.u32()?;
        let header = Self { seq: input.u64()?, body_len: input.u32()?, count: input.u32()? };
        (input.0 == MAGIC && crc == crc32c::crc32c_append(salt, &bytes[4..])).then_some(header)
    }
}

/// Builds a batch in a buffer that is used again and again.
#[derive(Debug)]
pub(super) struct Builder {
    bytes: Vec<u8>,
    count: u32,
    filled_up: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self { bytes: vec![0; HEADER], count: 0, filled_up: false }
    }
}

impl Builder {
    /// Starts the next batch. A buffer that one large batch made large is let go.
    pub(super) fn clear(&mut self) {
        /// Some hundred batches of ordinary size.
        const KEPT: usize = 8 << 20;
        self.bytes.truncate(HEADER);
        if self.bytes.capacity() > KEPT {
            self.bytes.shrink_to(KEPT);
        }
        self.count = 0;
        self.filled_up = false;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a record; where it begins in the batch.
    pub(super) fn add(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> usize {
        let start = self.bytes.len();
        put(&mut self.bytes);
        self.count += 1;
        start
    }

    /// The bytes of the batch from `offset`, before it is finished.
    pub(super) fn from(&self, offset: usize) -> &[u8] {
        &self.bytes[offset..]
    }

    /// How long the batch is with its end. Nothing can be added after.
    pub(super) fn fill_up(&mut self) -> usize {
        if !self.filled_up {
            self.bytes.resize((self.bytes.len() / ALIGN + 1) * ALIGN, FILL);
            self.filled_up = true;
        }
        self.bytes.len()
    }

    /// Gives the batch its number; all its bytes.
    pub(super) fn finish(&mut self, seq: u64, salt: u32) -> &[u8] {
        let body_len = self.fill_up() - HEADER;
        let body_len = u32::try_from(body_len).expect("the queue holds less than 4 GiB");
        let header = &mut self.bytes[..HEADER];
        header[4..12].copy_from_slice(&seq.to_le_bytes());
        header[12..16].copy_from_slice(&body_len.to_le_bytes());
        header[16..20].copy_from_slice(&self.count.to_le_bytes());
        header[20..].copy_from_slice(&MAGIC);
        let crc = crc32c::crc32c_append(salt, &header[4..]);
        header[..4].copy_from_slice(&crc.to_le_bytes());
        &self.bytes
    }
}

/// The payloads of a batch's records with the places where the records begin in its body; `None` unless every one is whole and nothing but
/// fill follows.
pub(super) fn payloads(header: Header, body: &[u8]) -> Option<Vec<(usize, &[u8])>> {
    let mut payloads = Vec::new();
    let mut at = 0;
    for _ in 0..header.count {
        let payload = record::payload(body.get(at..)?)?;
        payloads.push((at, payload));
        at += record::HEADER + payload.len();
    }
    let fill = &body[at..];
    (fill.len() <= ALIGN && !fill.is_empty() && fill.iter().all(|byte| *byte == FILL)).then_some(payloads)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_read_as_it_was_built_and_another_stores_is_not() {
        let mut builder = Builder::default();
        for _ in 0..2 {
            assert!(builder.is_empty());
            let first = builder.add(record::put_seal);
            let second = builder.add(record::put_seal);
            assert!(record::payload(builder.from(second)).is_some());
            let bytes = builder.finish(7, 42);
            assert_eq!(bytes.len() % ALIGN, 0);
            let header = Header::parse(bytes, 42).unwrap();
            assert_eq!(
                header,
                Header { seq: 7, body_len: (bytes.len() - HEADER).try_into().unwrap(), count: 2 }
            );
            let places: Vec<_> =
                payloads(header, &bytes[HEADER..]).unwrap().iter().map(|(at, _)| at + HEADER).collect();
            assert_eq!(places, [first, second]);
            assert_eq!(Header::parse(bytes, 43), None);
            builder.clear();
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_makes_a_batch_none() {
        let mut builder = Builder::default();
        builder.add(record::put_seal);
        let mut bytes = builder.finish(1, 0).to_vec();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let whole =
                Header::parse(&bytes, 0).is_some_and(|header| payloads(header, &bytes[HEADER..]).is_some());
            assert!(!whole, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
