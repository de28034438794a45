//! Rooms, as a client knows them.

use std::collections::BTreeMap;

use bytes::Bytes;
use im_proto::ErrorCode;

use crate::id::{ClientMsgId, MsgId, RoomId, Uid};
use crate::message::ContentType;
use crate::time::{Tick, Timestamp};

/// What is to be done about rooms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomAction {
    /// Enter a room, and be there again after every login, until it is left or the server says no. With `leave`, change rooms in one step.
    Join {
        /// Where to.
        room: RoomId,
        /// Where from.
        leave: Option<RoomId>,
    },
    /// Leave a room.
    Leave(RoomId),
    /// Say something, once: nothing is stored, and nothing is said again by itself.
    Say(Saying),
}

/// Something to say in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saying {
    /// The room.
    pub room: RoomId,
    /// Names the message in [`RoomEvent::Said`] and [`RoomEvent::Unsaid`], and for those who hear it.
    pub client_msg_id: ClientMsgId,
    /// What the content is.
    pub content_type: ContentType,
    /// The content, opaque.
    pub content: Bytes,
}

/// What happens in rooms. Nothing here lasts: what a client does not hear, it never will.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoomEvent {
    /// The client is in; again after each login.
    Joined {
        /// The room.
        room: RoomId,
        /// Links in it, this one among them.
        members: i64,
    },
    /// The client is not let in, or not again, and does not try any more.
    Refused {
        /// The room.
        room: RoomId,
        /// Why; `None` for a code that this version does not know.
        code: Option<ErrorCode>,
    },
    /// The client is out, as it asked.
    Left(RoomId),
    /// Somebody else said something.
    Heard(Heard),
    /// The server left out so many messages, here, because this client reads too slowly.
    Missed {
        /// The room.
        room: RoomId,
        /// How many.
        messages: i64,
    },
    /// What this client said is on its way.
    Said {
        /// Which message.
        client_msg_id: ClientMsgId,
        /// The id that the server gave it.
        msgid: MsgId,
        /// Links that it is for, without this one.
        members: i64,
    },
    /// What this client wanted to say was not said, or, if its link was lost meanwhile, perhaps not.
    Unsaid {
        /// Which message.
        client_msg_id: ClientMsgId,
        /// The server's reason; `None` if the client was not in the room, its link was lost, or this version does not know the code.
        code: Option<ErrorCode>,
    },
}

/// Something that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Where.
    pub room: RoomId,
    /// By whom.
    pub from: Uid,
    /// The message's id.
    pub msgid: MsgId,
    /// When the server took it.
    pub sent_at: Timestamp,
    /// What the content is.
    pub content_type: ContentType,
    /// The content.
    pub content: Bytes,
    /// The name that its sender gave it, if any.
    pub client_msg_id: Option<ClientMsgId>,
}

/// Where the client wants to be.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    wanted: BTreeMap<RoomId, Standing>,
    /// When to ask again for rooms that could not be entered for now.
    pub(super) retry_at: Option<Tick>,
    pub(super) failures: u32,
}

/// How the client stands to a room that it wants to be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Outside,
    /// It has asked. What it says meanwhile is heard once it is in.
    Asked,
    Inside,
}

impl Rooms {
    pub(super) fn set(&mut self, room: RoomId, standing: Standing) {
        self.wanted.insert(room, standing);
    }

    /// As [`set`](Self::set), if the client still wants to be there.
    pub(super) fn update(&mut self, room: &RoomId, standing: Standing) {
        if let Some(at) = self.wanted.get_mut(room) {
            *at = standing;
        }
    }

    pub(super) fn forget(&mut self, room: &RoomId) {
        self.wanted.remove(room);
    }

    pub(super) fn standing(&self, room: &RoomId) -> Option<Standing> {
        self.wanted.get(room).copied()
    }

    /// The link is gone.
    pub(super) fn all_outside(&mut self) {
        self.wanted.values_mut().for_each(|standing| *standing = Standing::Outside);
        self.retry_at = None;
    }

    /// Rooms to ask for.
    pub(super) fn to_ask(&self) -> Vec<RoomId> {
        let outside = self.wanted.iter().filter(|(_, standing)| **standing == Standing::Outside);
        outside.map(|(room, _)| room.clone()).collect()
    }
}
