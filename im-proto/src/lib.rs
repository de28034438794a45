//! The wire protocol of an instant-messaging server: frames and their bodies.

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

/// The protobuf messages that are the frames' bodies, generated from `proto/im/v1`.
pub mod v1 {
    include!("generated/im.v1.rs");
}

pub use command::{CmdId, Seq};
pub use decode::Decoder;
pub use encode::{OutFrame, Suffix};
pub use error::{ErrorCode, FrameError};
pub use frame::Frame;
pub use header::{HEADER_LEN, Header, Parsed};
pub use limits::{Limits, MAX_CLIENT_MSG_ID_LEN, MAX_DEVICE_ID_LEN, MAX_FRAME, MAX_UID_LEN};
