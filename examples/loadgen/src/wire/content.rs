use crate::clock::Nanos;

/// Whom a floor relays a message to; its own server ignores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target(pub(crate) u32);

/// What a message says: enough to find out at the receiver whether it is the one that was due, and how long it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) target: Target,
    /// The stream of messages that it belongs to.
    pub(crate) stream: u32,
    /// Its number in that stream, from 0.
    pub(crate) number: u64,
    /// When it was to be sent.
    pub(crate) due: Nanos,
}

impl Stamp {
    /// Bytes that a stamp takes at the front of a content.
    pub(crate) const LEN: usize = 24;

    pub(crate) fn write(&self, content: &mut [u8]) {
        content[..4].copy_from_slice(&self.target.0.to_be_bytes());
        content[4..8].copy_from_slice(&self.stream.to_be_bytes());
        content[8..16].copy_from_slice(&self.number.to_be_bytes());
        content[16..24].copy_from_slice(&self.due.0.to_be_bytes());
    }

    /// `None` if the content is too short to be one of ours.
    pub(crate) fn read(content: &[u8]) -> Option<Stamp> {
        let (target, rest) = content.split_first_chunk()?;
        let (stream, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (due, _) = rest.split_first_chunk()?;
        Some(Stamp {
            target: Target(u32::from_be_bytes(*target)),
            stream: u32::from_be_bytes(*stream),
            number: u64::from_be_bytes(*number),
            due: Nanos(u64::from_be_bytes(*due)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let stamp = Stamp { target: Target(1), stream: 2, number: 3, due: Nanos(4) };
        let mut content = [b'x'; 100];
        stamp.write(&mut content);
        assert_eq!(Stamp::read(&content), Some(stamp));
        assert_eq!(Stamp::read(&content[..Stamp::LEN - 1]), None);
    }
}
