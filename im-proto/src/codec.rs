//! The codec as `tokio_util` wants it, for [`Framed`](https://docs.rs/tokio-util/latest/tokio_util/codec/struct.Framed.html) and its kin.

use std::io;

use bytes::BytesMut;
use thiserror::Error;
use tokio_util::codec;

use crate::{Decoder, Frame, FrameError, HEADER_LEN, Limits, OutFrame};

/// Reads and writes [`Frame`]s, and writes [`OutFrame`]s, within its limits in both directions.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameCodec {
    decoder: Decoder,
}

/// Why a framed stream ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CodecError {
    /// What was read is not a frame, or what was to be written is over the limit.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The stream below failed, or ended within a frame.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl FrameCodec {
    /// A codec that refuses frames over `limits`, read or written.
    pub const fn new(limits: Limits) -> Self {
        FrameCodec { decoder: Decoder::new(limits) }
    }

    fn check(&self, len: usize) -> Result<(), FrameError> {
        let max = self.decoder.limits().max_frame();
        if len <= max { Ok(()) } else { Err(FrameError::TooLarge { len: len as u64, max }) }
    }
}

impl codec::Decoder for FrameCodec {
    type Item = Frame;
    type Error = CodecError;

    fn decode(&mut self, buf: &mut BytesMut) -> Result<Option<Frame>, CodecError> {
        Ok(self.decoder.decode(buf)?)
    }
}

impl codec::Encoder<Frame> for FrameCodec {
    type Error = CodecError;

    fn encode(&mut self, frame: Frame, out: &mut BytesMut) -> Result<(), CodecError> {
        self.check(HEADER_LEN + frame.body.len())?;
        frame.encode(out);
        Ok(())
    }
}

impl codec::Encoder<OutFrame> for FrameCodec {
    type Error = CodecError;

    fn encode(&mut self, frame: OutFrame, out: &mut BytesMut) -> Result<(), CodecError> {
        self.check(frame.len())?;
        frame.encode(out);
        Ok(())
    }
}
