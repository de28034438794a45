use std::fmt;

use async_trait::async_trait;

use super::{Row, RowKind, Store, StoreError, StoreErrorKind};
use crate::id::Version;
use crate::message::TimelineId;

/// Reads out everything that a store keeps, page by page.
///
/// Meant for a store that nobody writes to. What is stored while it is read out may be missing or be given in part; the
/// [`Import`] then does not finish, because a timeline's head is not the one that was announced.
#[async_trait]
pub trait Export: Send + Sync + 'static {
    /// The next page.
    ///
    /// # Contract
    /// - Everything that the store answers from is given, and each thing once, whatever the pages' size.
    /// - Kinds come one after the other: timelines, then posts, then cursors, then nodes.
    /// - Posts come in an order in which the versions of every timeline ascend, be it their home or their copy. (The order of storing is one.)
    /// - A post carries what its repeats are answered from: message, digest, and both its places, whoever owns them.
    /// - A page has at most `limit` rows (0 counts as 1), and stops before the sum of [`Row::size`] passes `max_bytes`, but not before the first.
    /// - `next` is `None` with the last page, and only then; a page before it has at least one row.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// `Unavailable`; `Corrupt`, also for a position that this store did not give.
    async fn export(&self, page: ExportPage) -> Result<Exported, StoreError>;
}

/// Which page to export.
#[derive(Clone, Debug)]
pub struct ExportPage {
    /// The `next` of the page before; `None` begins.
    pub after: Option<Position>,
    /// At most this many rows; 0 counts as 1.
    pub limit: usize,
    /// Stop before the sum of [`Row::size`] passes this, but give at least one row.
    pub max_bytes: usize,
}

/// A page of an export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// What it holds.
    pub rows: Vec<Row>,
    /// Where to go on; `None` at the end.
    pub next: Option<Position>,
}

/// Where an export stands. Bytes that mean something to the store that gave them, as long as nobody writes to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position(pub Vec<u8>);

/// Fills an empty store with another's rows.
///
/// An adapter has a constructor of its own for it, which refuses a store that holds anything. From then until
/// [`finish`](Self::finish) has answered, the store is unfinished and says so to everybody: opening it to serve from is an
/// error, after a crash too. Beginning the import again empties it; there is no going on with a part.
#[async_trait]
pub trait Import: Send + 'static {
    /// Takes the next rows.
    ///
    /// # Contract
    /// - The rows are an [`Export`]'s, in its order, cut into batches of any size.
    /// - A post stands at the versions that it names: each one the timeline's head plus one, where a timeline begins at its announced floor.
    ///   A version at or below the floor takes no entry, but the key is remembered.
    /// - What cannot be of one sound store is refused with `Corrupt` and a [`Misfit`]: a kind after a later one, a timeline that was not
    ///   announced, a version out of turn, a key or msgid for the second time, a cursor above its head.
    /// - What this kind of store does not keep (floors, if it has no retention yet) is refused too, with [`Misfit::Unsupported`]: nothing is dropped in
    ///   silence.
    ///
    /// # Atomicity
    /// None: after an error the import cannot go on.
    ///
    /// # Cancel safety
    /// Dropping the future is like an error.
    ///
    /// # Errors
    /// `Corrupt`; `Unavailable` when there is no room, or the store failed otherwise.
    async fn import(&mut self, rows: Vec<Row>) -> Result<(), StoreError>;

    /// Makes the store one to serve from.
    ///
    /// # Contract
    /// - Every timeline has come to its announced head, or it is refused with `Corrupt` and [`Misfit::Incomplete`].
    /// - The store answers every question as the exported one does: heads, entries, keys, cursors, leases; conversations are those of
    ///   entries that were appended.
    /// - What comes after goes on from there: versions, repeats, epochs.
    /// - Durable when answered `Ok`.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the store finished or unfinished.
    ///
    /// # Errors
    /// `Corrupt`, `Unavailable`; the store is unfinished then.
    async fn finish(self: Box<Self>) -> Result<(), StoreError>;
}

/// A store that can be read out, to copy it or to compare it. Implemented for whatever implements its parts.
pub trait Exportable: Store + Export {}

impl<T: Store + Export + ?Sized> Exportable for T {}

/// Why rows cannot be those of one sound store. It is the source of the [`StoreError`] that refuses them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misfit {
    /// A kind of row after a later one, or one that the adapter does not know.
    #[error("a row of the kind {came:?} came after one of the kind {after:?}")]
    OutOfTurn {
        /// The row's kind.
        came: RowKind,
        /// The kind that had its turn already.
        after: RowKind,
    },
    /// A post or a cursor names a timeline that no row announced.
    #[error("the timeline of {} was not announced", owner(.0))]
    Unannounced(TimelineId),
    /// A version that is not the head plus one.
    #[error("the timeline of {} is at version {head}, and version {came} came", owner(timeline))]
    Version {
        /// Where.
        timeline: TimelineId,
        /// The head so far.
        head: Version,
        /// What came.
        came: Version,
    },
    /// A timeline, send key, msgid of a timeline, cursor or node number for the second time.
    #[error("a {0} came twice")]
    Twice(&'static str),
    /// A cursor above the head of its timeline.
    #[error(
        "a cursor stands at version {cursor} of the timeline of {}, which ends at {head}",
        owner(timeline)
    )]
    Ahead {
        /// Where.
        timeline: TimelineId,
        /// Its head.
        head: Version,
        /// Where the cursor stands.
        cursor: Version,
    },
    /// Something that this kind of store does not keep.
    #[error("{0} cannot be kept in this kind of store")]
    Unsupported(&'static str),
    /// A timeline did not come to its announced head.
    #[error(
        "the timeline of {} ends at version {head}, and was announced up to {announced}",
        owner(timeline)
    )]
    Incomplete {
        /// Which.
        timeline: TimelineId,
        /// Where it stands.
        head: Version,
        /// Where it should.
        announced: Version,
    },
}

impl From<Misfit> for StoreError {
    fn from(misfit: Misfit) -> Self {
        Self::new(StoreErrorKind::Corrupt, "import").caused_by(misfit)
    }
}

/// Whose a timeline is, in words.
pub(crate) fn owner(timeline: &TimelineId) -> impl fmt::Display {
    fmt::from_fn(move |f| match timeline {
        TimelineId::User(uid) => write!(f, "user {uid:?}"),
        TimelineId::Group(group) => write!(f, "group {group}"),
    })
}
