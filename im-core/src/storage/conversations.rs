use async_trait::async_trait;

use super::StoreError;
use crate::id::{MsgId, Uid, Version};
use crate::message::Target;
use crate::time::Timestamp;

/// One row of a user's conversation list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// With whom.
    pub with: Target,
    /// The newest entry's version in the owner's timeline.
    pub last_version: Version,
    /// The newest entry's msgid.
    pub last_msgid: MsgId,
    /// The newest entry's time.
    pub last_at: Timestamp,
    /// How many entries of others the owner has not read.
    pub unread: i64,
}

/// Conversation lists, kept by [`Timelines::append`](super::Timelines::append) in its own transaction.
#[async_trait]
pub trait Conversations: Send + Sync + 'static {
    /// A user's conversations, the one with the newest entry first.
    ///
    /// # Contract
    /// - There is a row for every conversation that has an entry in the owner's timeline, moved by the append that stored it.
    /// - A row names the newest entry of its conversation; rows come in descending order of `last_version`.
    /// - `unread` counts the entries of others above the owner's read position; an own entry moves the read position to
    ///   itself, so it sets `unread` to 0. A message to oneself is read.
    /// - A repeat changes nothing.
    /// - At most `limit` rows, those with `last_version` less than `before` if that is given: the way to page. 0 asks for none.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn conversations(
        &self,
        owner: &Uid,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<Conversation>, StoreError>;
}
