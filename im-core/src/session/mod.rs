//! One link's life on the server, as a state machine: connected → authenticating → ready → draining → closed.
//!
//! A [`Session`] is fed [`Input`]s with the time and answers with [`Effect`]s; it has no clock, no socket and no task. Whoever
//! drives it (the gate in `im-transport`, the simulation, a test) writes what it says to write, passes its requests on to
//! [`Logic`](crate::logic::Logic) and feeds the answers back.
//!
//! It decodes only auth, logout, noop, acks and what concerns rooms: which ones a link is in is the session's to know. Every other command
//! passes through as (command, bytes).
//!
//! Rules it keeps, all from the protocol's description in `docs/protocol.md`: nothing is sent before the client's first frame; a
//! reply carries the client version, command and sequence number of its request; a push carries sequence number 0 and the link's last
//! client version; before auth only auth and noop are served; a reserved sequence number with another command closes the link.

mod frame;
mod limits;
mod machine;
mod rate;
mod rooms;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use im_proto::v1::ErrorResponse;
use im_proto::{CmdId, ErrorCode, Frame, OutFrame, Seq, Suffix};
use prost::Message as _;

use crate::id::{
    ConnId, DeviceId, DeviceType, IdError, LoginEpoch, MsgId, NodeId, RoomId, StoreEpoch, Uid, Version,
};
use crate::message::TimelineId;
use crate::ports::Credentials;
use crate::time::Timestamp;

pub use limits::SessionLimits;
pub use machine::Session;

/// The name under which a client asks for its version in the reply to a noop.
pub const NOOP_VERSION: &str = "noop_version";

/// What happened to a link.
#[derive(Clone, Debug)]
pub enum Input {
    /// A whole frame arrived.
    Frame(Frame),
    /// The bytes that arrived are no frame.
    Malformed(im_proto::FrameError),
    /// The answer to [`Effect::Login`].
    Verdict(Verdict),
    /// The answer to an [`Effect::Request`].
    Reply(Reply),
    /// Something for the client that it did not ask for. Dropped unless the session is ready.
    Push(Push),
    /// The link has to go.
    Kick {
        /// Why.
        reason: KickReason,
        /// For [`KickReason::GoingAway`]: when to come back.
        retry_after: Option<Duration>,
    },
    /// The time that [`Session::next_deadline`] named has come. Harmless if it has not.
    Timeout,
    /// The link is gone: closed by the peer, broken, or cut for reading too slowly.
    Gone,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Write this frame.
    Write(OutFrame),
    /// Log the client in; answer with [`Input::Verdict`].
    Login(Login),
    /// Serve this request; answer with [`Input::Reply`].
    Request(Request),
    /// The device holds something.
    Ack(Ack),
    /// From now on the link gets what is said in this room, by way of whoever drives the session: a list of links for each room, and
    /// [`Session::push_version`].
    Enter(RoomId),
    /// It does not any more.
    Exit(RoomId),
    /// The session, once ready, is over: remove its route, and the link from all its rooms. Comes once, after its last request.
    Leave(Arc<Caller>),
    /// Write what is queued, within a bounded time, then close the link. Nothing follows.
    Close(CloseReason),
}

/// A client that wants in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Who the session will speak for, if the login is granted. If the link is gone by then, whoever drives it
    /// removes this caller's route.
    pub caller: Arc<Caller>,
    /// What the client shows.
    pub credentials: Credentials,
}

/// The answer to a login.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The client is in.
    Granted(Granted),
    /// It is not: the link closes after the response.
    Refused {
        /// [`ErrorCode::RefusedToken`], or [`ErrorCode::Unavailable`] where the client should try again.
        code: ErrorCode,
        /// Words for a person.
        message: String,
        /// Words for the server's log: what a client need not know, but nothing that must be kept secret.
        cause: Cow<'static, str>,
    },
}

/// What a client that is in learns.
#[derive(Clone, Debug)]
pub struct Granted {
    /// The head of its timeline, read after its route was registered.
    pub head: Version,
    /// The server's time.
    pub server_time: Timestamp,
    /// The store's epoch.
    pub epoch: StoreEpoch,
    /// When its token ends.
    pub expires_at: Option<Timestamp>,
    /// The place of the login among the user's.
    pub login: LoginEpoch,
}

/// Who a ready session speaks for. Shared by all its requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub uid: Uid,
    /// The device.
    pub device: DeviceId,
    /// The device's type.
    pub device_type: DeviceType,
    /// The link.
    pub conn: ConnId,
    /// The node that holds the link.
    pub node: NodeId,
}

/// What a reply repeats of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The command.
    pub cmd: CmdId,
    /// The client's sequence number.
    pub seq: Seq,
    /// The client's version.
    pub client_version: u32,
    /// What the request counts against the link's bytes in flight.
    pub weight: u32,
}

/// A command for the use-cases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who asks.
    pub caller: Arc<Caller>,
    /// What the reply repeats.
    pub ticket: Ticket,
    /// The greatest version of the caller's own timeline that the link was told before it asked. No answer may say less.
    pub told: Version,
    /// The undecoded body; a slice of the read buffer.
    pub body: Bytes,
}

impl Request {
    /// A reply to this request, which tells no version of the caller's own timeline.
    #[must_use]
    pub fn reply(&self, body: Bytes) -> Reply {
        Reply { conn: self.caller.conn, ticket: self.ticket, told: Version::ZERO, body }
    }

    /// A reply that refuses this request: an [`ErrorResponse`], which decodes as the response of any command.
    #[must_use]
    pub fn refuse(&self, code: ErrorCode) -> Reply {
        self.reply(ErrorResponse::from(code).encode_to_vec().into())
    }
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The link that asked.
    pub conn: ConnId,
    /// What it repeats of the request.
    pub ticket: Ticket,
    /// The greatest version of the caller's own timeline that the body says there is; 0 if it says none.
    pub told: Version,
    /// The encoded body.
    pub body: Bytes,
}

/// A frame that the client did not ask for. Cloning shares the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The command.
    pub cmd: CmdId,
    /// The encoded body, the same for all receivers.
    pub body: Bytes,
    /// What differs by receiver.
    pub suffix: Suffix,
}

/// A device's acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Whose device.
    pub caller: Arc<Caller>,
    /// Of what.
    pub of: Acked,
}

/// What is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acked {
    /// Everything up to this version of this timeline.
    UpTo(TimelineId, Version),
    /// This one message, in the user's own timeline.
    Message(MsgId),
}

/// Why the server ends a login. The numbers are the protocol's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KickReason {
    /// The user logged in elsewhere. The client does not come back by itself.
    LoggedInElsewhere,
    /// An administrator removed it.
    Administrator,
    /// The token expired or was revoked.
    TokenEnded,
    /// The server goes away: reconnect, to another one if there is one.
    GoingAway,
}

impl KickReason {
    /// The number in [`Kickout`](im_proto::v1::Kickout).
    pub fn code(self) -> i32 {
        match self {
            Self::LoggedInElsewhere => 0,
            Self::Administrator => 1,
            Self::TokenEnded => 2,
            Self::GoingAway => 3,
        }
    }

    /// The reason with this number.
    pub fn from_code(code: i32) -> Option<Self> {
        [Self::LoggedInElsewhere, Self::Administrator, Self::TokenEnded, Self::GoingAway]
            .into_iter()
            .find(|reason| reason.code() == code)
    }
}

impl fmt::Display for KickReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LoggedInElsewhere => "logged in elsewhere",
            Self::Administrator => "removed by an administrator",
            Self::TokenEnded => "the token has ended",
            Self::GoingAway => "sent to another server",
        })
    }
}

/// Why a link closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// What arrived is no frame.
    #[error("malformed frame: {0}")]
    Malformed(im_proto::FrameError),
    /// A reserved sequence number with a command that it is not for.
    #[error("sequence number {seq} is not for command {cmd}")]
    ReservedSeq {
        /// The sequence number.
        seq: u32,
        /// The command.
        cmd: u32,
    },
    /// A command before auth.
    #[error("command {0} before auth")]
    BeforeAuth(u32),
    /// A second auth on one link.
    #[error("a second auth on one link")]
    SecondAuth,
    /// No auth within [`SessionLimits::auth_deadline`].
    #[error("no auth in time")]
    AuthDeadline,
    /// An auth that does not decode.
    #[error("an auth that does not decode")]
    UndecodableAuth,
    /// An auth with a user or a device that there cannot be: the field, and why not.
    #[error("{0}: {1}")]
    InvalidAuth(&'static str, IdError),
    /// The auth was refused.
    #[error("auth refused")]
    Refused,
    /// Nothing arrived within the idle limit.
    #[error("idle for too long")]
    Idle,
    /// The client logged out.
    #[error("logged out")]
    LoggedOut,
    /// The client was kicked.
    #[error("kicked: {0}")]
    Kicked(KickReason),
    /// The peer closed the link or it broke.
    #[error("the peer is gone")]
    Gone,
}
