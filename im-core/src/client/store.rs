use async_trait::async_trait;

use super::{LocalEntry, Outgoing};
use crate::id::{ClientMsgId, StoreEpoch, Version};
use crate::storage::StoreError;

/// What a device knew when it was last running.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// The epoch that the cursor and the versions of what it holds belong to.
    pub epoch: StoreEpoch,
    /// It holds everything up to here.
    pub cursor: Version,
    /// Whether it holds entries of earlier epochs that this one has not given again.
    pub has_earlier: bool,
    /// What it has not had an answer to, in the order of sending.
    pub outgoing: Vec<Outgoing>,
}

/// An entry of an earlier epoch, which the present one has not given again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EarlierEntry {
    /// Where it stands among those of earlier epochs.
    pub place: EarlierPlace,
    /// The entry, with the version that it had.
    pub entry: LocalEntry,
}

/// A place among the entries of earlier epochs, later ones greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EarlierPlace(pub i64);

impl EarlierPlace {
    /// After all that there are.
    pub const END: Self = Self(i64::MAX);
}

/// What one user's device keeps: its copy of the timeline, how far that goes, and what it has still to send.
///
/// The copy belongs to an epoch of the server's store. When another one begins, the versions begin anew, and what is held becomes
/// "earlier": it is still there for its user, and is recognised when the server gives it again.
#[async_trait]
pub trait LocalStore: Send + Sync + 'static {
    /// What the device knows.
    ///
    /// # Contract
    /// - The epoch is the one that [`begin_epoch`](Self::begin_epoch) began last, 0 for a new store.
    /// - The cursor is the greatest that [`apply`](Self::apply) was given in this epoch, 0 if there was none.
    /// - `outgoing` are the enqueued and not settled messages in the order in which they were enqueued.
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

    /// Begins another epoch: the server's store lost acknowledged messages, and gives their versions to others.
    ///
    /// # Contract
    /// - `Ok` means durable.
    /// - Every held entry becomes an [`earlier`](Self::earlier) one, the cursor is 0, and messages to send stay.
    /// - The epoch that the store is in already changes nothing.
    ///
    /// # Atomicity
    /// All of it or nothing.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the epoch begun or not. Repeating is harmless.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn begin_epoch(&self, epoch: StoreEpoch) -> Result<(), StoreError>;

    /// Which of these are messages of an earlier epoch that the server gives again: each has an answer, in the order of `entries`.
    ///
    /// # Contract
    /// - An entry is known if an [`earlier`](Self::earlier) one is [the same message](LocalEntry::is_same_message).
    /// - It is so until it is applied.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn recognise(&self, entries: &[LocalEntry]) -> Result<Vec<bool>, StoreError>;

    /// Keeps entries and moves the cursor.
    ///
    /// # Contract
    /// - `Ok` means durable, both.
    /// - An entry whose version is held already replaces nothing; a cursor below the kept one changes nothing.
    /// - An entry that is recognised takes the place of the earlier one.
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

    /// The entries of earlier epochs before a place, newest first, at most `limit`: what the server has not given again, because it lost it or
    /// because it has not come that far.
    ///
    /// # Contract
    /// Later epochs come first; of one epoch, greater versions do.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn earlier(&self, before: EarlierPlace, limit: usize) -> Result<Vec<EarlierEntry>, StoreError>;
}
