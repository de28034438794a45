//! A frame as it was read.

use bytes::{Bytes, BytesMut};

use crate::{CmdId, HEADER_LEN, Header, Seq};

/// One frame: what [`Decoder`](crate::Decoder) yields, and the simplest thing to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The client SDK's version; a reply carries the value that the client sent.
    pub client_version: u32,
    /// The command.
    pub cmd: CmdId,
    /// The sequence number.
    pub seq: Seq,
    /// The body, mostly a protobuf message of [`v1`](crate::v1).
    pub body: Bytes,
}

impl Frame {
    /// The header that goes before the body.
    ///
    /// # Panics
    ///
    /// If the body is over 4 GiB, thousands of times what any reader accepts.
    pub fn header(&self) -> Header {
        Header {
            client_version: self.client_version,
            cmd: self.cmd,
            seq: self.seq,
            body_len: length_field(self.body.len()),
        }
    }

    /// Appends the frame to `out`. It is not held against any limit: the writer of a body answers for
    /// its size.
    ///
    /// # Panics
    ///
    /// As [`header`](Self::header).
    pub fn encode(&self, out: &mut BytesMut) {
        out.reserve(HEADER_LEN + self.body.len());
        out.extend_from_slice(&self.header().to_bytes());
        out.extend_from_slice(&self.body);
    }
}

/// A body's length as its header carries it.
pub(crate) fn length_field(len: usize) -> u32 {
    u32::try_from(len).expect("a body that someone is to read is under MAX_FRAME, thus under 4 GiB")
}
