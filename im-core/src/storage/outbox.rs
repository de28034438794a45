use async_trait::async_trait;

use super::{Placed, Post, StoreError};
use crate::id::{Uid, Version};
use crate::message::{Message, SendKey, TimelineId};

/// What one database is to store of a post whose timelines may be kept in several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it: the key and every timeline are kept here.
    Whole(Post),
    /// The key and the entry in `home`; the copy is made elsewhere.
    Home {
        /// The post; it has a copy.
        post: Post,
        /// Whether its msgid stands in `copy` already, which is not kept here.
        taken: bool,
    },
    /// The key alone; the entry in `home` is made elsewhere, and there is no copy.
    Key {
        /// The post; it has no copy.
        post: Post,
        /// Whether its msgid stands in `home` already, which is not kept here.
        taken: bool,
    },
    /// The entry that an intent of another database asks for.
    Copy {
        /// What to store.
        message: Message,
        /// In which timeline.
        into: TimelineId,
    },
}

impl Part {
    /// The timeline that keeps the order of failures: `home`, or where a copy goes.
    pub fn timeline(&self) -> &TimelineId {
        match self {
            Self::Whole(post) | Self::Home { post, .. } | Self::Key { post, .. } => &post.home,
            Self::Copy { into, .. } => into,
        }
    }
}

/// The number of an intent: greater than those that were stored before it in the same database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IntentId(pub i64);

/// A message that is stored with its sender, and has still to be stored elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Its number.
    pub id: IntentId,
    /// What to store.
    pub message: Message,
    /// In which timeline.
    pub into: TimelineId,
}

impl Intent {
    /// By which its send is known.
    pub fn key(&self) -> (Uid, SendKey) {
        (self.message.from.clone(), self.message.key.clone())
    }
}

/// Which intents to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pending {
    /// Of these senders.
    Of(Vec<Uid>),
    /// With a greater number than this one.
    After(IntentId),
}

/// What one database of several offers, so that a message between two of them is never lost halfway.
///
/// The first half is stored together with an intent to deliver the second one. Whoever stored it delivers and settles; a sweeper does so for
/// whoever crashed. A send is pending until its intent is settled: its sender is not answered, and nobody finds it by its key.
#[async_trait]
pub trait Outbox: Send + Sync + 'static {
    /// Stores parts of posts, in their order, and says where each one is.
    ///
    /// # Contract
    /// - A whole post is placed as [`Timelines::append`](super::Timelines::append) does, and its rules hold for every part: versions, durability, one answer
    ///   for each part in order, the order of a batch, repeats, conversations.
    /// - A home or a key is stored in one transaction with its intent, and answered with what is known: `copy` is `None`, and `home` is 0 for a key, until
    ///   the intent is settled.
    /// - A home or a key whose msgid is `taken` is `MsgIdReused`, unless its key is known.
    /// - A copy is answered with its version as `home`. One that stands in the timeline already is a repeat; another message with its msgid is
    ///   `MsgIdReused`. It leaves no key behind.
    /// - A repeat of a pending send that comes as a whole post, or by `append`, is `Unavailable`: it waits for the sweeper.
    /// - If a part fails with a retryable error, so does every later part of the batch with the same `home` or `into`.
    ///
    /// # Atomicity
    /// A part is stored with all that belongs to it, or not at all.
    ///
    /// # Cancel safety
    /// Dropping the future leaves each part stored or not stored. Repeating is harmless.
    ///
    /// # Errors
    /// Those of `append`.
    async fn append_parts(&self, parts: Vec<Part>) -> Vec<Result<Placed, StoreError>>;

    /// Intents that are not settled.
    ///
    /// # Contract
    /// - Those asked for, in the order of their numbers, which is the order of storing; at most `limit`.
    /// - What `append_parts` acknowledged before this call began is seen by it.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn intents(&self, pending: Pending, limit: usize) -> Result<Vec<Intent>, StoreError>;

    /// Takes intents away, with the versions that their messages got elsewhere.
    ///
    /// # Contract
    /// - From then on a repeat of the send is answered with that version as `copy`, or as `home` if only its key is here, and its key is found.
    /// - What is settled already, or was never there, is passed over.
    ///
    /// # Atomicity
    /// All or none. It has not to outlive a crash: an intent that comes back is delivered again, which changes nothing.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the intents settled or not.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn settle(&self, settled: Vec<(IntentId, Version)>) -> Result<(), StoreError>;
}
