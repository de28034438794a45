//! The 20 bytes before every body.

use crate::{CmdId, FrameError, Limits, Seq};

/// The header's length without options, in bytes. Everything is written with exactly this much.
pub const HEADER_LEN: usize = 20;

/// [`HEADER_LEN`] as the header itself carries it.
const HEADER_LEN_FIELD: u32 = 20;

/// A frame's header: five big-endian `u32`, of which the first, the header's own length, is
/// implied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The client SDK's version. A reply carries the value that the client sent, or a Mars client
    /// disconnects.
    pub client_version: u32,
    /// The command.
    pub cmd: CmdId,
    /// The sequence number.
    pub seq: Seq,
    /// The body's length in bytes.
    pub body_len: u32,
}

/// A header read from the wire, with the length it was read with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parsed {
    /// The header's fields.
    pub header: Header,
    /// The whole header's length in bytes, options included; at least [`HEADER_LEN`].
    pub head_len: usize,
    /// The body's length in bytes, [`Header::body_len`] as a size.
    pub body_len: usize,
}

impl Parsed {
    /// The whole frame's length in bytes, at most the limit it was parsed with.
    pub const fn frame_len(&self) -> usize {
        self.head_len + self.body_len
    }
}

impl Header {
    /// The header as it goes over the wire, without options.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let fields = [HEADER_LEN_FIELD, self.client_version, self.cmd.0, self.seq.0, self.body_len];
        let mut bytes = [0; HEADER_LEN];
        for (chunk, field) in bytes.chunks_exact_mut(4).zip(fields) {
            chunk.copy_from_slice(&field.to_be_bytes());
        }
        bytes
    }

    /// Reads the header at the front of `bytes`. Options are not looked at, only counted.
    ///
    /// `None` means that more bytes are needed to know the header; the body, and options, need not be
    /// there.
    ///
    /// # Errors
    ///
    /// As early as the bytes allow it: [`FrameError::HeadTooShort`] and, for a header that alone exceeds
    /// the limit, [`FrameError::TooLarge`] from 4 bytes on; `TooLarge` for header and body together
    /// from 20 bytes on.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Option<Parsed>, FrameError> {
        let Some((head_len, rest)) = split_u32(bytes) else { return Ok(None) };
        if head_len < HEADER_LEN_FIELD {
            return Err(FrameError::HeadTooShort { head_len });
        }
        let head_size = within(u64::from(head_len), limits)?;
        let Some(header) = Self::parse_after_length(rest) else { return Ok(None) };
        let frame_size = within(u64::from(head_len) + u64::from(header.body_len), limits)?;
        Ok(Some(Parsed { header, head_len: head_size, body_len: frame_size - head_size }))
    }

    fn parse_after_length(bytes: &[u8]) -> Option<Header> {
        let (client_version, rest) = split_u32(bytes)?;
        let (cmd, rest) = split_u32(rest)?;
        let (seq, rest) = split_u32(rest)?;
        let (body_len, _) = split_u32(rest)?;
        Some(Header { client_version, cmd: CmdId(cmd), seq: Seq(seq), body_len })
    }
}

fn split_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (field, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*field), rest))
}

/// The length as a size in memory, if the limit allows it.
fn within(len: u64, limits: &Limits) -> Result<usize, FrameError> {
    let max = limits.max_frame();
    match usize::try_from(len) {
        Ok(len) if len <= max => Ok(len),
        _ => Err(FrameError::TooLarge { len, max }),
    }
}
