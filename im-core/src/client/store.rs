use async_trait::async_trait;

use super::{LocalEntry, Outgoing};
use crate::id::{ClientMsgId, Version};
use crate::storage::StoreError;

/// What a device knew when it was last running.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// It holds everything up to here.
    pub cursor: Version,
    /// What it has not had an answer to, in the order of sending.
    pub outgoing: Vec<Outgoing>,
}

/// What one user's device keeps: its copy of the timeline, how far that goes, and what it has still to send.
#[async_trait]
pub trait LocalStore: Send + Sync + 'static {
    /// What the device knows.
    ///
    /// # Contract
    /// The cursor is the greatest that [`apply`](Self::apply) was given, 0 for a new store. `outgoing` are the enqueued and not settled
    /// messages in the order in which they were enqueued.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn load(&self) -> Result<Saved, StoreError>;

    /// Remembers messages to send, before they are sent.
    ///
    /// # Contract
    /// - `Ok` means durable: after a crash, [`load`](Self::load) gives them, after all that were enqueued before, in their order.
    /// - A message whose id is enqueued already keeps its first place and content.
    ///
    /// # Atomicity
    /// All of them or none.
    ///
    /// # Cancel safety
    /// Dropping the future leaves all enqueued or none. Repeating is harmless.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn enqueue(&self, messages: Vec<Outgoing>) -> Result<(), StoreError>;

    /// Forgets messages that the server answered, with an ack or a refusal.
    ///
    /// # Contract
    /// Unknown ids are ignored. A settled message may come back after a crash: the send is then repeated under the same id, which is harmless.
    ///
    /// # Atomicity
    /// All of them or none.
    ///
    /// # Cancel safety
    /// Dropping the future leaves all settled or none. Repeating is harmless.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn settle(&self, messages: Vec<ClientMsgId>) -> Result<(), StoreError>;

    /// Keeps entries and moves the cursor.
    ///
    /// # Contract
    /// - `Ok` means durable, both.
    /// - An entry whose version is held already replaces nothing; a cursor below the kept one changes nothing.
    ///
    /// # Atomicity
    /// Entries and cursor together or not at all: a cursor never stands above what is held.
    ///
    /// # Cancel safety
    /// Dropping the future leaves all applied or nothing. Repeating is harmless.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn apply(&self, entries: Vec<LocalEntry>, cursor: Version) -> Result<(), StoreError>;

    /// The held entries with a version greater than `after`, oldest first, at most `limit`.
    ///
    /// # Contract
    /// What was applied before this call began is seen by it.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn read(&self, after: Version, limit: usize) -> Result<Vec<LocalEntry>, StoreError>;
}
