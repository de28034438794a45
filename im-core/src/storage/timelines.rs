use async_trait::async_trait;

use super::StoreError;
use crate::id::{MsgId, Uid, Version};
use crate::message::{Digest, Entry, Message, SendKey, TimelineId};
use crate::time::Timestamp;

/// One message to place: in the timeline that remembers its key, and at most one other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// What to store.
    pub message: Message,
    /// The sender's own timeline for a direct message, the group's for a group message. Repeats are recognised here.
    pub home: TimelineId,
    /// The receiver's timeline for a direct message; `None` when that is `home` too. One equal to `home` counts as `None`.
    pub copy: Option<TimelineId>,
}

/// Where a post is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The msgid it is stored under: the post's own, or for a repeat the first one's.
    pub msgid: MsgId,
    /// When it was accepted, the first time.
    pub sent_at: Timestamp,
    /// Its version in `home`.
    pub home: Version,
    /// Its version in `copy`, if the post had one.
    pub copy: Option<Version>,
    /// Whether the same send was stored before. Always true in [`Found`].
    pub repeated: bool,
}

/// What is remembered of a send key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What the send said.
    pub digest: Digest,
    /// Where it was placed.
    pub placed: Placed,
}

/// A part of a timeline to read, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Which timeline.
    pub timeline: TimelineId,
    /// Entries with a greater version; one below 0 counts as 0.
    pub after: Version,
    /// Entries up to this version; `None` for all there are.
    pub until: Option<Version>,
    /// At most this many entries; 0 counts as 1.
    pub limit: usize,
    /// Stop before the sum of [`Message::size`] passes this, but give at least one entry.
    pub max_bytes: usize,
    /// What the reader needs to see: `None` for everything that was acknowledged before the call, which only a primary can give; `Some` for everything up to this
    /// version, which is the greatest that the reader has or was told of, so that a replica that has it may answer.
    pub least: Option<Version>,
}

/// What a read found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The entries, contiguous from `after + 1` (or from the floor, if that is higher).
    pub entries: Vec<Entry>,
    /// The timeline's newest version at the time of reading.
    pub head: Version,
}

/// A timeline's bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Everything up to and with this version was removed by retention; 0 when nothing was.
    pub floor: Version,
    /// The newest version; 0 while the timeline is empty.
    pub head: Version,
}

/// Append-only timelines with contiguous versions: the truth of the system.
#[async_trait]
pub trait Timelines: Send + Sync + 'static {
    /// Stores posts, in their order, and says where each one is.
    ///
    /// # Contract
    /// - A version is the timeline's head plus one, given inside the transaction that stores the entry: contiguous from 1,
    ///   never given twice, whatever fails.
    /// - `Ok` means durable: it outlives a crash of the process and of the machine.
    /// - There is one answer for each post, in order; an empty batch has none.
    /// - Posts of one batch that touch a common timeline are placed in the batch's order.
    /// - A post whose key (sender, [`Message::key`]) is known is a repeat. With the same [`Message::digest`] it is answered with the
    ///   first placement and `repeated`; with another digest it is [`KeyReused`](super::StoreErrorKind::KeyReused). A
    ///   repeat takes no version. This holds inside one batch too.
    /// - A post whose key is new but whose msgid stands in `home` or `copy` already is
    ///   [`MsgIdReused`](super::StoreErrorKind::MsgIdReused).
    /// - Conversations move in the same transaction (see [`Conversations`](super::Conversations)).
    /// - If a post fails with a retryable error, so does every later post of the batch with the same `home`.
    ///
    /// # Atomicity
    /// A post is placed in both its timelines or in none, and its key with it. A batch is not atomic: each post has its
    /// own answer.
    ///
    /// Over several databases no transaction has both timelines. There a post is stored with its sender together with the intent to store the rest (see
    /// [`Outbox`](super::Outbox)), and is answered when all of it is stored. One that fails or is dropped in between shows in `home` alone until it is
    /// repeated or swept; no key finds it until then. In its second timeline it comes after what the same sender stored for it before; among other senders'
    /// posts of its batch it keeps its place unless it failed.
    ///
    /// # Cancel safety
    /// Dropping the future leaves each post stored or not stored, never half. Repeat the call to find out.
    ///
    /// # Errors
    /// Per post: `KeyReused`, `MsgIdReused`; `Unavailable` when the outcome is unknown; `Corrupt`.
    async fn append(&self, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>>;

    /// Reads parts of timelines.
    ///
    /// # Contract
    /// - There is one answer for each read, in order.
    /// - Entries come in version order, without a hole between the first and the last, starting at `after + 1` (or above the floor).
    /// - An entry is what was appended, byte for byte.
    /// - A page has at most `limit` entries, none above `until`, and stops before their sizes pass `max_bytes`, but not before the first.
    /// - An unknown timeline is an empty one with head 0.
    /// - A page is empty only if nothing lies in the range.
    /// - With [`Read::least`] `None`: what `append` acknowledged before this call began is seen by it.
    /// - With `least` a version: the page may be what the timeline was at an earlier moment, from when on it had that version; its `head` is at least that.
    ///   In a timeline that does not reach it, `least` changes nothing.
    /// - A page that is empty, or whose last entry is its `head`, sees what was acknowledged before whatever `least` says: nobody is told too early that there is no more.
    ///
    /// # Atomicity
    /// `head` and `entries` of one page are of one moment.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn read(&self, reads: Vec<Read>) -> Vec<Result<Page, StoreError>>;

    /// The bounds of timelines.
    ///
    /// # Contract
    /// - One answer for each timeline asked, in order; an unknown timeline has [`Head::default`].
    /// - What `append` acknowledged before this call began is seen by it.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn heads(&self, timelines: Vec<TimelineId>) -> Result<Vec<Head>, StoreError>;

    /// Looks up send keys.
    ///
    /// # Contract
    /// - One answer for each (sender, key), in order; `None` if no such send is stored.
    /// - Keys are remembered for at least 30 days.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn find(&self, keys: Vec<(Uid, SendKey)>) -> Result<Vec<Option<Found>>, StoreError>;

    /// Looks up the versions of messages in timelines.
    ///
    /// # Contract
    /// One answer for each pair, in order; `None` if the timeline does not hold the message.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn locate(&self, messages: Vec<(TimelineId, MsgId)>) -> Result<Vec<Option<Version>>, StoreError>;
}
