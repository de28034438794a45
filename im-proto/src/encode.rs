//! A frame to write, whose body may be shared by many receivers.

use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::frame::length_field;
use crate::{CmdId, Frame, HEADER_LEN, Header, Seq};

/// A frame to write. Its body on the wire is `body` followed by `suffix`, so that a message which goes
/// to many links is encoded once and shared, and only the few bytes that differ by receiver are each
/// link's own. [`header`](Self::header), `body` and `suffix` are meant to be three slices of one
/// vectored write; [`encode`](Self::encode) joins them in a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutFrame {
    /// The client SDK's version that the link's client sent last.
    pub client_version: u32,
    /// The command.
    pub cmd: CmdId,
    /// The sequence number.
    pub seq: Seq,
    /// What all receivers share.
    pub body: Bytes,
    /// What this receiver has for its own.
    pub suffix: Suffix,
}

#[allow(clippy::len_without_is_empty, reason = "a frame has a header at least")]
impl OutFrame {
    /// The frame's length on the wire in bytes: header, body and suffix.
    pub fn len(&self) -> usize {
        HEADER_LEN + self.body_len()
    }

    /// The header that goes before body and suffix.
    ///
    /// # Panics
    ///
    /// If the body is over 4 GiB, thousands of times what any reader accepts.
    pub fn header(&self) -> Header {
        Header {
            client_version: self.client_version,
            cmd: self.cmd,
            seq: self.seq,
            body_len: length_field(self.body_len()),
        }
    }

    /// Appends the frame to `out`. It is not held against any limit: the writer of a body answers for
    /// its size.
    ///
    /// # Panics
    ///
    /// As [`header`](Self::header).
    pub fn encode(&self, out: &mut BytesMut) {
        out.reserve(self.len());
        out.extend_from_slice(&self.header().to_bytes());
        out.extend_from_slice(&self.body);
        out.extend_from_slice(self.suffix.as_bytes());
    }

    fn body_len(&self) -> usize {
        self.body.len() + self.suffix.as_bytes().len()
    }
}

impl From<Frame> for OutFrame {
    fn from(frame: Frame) -> Self {
        let Frame { client_version, cmd, seq, body } = frame;
        OutFrame { client_version, cmd, seq, body, suffix: Suffix::NONE }
    }
}

/// The end of a protobuf body that differs by receiver. Protobuf fields may come in any order and a
/// message's bytes may be concatenated, so a body without the field, followed by the field, is the body
/// with it. Held inline, without heap memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Suffix {
    bytes: [u8; Suffix::MAX_LEN],
    len: u8,
}

/// Field 10 as a varint.
const VERSION_KEY: u8 = 10 << 3;

impl Suffix {
    /// The most bytes that a suffix takes: a one-byte tag and a ten-byte varint.
    pub const MAX_LEN: usize = 11;

    /// No suffix: the body is complete.
    pub const NONE: Suffix = Suffix { bytes: [0; Self::MAX_LEN], len: 0 };

    /// The field `version` (number 10, int64) of the pushes that have it: [`C2cPush`](crate::v1::C2cPush) and
    /// [`C2gPush`](crate::v1::C2gPush). Version 0, as for every proto3 default, is the empty suffix.
    pub fn version(version: i64) -> Suffix {
        let mut suffix = Suffix::NONE;
        if version == 0 {
            return suffix;
        }
        suffix.push(VERSION_KEY);
        let mut rest = version.cast_unsigned();
        while rest >= 0x80 {
            suffix.push(0x80 | rest.to_le_bytes()[0]);
            rest >>= 7;
        }
        suffix.push(rest.to_le_bytes()[0]);
        suffix
    }

    /// The version that this suffix says; 0 if it says none.
    pub fn named_version(&self) -> i64 {
        let Some((&VERSION_KEY, varint)) = self.as_bytes().split_first() else { return 0 };
        let mut version = 0_u64;
        for &byte in varint.iter().rev() {
            version = version << 7 | u64::from(byte & 0x7F);
        }
        version.cast_signed()
    }

    /// A version takes ten bytes at most, so that there is room.
    fn push(&mut self, byte: u8) {
        self.bytes[usize::from(self.len)] = byte;
        self.len += 1;
    }

    /// A suffix of these bytes, as [`as_bytes`](Self::as_bytes) gave them. `None` if there are more than [`MAX_LEN`](Self::MAX_LEN).
    pub fn from_bytes(bytes: &[u8]) -> Option<Suffix> {
        let mut suffix = Suffix::NONE;
        suffix.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        suffix.len = u8::try_from(bytes.len()).ok()?;
        Some(suffix)
    }

    /// The bytes that go after the body.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl Default for Suffix {
    fn default() -> Self {
        Suffix::NONE
    }
}

impl fmt::Debug for Suffix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Suffix").field(&self.as_bytes()).finish()
    }
}
