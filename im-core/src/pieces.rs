use bytes::{Bytes, BytesMut};

/// Makes short byte strings that share memory: an allocation for many of them. One that is kept holds up to [`PIECE`](Self::PIECE)
/// bytes, so longer ones get memory of their own.
pub(crate) struct Pieces {
    piece: BytesMut,
    left: usize,
}

impl Pieces {
    /// One allocation.
    const PIECE: usize = 4 << 10;

    /// About `bytes` are to come. The last of them, or an only one, gets memory of its own.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { piece: BytesMut::new(), left: bytes }
    }

    /// The `len` bytes that `write` appends.
    pub(crate) fn cut(&mut self, len: usize, write: impl FnOnce(&mut BytesMut)) -> Bytes {
        let is_last = self.left < 2 * len;
        self.left = self.left.saturating_sub(len);
        if self.piece.capacity() >= len {
            write(&mut self.piece);
            return self.piece.split().freeze();
        }
        if is_last || len > Self::PIECE / 4 {
            let mut alone = BytesMut::with_capacity(len);
            write(&mut alone);
            return alone.freeze();
        }
        self.piece = BytesMut::with_capacity(Self::PIECE.min(self.left + len));
        write(&mut self.piece);
        self.piece.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &mut Pieces, text: &[u8]) -> Bytes {
        pieces.cut(text.len(), |out| out.extend_from_slice(text))
    }

    #[test]
    fn short_ones_share_a_piece_and_a_long_one_has_its_own() {
        let mut pieces = Pieces::new(10_000);
        let long = vec![b'x'; 5_000];
        let cuts = [cut(&mut pieces, b"one"), cut(&mut pieces, &long), cut(&mut pieces, b"two")];
        assert_eq!(cuts, [&b"one"[..], &long, b"two"]);
        assert_eq!(cuts[0].as_ptr().wrapping_add(3), cuts[2].as_ptr());
    }

    #[test]
    fn more_may_come_than_was_thought() {
        let mut pieces = Pieces::new(3);
        let cuts = [b"one", b"two", b"six"].map(|text| cut(&mut pieces, text));
        assert_eq!(cuts, [&b"one"[..], b"two", b"six"]);
    }
}
