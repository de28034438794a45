use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use im_proto::ErrorCode;

use crate::id::RoomId;
use crate::message::ContentType;
use crate::session::Caller;

/// A link that wants to enter a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomEntry {
    /// Who wants in.
    pub caller: Arc<Caller>,
    /// Where.
    pub room: RoomId,
}

/// What a member wants to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomWord {
    /// Who says it.
    pub caller: Arc<Caller>,
    /// Where.
    pub room: RoomId,
    /// What the content is.
    pub content_type: ContentType,
    /// The content.
    pub content: Bytes,
}

/// Who may enter rooms and speak there. How many rooms a link may be in and how large a message may be is bounded besides.
#[async_trait]
pub trait RoomPolicy: Send + Sync + 'static {
    /// Which of these links are let in: an answer for each, in their order. An error is the client's answer; a missing answer counts as
    /// [`ErrorCode::Unavailable`], and so does one that takes longer than [`Policy::room_deadline`](crate::logic::Policy::room_deadline).
    ///
    /// # Cancel safety
    /// The future is dropped when it takes too long.
    async fn enter(&self, entries: Vec<RoomEntry>) -> Vec<Result<(), ErrorCode>>;

    /// Whether this may be said. Called for each message on the thread that serves the gate, in the order of sending: it must not block. Default: it
    /// may.
    ///
    /// # Errors
    /// The client's answer.
    fn say(&self, word: &RoomWord) -> Result<(), ErrorCode> {
        let _ = word;
        Ok(())
    }
}

/// Everybody may enter every room and speak there.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenRooms;

#[async_trait]
impl RoomPolicy for OpenRooms {
    async fn enter(&self, entries: Vec<RoomEntry>) -> Vec<Result<(), ErrorCode>> {
        entries.iter().map(|_| Ok(())).collect()
    }
}
