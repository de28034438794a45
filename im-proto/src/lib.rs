//! The wire protocol of an instant-messaging server: frames that are byte-compatible with the default
//! long link of Tencent Mars, and the protobuf bodies in them. It does no I/O and has no runtime; the
//! same code serves a socket, a WebSocket message, a long-poll batch and a fuzzer.
//!
//! # A frame
//!
//! Five big-endian `u32` and a body:
//!
//! | offset | field | meaning |
//! |---|---|---|
//! | 0 | head length | 20; a longer header carries options, which a reader skips |
//! | 4 | client version | the client SDK's; a reply carries the value the client sent |
//! | 8 | command | [`CmdId`] |
//! | 12 | sequence | [`Seq`]: chosen by the client from 1, echoed by the reply, 0 for a push |
//! | 16 | body length | the body alone |
//!
//! # Reading
//!
//! Append what arrives to a buffer and take frames off its front. The [`Decoder`] does not care how the
//! stream was cut into reads, refuses a frame as early as its bytes allow, and reserves nothing because a
//! header announced it. A body is a slice of the read buffer, and so is every `bytes` field decoded
//! from it: copy what outlives the turn.
//!
//! ```
//! use bytes::BytesMut;
//! use im_proto::{CmdId, Decoder, Frame, Seq, v1};
//! use prost::Message;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A client writes a message …
//! let request = v1::C2cRequest { to: "bob".into(), content: "hello".into(), ..Default::default() };
//! let body = request.encode_to_vec().into();
//! let mut sent = BytesMut::new();
//! Frame { client_version: 200, cmd: CmdId::C2C_SEND, seq: Seq(1), body }.encode(&mut sent);
//!
//! // … which arrives in two reads.
//! let decoder = Decoder::default();
//! let mut buf = BytesMut::from(&sent[..25]);
//! assert_eq!(decoder.decode(&mut buf)?, None);
//! buf.extend_from_slice(&sent[25..]);
//! let frame = decoder.decode(&mut buf)?.expect("the rest has arrived");
//! assert_eq!(frame.cmd, CmdId::C2C_SEND);
//! assert_eq!(v1::C2cRequest::decode(frame.body)?.content, "hello");
//! # Ok(())
//! # }
//! ```
//!
//! After a [`FrameError`] nothing that follows on the stream can be trusted: close it. A body that does not
//! decode harms no one else: answer with [`ErrorCode::UndecodableBody`] and go on.
//!
//! # Writing to many
//!
//! A push that goes to many links is encoded once. What differs by receiver, the version in the receiver's
//! own timeline, is a [`Suffix`] of the shared body, because protobuf fields may come in any order:
//!
//! ```
//! use bytes::{Bytes, BytesMut};
//! use im_proto::{CmdId, Decoder, OutFrame, Seq, Suffix, v1};
//! use prost::Message;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let push = v1::C2cPush { from: "alice".into(), content: "hello".into(), ..Default::default() };
//! let body = Bytes::from(push.encode_to_vec());
//! for version in [7, 8_000] {
//!     let out = OutFrame {
//!         client_version: 200,
//!         cmd: CmdId::C2C_PUSH,
//!         seq: Seq::PUSH,
//!         body: body.clone(),
//!         suffix: Suffix::version(version),
//!     };
//!     let mut wire = BytesMut::new();
//!     out.encode(&mut wire); // or a vectored write of out.header(), out.body and out.suffix
//!     let frame = Decoder::default().decode(&mut wire)?.expect("a whole frame was written");
//!     assert_eq!(v1::C2cPush::decode(frame.body)?, v1::C2cPush { version, ..push.clone() });
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Bodies
//!
//! [`v1`] holds a message for each command, generated from `proto/im/v1/*.proto`, which are the published
//! contract: fields are added, never changed. Field numbers up to 9 are what the oldest clients know;
//! from 10 up everything is optional for a client. Every response but
//! [`AuthResponse`](v1::AuthResponse) carries `err_code` 14 and `err_msg` 15, so
//! [`ErrorResponse`](v1::ErrorResponse), made from an [`ErrorCode`], refuses any request.
//!
//! [`borrowed`] has two of them again, for whoever counts allocations.
//!
//! # Trust
//!
//! Whatever bytes come in, decoding ends in a frame, a message or a typed error, and does not panic. Three
//! things are left to the caller:
//!
//! - Lengths inside a body, [`MAX_UID_LEN`] and its kin, are not checked.
//! - A decoded message can be larger than its body, because an element of a repeated field takes two bytes
//!   on the wire and more in memory: about 24 times for the capabilities of
//!   [`AuthRequest`](v1::AuthRequest), 200 times for a page of [`PullMsg`](v1::PullMsg), which only clients
//!   read. Read with small [`Limits`] from peers that have not authenticated.
//! - Writing is not held against `Limits`, except by the `codec` adapter: a body of your own making that is
//!   over the reader's limit ends the reader's link.
//!
//! # Features
//!
//! - `codec`: `codec::FrameCodec`, the decoder and encoder as `tokio_util` traits. Off by default.

pub mod borrowed;
#[cfg(feature = "codec")]
pub mod codec;
mod command;
mod decode;
mod encode;
mod error;
mod frame;
mod header;
mod limits;
mod redact;

/// The protobuf messages that are the frames' bodies, generated from `proto/im/v1/*.proto`.
pub mod v1 {
    include!("generated/im.v1.rs");
}

pub use command::{CmdId, Seq};
pub use decode::Decoder;
pub use encode::{OutFrame, Suffix};
pub use error::{ErrorCode, FrameError};
pub use frame::Frame;
pub use header::{HEADER_LEN, Header, Parsed};
pub use limits::{Limits, MAX_CLIENT_MSG_ID_LEN, MAX_DEVICE_ID_LEN, MAX_FRAME, MAX_ROOM_ID_LEN, MAX_UID_LEN};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
