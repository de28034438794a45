//! Bytes of a stream into frames.

use bytes::{Buf, Bytes, BytesMut};

use crate::header::Parsed;
use crate::{Frame, FrameError, Header, Limits};

/// Takes frames off the front of a buffer, however the stream was cut into reads.
///
/// It keeps no state besides its limits: what is incomplete stays in the caller's buffer. It never
/// reserves memory because a header announced a length; the buffer grows only by what its owner reads
/// into it, and a well-behaved owner stops at [`Limits::max_frame`] bytes, which always hold at
/// least one frame or an error.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decoder {
    limits: Limits,
}

impl Decoder {
    /// A decoder that refuses frames over `limits`.
    pub const fn new(limits: Limits) -> Self {
        Decoder { limits }
    }

    /// The limits it was made with.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Takes exactly one frame off the front of `buf`; header options are dropped.
    ///
    /// `Ok(None)` means that the frame is not complete; `buf` is then untouched. The body is a slice of
    /// `buf`'s memory, not a copy, and keeps that memory alive: copy what outlives the turn.
    ///
    /// # Errors
    ///
    /// As [`Header::parse`]; `buf` is then untouched, and calling again gives the same error.
    pub fn decode(&self, buf: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some(parsed) = Header::parse(buf, &self.limits)? else { return Ok(None) };
        if buf.len() < parsed.frame_len() {
            return Ok(None);
        }
        Ok(Some(take(buf, parsed)))
    }
}

fn take(buf: &mut BytesMut, Parsed { header, head_len, body_len, .. }: Parsed) -> Frame {
    buf.advance(head_len);
    // An empty body must not keep the read buffer alive: it belongs to every keep-alive.
    let body = if body_len == 0 { Bytes::new() } else { buf.split_to(body_len).freeze() };
    Frame { client_version: header.client_version, cmd: header.cmd, seq: header.seq, body }
}
