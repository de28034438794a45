//! What can be wrong: with a frame, and with a request.

use thiserror::Error;

use crate::v1::ErrorResponse;

/// Why bytes are not a frame. The stream cannot be trusted after one: close the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The header claims to be shorter than its own fixed part.
    #[error("header length {head_len} is below {}", crate::HEADER_LEN)]
    HeadTooShort {
        /// The length that the header declares, in bytes.
        head_len: u32,
    },
    /// Header and body together exceed the limit.
    #[error("frame of {len} bytes is over the limit of {max}")]
    TooLarge {
        /// What is known of the frame's length, in bytes: the declared header alone while the body's
        /// length has not arrived, else both.
        len: u64,
        /// The reader's limit, in bytes.
        max: usize,
    },
}

/// Why a request was refused, as `err_code` of its response says it. Code 0 is success and has no
/// variant here. An error stores nothing and keeps the link, except for a refused auth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[repr(i32)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The body is not the protobuf message that its command calls for.
    #[error("the body cannot be decoded")]
    UndecodableBody = 1,
    /// The token is forged, expired, revoked, or another user's.
    #[error("the token was refused")]
    RefusedToken = 2,
    /// A `from` or `uid` that is not the session's, or a target that is blocked or foreign.
    #[error("not allowed")]
    Forbidden = 3,
    /// What the request names does not exist.
    #[error("not found")]
    NotFound = 4,
    /// A field is over its limit.
    #[error("too large")]
    TooLarge = 5,
    /// The client asks too often; later it may succeed.
    #[error("too many requests, slow down")]
    RateLimited = 6,
    /// The server cannot do it now; later it may succeed.
    #[error("unavailable for now, try again")]
    Unavailable = 7,
    /// The `client_msg_id` was used before with another target, type or content.
    #[error("client_msg_id was used for another message")]
    ClientMsgIdReused = 8,
    /// No one serves the command.
    #[error("unknown command")]
    UnknownCommand = 9,
    /// An acknowledgement or offset beyond the newest version of the timeline.
    #[error("version is ahead of the timeline's head")]
    VersionAheadOfHead = 10,
    /// There are as many of it as the server allows: rooms of a link, say.
    #[error("as many as are allowed are there already")]
    TooMany = 11,
}

impl ErrorCode {
    /// Every code, in ascending order.
    pub const ALL: [ErrorCode; 11] = [
        ErrorCode::UndecodableBody,
        ErrorCode::RefusedToken,
        ErrorCode::Forbidden,
        ErrorCode::NotFound,
        ErrorCode::TooLarge,
        ErrorCode::RateLimited,
        ErrorCode::Unavailable,
        ErrorCode::ClientMsgIdReused,
        ErrorCode::UnknownCommand,
        ErrorCode::VersionAheadOfHead,
        ErrorCode::TooMany,
    ];

    /// The number on the wire, from 1.
    pub const fn code(self) -> i32 {
        self as i32
    }

    /// The error with this number on the wire; `None` for 0 (success) and for numbers of a newer
    /// protocol.
    pub fn from_code(code: i32) -> Option<ErrorCode> {
        Self::ALL.into_iter().find(|error| error.code() == code)
    }

    /// Whether the same request may succeed when it is sent again later.
    pub const fn is_retryable(self) -> bool {
        matches!(self, ErrorCode::RateLimited | ErrorCode::Unavailable)
    }
}

impl From<ErrorCode> for ErrorResponse {
    /// The body that answers a refused request, whatever its command.
    fn from(error: ErrorCode) -> Self {
        ErrorResponse { err_code: error.code(), err_msg: error.to_string() }
    }
}
