//! The bodies of the busiest commands without memory of their own: read from a request's bytes, or written from where the values are.
//!
//! They are on the wire what their namesakes in [`v1`](crate::v1) are, which the tests compare; the generated ones are simpler to use.

use bytes::{Buf, BytesMut};
use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encoded_len_varint, key_len, skip_field,
};

/// A body that does not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body does not decode")]
pub struct BodyError;

/// [`v1::C2cRequest`](crate::v1::C2cRequest), read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are described in v1")]
pub struct C2cRequest<'a> {
    pub from: &'a str,
    pub to: &'a str,
    pub content: &'a [u8],
    pub client_msg_id: &'a str,
    pub content_type: i32,
}

impl<'a> C2cRequest<'a> {
    /// Reads a body.
    ///
    /// # Errors
    ///
    /// [`BodyError`] exactly where [`v1::C2cRequest`](crate::v1::C2cRequest) does not decode either.
    pub fn decode(mut body: &'a [u8]) -> Result<Self, BodyError> {
        let mut request = Self::default();
        while !body.is_empty() {
            let (tag, wire_type) = decode_key(&mut body).map_err(|_| BodyError)?;
            match tag {
                1 => request.from = text(wire_type, &mut body)?,
                2 => request.to = text(wire_type, &mut body)?,
                3 => request.content = bytes(wire_type, &mut body)?,
                10 => request.client_msg_id = text(wire_type, &mut body)?,
                11 => request.content_type = int32(wire_type, &mut body)?,
                _ => {
                    skip_field(wire_type, tag, &mut body, DecodeContext::default()).map_err(|_| BodyError)?
                }
            }
        }
        Ok(request)
    }
}

fn bytes<'a>(wire_type: WireType, body: &mut &'a [u8]) -> Result<&'a [u8], BodyError> {
    let len = match wire_type {
        WireType::LengthDelimited => decode_varint(body).map_err(|_| BodyError)?,
        _ => return Err(BodyError),
    };
    let len = usize::try_from(len).map_err(|_| BodyError)?;
    let value = body.get(..len).ok_or(BodyError)?;
    body.advance(len);
    Ok(value)
}

fn text<'a>(wire_type: WireType, body: &mut &'a [u8]) -> Result<&'a str, BodyError> {
    std::str::from_utf8(bytes(wire_type, body)?).map_err(|_| BodyError)
}

/// As every int32 of protobuf, a longer number loses its upper half.
#[allow(clippy::cast_possible_truncation)]
fn int32(wire_type: WireType, body: &mut &[u8]) -> Result<i32, BodyError> {
    match wire_type {
        WireType::Varint => Ok(decode_varint(body).map_err(|_| BodyError)? as i32),
        _ => Err(BodyError),
    }
}

/// [`v1::C2cPush`](crate::v1::C2cPush) but for the version, which is the frame's [`Suffix`](crate::Suffix), to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are described in v1")]
pub struct C2cPush<'a> {
    pub from: &'a str,
    pub content: &'a [u8],
    pub msgid: i64,
    pub timestamp: i64,
    pub content_type: i32,
    pub client_msg_id: &'a str,
    pub to: &'a str,
}

#[allow(clippy::len_without_is_empty, reason = "a push has a msgid at least")]
impl C2cPush<'_> {
    /// The body's length in bytes.
    pub fn len(&self) -> usize {
        let mut len = Length(0);
        self.visit(&mut len);
        len.0
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut BytesMut) {
        self.visit(out);
    }

    fn visit(&self, fields: &mut impl Fields) {
        fields.bytes(1, self.from.as_bytes());
        fields.bytes(2, self.content);
        fields.int64(3, self.msgid);
        fields.int64(4, self.timestamp);
        fields.int64(11, i64::from(self.content_type));
        fields.bytes(12, self.client_msg_id.as_bytes());
        fields.bytes(13, self.to.as_bytes());
    }
}

/// A [`v1::C2cResponse`](crate::v1::C2cResponse) without an error, to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are described in v1")]
pub struct C2cAccepted {
    pub msgid: i64,
    pub timestamp: i64,
    pub version: i64,
}

#[allow(clippy::len_without_is_empty, reason = "an accepted message has a msgid at least")]
impl C2cAccepted {
    /// The most bytes that it takes: three one-byte tags and ten-byte varints.
    pub const MAX_LEN: usize = 33;

    /// The body's length in bytes.
    pub fn len(&self) -> usize {
        let mut len = Length(0);
        self.visit(&mut len);
        len.0
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut BytesMut) {
        self.visit(out);
    }

    fn visit(&self, fields: &mut impl Fields) {
        fields.int64(1, self.msgid);
        fields.int64(2, self.timestamp);
        fields.int64(10, self.version);
    }
}

/// What is done with a message's fields, in their order. A field with its default value is left out.
trait Fields {
    fn bytes(&mut self, tag: u32, value: &[u8]);
    fn int64(&mut self, tag: u32, value: i64);
}

/// How long they are.
struct Length(usize);

impl Fields for Length {
    fn bytes(&mut self, tag: u32, value: &[u8]) {
        if !value.is_empty() {
            self.0 += key_len(tag) + encoded_len_varint(value.len() as u64) + value.len();
        }
    }

    fn int64(&mut self, tag: u32, value: i64) {
        if value != 0 {
            self.0 += key_len(tag) + encoded_len_varint(value.cast_unsigned());
        }
    }
}

/// Written at the end.
impl Fields for BytesMut {
    fn bytes(&mut self, tag: u32, value: &[u8]) {
        if !value.is_empty() {
            varint(u64::from(tag << 3 | WireType::LengthDelimited as u32), self);
            varint(value.len() as u64, self);
            self.extend_from_slice(value);
        }
    }

    fn int64(&mut self, tag: u32, value: i64) {
        if value != 0 {
            varint(u64::from(tag << 3 | WireType::Varint as u32), self);
            varint(value.cast_unsigned(), self);
        }
    }
}

/// In one piece: looking for room with every byte takes longer than making them.
fn varint(mut value: u64, out: &mut BytesMut) {
    let mut bytes = [0; 10];
    let mut len = 0;
    while value >= 0x80 {
        bytes[len] = 0x80 | value.to_le_bytes()[0];
        value >>= 7;
        len += 1;
    }
    bytes[len] = value.to_le_bytes()[0];
    out.extend_from_slice(&bytes[..=len]);
}
