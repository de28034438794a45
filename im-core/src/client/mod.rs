//! The client's side of a link as a state machine: log in, send until acked, receive without a gap, come back.
//!
//! A [`Client`] outlives its links. It is fed [`Input`]s with the time and answers with [`Effect`]s; it has no clock, no socket, no
//! task and no chance of its own (jitter comes from a seed). Whoever drives it (the client in `im-transport`, the simulation, a test) opens
//! links, writes frames, and keeps the [`LocalStore`].
//!
//! What it promises, so far as its driver does what the effects say:
//! - **Sends** leave in the order they came, and those to one user keep it whatever fails: after a retryable failure everything from the failed
//!   one on is sent again. Each is answered once, by [`Effect::Acked`] or [`Effect::Rejected`].
//! - **Entries** come out of [`Effect::Apply`] once each, in version order, without a gap, whichever way they came: push, pull, or
//!   the ack of an own send. After [`Effect::BeginEpoch`] they come anew from the first; the local store
//!   [recognises](LocalStore::recognise) those that the device has.
//! - **Rooms** that were entered are entered again after every login. What is said there is said and heard at most once.
//! - **The cursor** moves only by [`Input::Applied`]; only it is acknowledged, by an ack or as the offset of a pull.
//! - **Bounds**: everything it keeps is bounded by [`ClientConfig`].
//!
//! | file | what |
//! |---|---|
//! | `machine` | the link's life (`link`), what arrives (`heard`), what leaves (`work`), another epoch (`epoch`), live chat (`rooms`) |
//! | `outbox` | what is to be sent, and what is in flight |
//! | `inbox` | what was received: order, gaps, the cursor |
//! | `heartbeat` | how long a link may be silent (Mars' smart heartbeat) |
//! | `store`, `memory` | [`LocalStore`] and its simplest adapter |

mod acks;
mod backoff;
mod config;
mod frame;
mod heartbeat;
mod inbox;
mod machine;
mod memory;
mod outbox;
mod random;
mod rooms;
mod seqs;
mod store;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use im_proto::{CmdId, ErrorCode, Frame, FrameError};

use crate::id::{ClientMsgId, MsgId, StoreEpoch, Uid, Version};
use crate::message::{ContentType, Target};
use crate::session::KickReason;
use crate::time::{Tick, Timestamp};

pub use backoff::Backoff;
pub use config::ClientConfig;
pub use heartbeat::{HeartbeatRange, SmartHeartbeat};
pub use machine::Client;
pub use memory::MemoryLocalStore;
pub use random::SplitMix64;
pub use rooms::{Heard, RoomAction, RoomEvent, Saying};
pub use store::{EarlierEntry, EarlierPlace, LocalStore, Saved};

/// What happened to the client.
#[derive(Clone, Debug)]
pub enum Input {
    /// Begin: comes once, first.
    Start,
    /// The link that [`Effect::Connect`] asked for is open.
    Connected,
    /// It could not be opened.
    ConnectFailed,
    /// A whole frame arrived on the open link.
    Frame(Frame),
    /// The bytes that arrived are no frame.
    Malformed(FrameError),
    /// The open link broke or was closed by the server. Not to be fed for a link that [`Effect::Disconnect`] gave up.
    Disconnected,
    /// Everything that [`Effect::Apply`] gave up to this version is durable on this device.
    Applied(Version),
    /// The device changed its network, or woke up: try now what was put off, and probe the link.
    NetworkChanged,
    /// Enter a room, leave it or speak there. [`Effect::Room`] answers.
    Room(RoomAction),
    /// The time that [`Client::next_deadline`] named has come. Harmless if it has not.
    Timeout,
    /// Leave for now: acknowledge what is applied and close. What is unsent stays in the local store, and the user stays logged in for wake-ups.
    Stop,
    /// Leave for good: as `Stop`, and tell the server that this device is not to be reached any more.
    Logout,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Open a link; answer with [`Input::Connected`] or [`Input::ConnectFailed`].
    Connect,
    /// Write this frame on the open link.
    Write(Frame),
    /// Write what is queued, within a bounded time, close the link and forget it: no input of it may follow. Where a link is only being
    /// opened, give that up.
    Disconnect,
    /// The server's store is in another epoch than what this device holds: it lost acknowledged messages. Make it durable, by
    /// [`LocalStore::begin_epoch`], before anything of a later [`Effect::Apply`]; no input answers it. Everything given out before is applied. From here on
    /// entries come from the first on, also those that the device has: show those only that [`LocalStore::recognise`] does not know.
    BeginEpoch(StoreEpoch),
    /// Make these durable together with `cursor`, then answer with [`Input::Applied`]. Entries are in version order and follow on the ones
    /// given before; `cursor` is at least the last one's version, and can be greater where the server has nothing more up to it.
    Apply {
        /// What is new.
        entries: Vec<LocalEntry>,
        /// What the device will hold everything up to.
        cursor: Version,
    },
    /// A send is durable at the server. Settle it in the local store.
    Acked(Receipt),
    /// A send was refused for good. Settle it in the local store.
    Rejected(Rejection),
    /// The login succeeded.
    LoggedIn {
        /// The newest version of the user's timeline.
        head: Version,
        /// The server's time.
        server_time: Timestamp,
    },
    /// There is no link until then.
    Offline {
        /// When the next try is made.
        retry_at: Tick,
    },
    /// Something happened in a room, or to a request that concerns one.
    Room(RoomEvent),
    /// A push or a reply that this machine has no use for: from a business server, or of a command that the integrator added.
    Other(Frame),
    /// The client is at its end. Nothing follows.
    Ended(EndReason),
}

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Unique for its sender, over all time and devices. A send with the same id is the same send.
    pub client_msg_id: ClientMsgId,
    /// Whom it is for.
    pub to: Uid,
    /// What the content is.
    pub content_type: ContentType,
    /// The content, opaque.
    pub content: Bytes,
}

impl Outgoing {
    /// About how many bytes it takes on the wire.
    pub fn size(&self) -> usize {
        self.content.len() + self.to.as_str().len() + self.client_msg_id.as_str().len() + 64
    }
}

/// An entry of the user's timeline, as this device holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalEntry {
    /// Its place in the timeline.
    pub version: Version,
    /// The message's id.
    pub msgid: MsgId,
    /// The command that brought it to the server, [`CmdId::C2C_SEND`] for a direct message.
    pub kind: CmdId,
    /// Who sent it.
    pub from: Uid,
    /// Whom it is for.
    pub to: Target,
    /// The name that its sender gave it, if any.
    pub client_msg_id: Option<ClientMsgId>,
    /// What the content is.
    pub content_type: ContentType,
    /// The content.
    pub content: Bytes,
    /// When the server accepted it.
    pub sent_at: Timestamp,
    /// When it was withdrawn, if it was; its content is empty then.
    pub withdrawn_at: Option<Timestamp>,
}

/// What tells a message from all others, whatever store it is in: by its sender's name for it, or by the server's where the sender gave none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MessageName {
    Sender(Uid, ClientMsgId),
    Server(MsgId),
}

impl LocalEntry {
    /// Whether both are one message. A sender's name for it decides, because a message that a store lost and was sent again has another msgid; without
    /// one, the msgid does.
    pub fn is_same_message(&self, other: &Self) -> bool {
        self.name() == other.name()
    }

    pub(crate) fn name(&self) -> MessageName {
        match &self.client_msg_id {
            Some(id) => MessageName::Sender(self.from.clone(), id.clone()),
            None => MessageName::Server(self.msgid),
        }
    }

    /// About how many bytes it takes, for budgets.
    pub fn size(&self) -> usize {
        self.content.len() + self.from.as_str().len() + 192
    }
}

/// The server's word that a send is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Which send.
    pub client_msg_id: ClientMsgId,
    /// The message's id.
    pub msgid: MsgId,
    /// Its version in the sender's own timeline.
    pub version: Version,
    /// When the server accepted it, the first time.
    pub timestamp: Timestamp,
}

/// A send that the server will not take, however often it is repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server refused message {client_msg_id}: {message}")]
pub struct Rejection {
    /// Which send.
    pub client_msg_id: ClientMsgId,
    /// Why; `None` for a code that this version does not know.
    pub code: Option<ErrorCode>,
    /// The server's words.
    pub message: String,
}

/// Why a client is at its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndReason {
    /// [`Input::Stop`].
    #[error("stopped")]
    Stopped,
    /// [`Input::Logout`], whether the server could be told or not.
    #[error("logged out")]
    LoggedOut,
    /// The server refused the login, and would again.
    #[error("the login was refused: {message}")]
    Refused {
        /// Why; `None` for a code that this version does not know.
        code: Option<ErrorCode>,
        /// The server's words.
        message: String,
    },
    /// The server ended the login: logged in elsewhere, by an administrator, or the token ended.
    #[error("the server ended the login: {}", words(*.0))]
    Kicked(KickReason),
    /// The server's timeline ends before what the device holds, in the same epoch: the server lost data and nobody raised its epoch, or it is another one. Going on would drop whatever it
    /// stores under the versions that the device has; the way on is to begin with an empty local store.
    #[error("the server's timeline ends at version {head}, but this device holds it up to {held}")]
    TimelineLost {
        /// The newest version that the server has.
        head: Version,
        /// What the device holds everything up to.
        held: Version,
    },
}

fn words(reason: KickReason) -> &'static str {
    match reason {
        KickReason::LoggedInElsewhere => "the user logged in elsewhere",
        KickReason::Administrator => "an administrator removed it",
        KickReason::TokenEnded => "the token expired or was revoked",
        KickReason::GoingAway => "the server goes away",
    }
}

/// Why a message was not taken to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// As much as [`ClientConfig::max_outgoing`] and [`ClientConfig::max_outgoing_bytes`] allow waits already. Send again after an ack.
    #[error("too many messages wait to be sent")]
    QueueFull,
    /// The message does not fit in a frame.
    #[error("the message is larger than a frame")]
    TooLarge,
    /// The client is at its end.
    #[error("the client has ended")]
    Ended,
}

/// The longest time that a server's "come back later" is believed: 5 minutes. A server that wants to be rid of a client for longer can refuse it.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);
