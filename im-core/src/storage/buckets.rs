use std::time::Duration;

use async_trait::async_trait;

use super::{Bucket, CursorAck, Head, Place, Position, StoreError};
use crate::message::{Digest, Message, TimelineId};
use crate::time::Timestamp;

/// The number of a move: greater than those of all moves that were begun before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MoveId(pub i64);

/// A place in the order in which a database stored messages, before which nothing changes any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark(pub i64);

/// Which database keeps which bucket, as bytes that mean something to the layer above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMap {
    /// Which change made it.
    pub version: i64,
    /// What it says.
    pub bytes: Vec<u8>,
}

/// Several databases that keep one store together: a number that was drawn when they first did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId(pub i64);

/// Which of several databases one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Those that keep the store together.
    pub set: SetId,
    /// Its place in the list of all, from 0.
    pub place: u16,
}

/// What a database has to do with a bucket that it does not simply own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketState {
    /// It owns the bucket, which is being copied to another database.
    Leaving,
    /// The same, and until the fence ends nothing is written to it.
    Fenced,
    /// Another database owns it.
    Gone,
    /// It is being copied here, and another database owns it.
    Arriving,
}

/// A bucket that has part in a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MovingBucket {
    /// Which bucket.
    pub bucket: Bucket,
    /// What it is here.
    pub state: BucketState,
    /// By which move.
    pub id: MoveId,
    /// Where that takes it: the database's place in the list of all.
    pub to: u16,
}

/// Something that belongs to the buckets of a move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MovedRow {
    /// Where a timeline begins, if retention removed its first entries.
    Floor(TimelineId, Head),
    /// A message, with what of it belongs to the buckets.
    Post(Box<MovedPost>),
    /// How far a device is.
    Cursor(CursorAck),
}

/// A message of which something moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedPost {
    /// The message. Its content may be empty if only its key moves.
    pub message: Message,
    /// What the send said at first.
    pub digest: Digest,
    /// When it was withdrawn, if it was.
    pub withdrawn_at: Option<Timestamp>,
    /// What its repeats are answered with, home and copy, if the key moves.
    pub key: Option<(Place, Option<Place>)>,
    /// Where it stands in timelines that move.
    pub entries: Vec<Place>,
}

/// Which part of a move to copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyOut {
    /// [`MovedRow::Floor`]s.
    Floors {
        /// Where the page before ended.
        after: Option<Position>,
    },
    /// [`MovedRow::Post`]s.
    Posts {
        /// What was stored up to here is not asked for.
        after: Mark,
        /// Nor what was stored after this mark.
        until: Mark,
    },
    /// [`MovedRow::Cursor`]s.
    Cursors {
        /// Only what was acknowledged since the move departed.
        changed: bool,
        /// Where the page before ended.
        after: Option<Position>,
    },
}

/// How much to copy at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyLimits {
    /// At most so many rows; 0 counts as 1.
    pub rows: usize,
    /// Stop before the sum of [`Message::size`] passes this, but give at least one row.
    pub bytes: usize,
}

/// A part of what moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyPage {
    /// What it holds; a page in the middle may be empty.
    pub rows: Vec<MovedRow>,
    /// What to ask for next; `None` at the end.
    pub next: Option<CopyOut>,
}

/// What a database holds of the buckets of a move, in numbers: equal in both databases once all is copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Timelines with a head above 0.
    pub timelines: i64,
    /// The sum of their heads.
    pub heads: i64,
    /// Cursors in them.
    pub cursors: i64,
    /// The sum of what these are at.
    pub acked: i64,
}

/// What one database of several offers, so that buckets can be moved from it and to it while all of them serve.
///
/// A database owns every bucket unless it says otherwise. While a bucket is [`Gone`](BucketState::Gone) or [`Arriving`](BucketState::Arriving), every call of
/// the other traits that concerns it (an owner's timeline, conversations, the keys of what a user sends, the cursors of a timeline) is
/// [`Moved`](super::StoreErrorKind::Moved) and changes nothing. While it is [`Fenced`](BucketState::Fenced), so is what would write to it; reads, `intents` and
/// `settle` go on. What an append or acknowledgement has to know of its buckets it learns in its own transaction, so that none goes on once a fence has been answered.
///
/// The source [departs](Self::depart), the destination [arrives](Self::arrive), rows are [copied out](Self::copy_out) and [in](Self::copy_in) up to a
/// [mark](Self::mark), again up to a later one, and a last time behind a [fence](Self::fence). The source [releases](Self::release) the buckets: that is the moment of the
/// move. The destination [owns](Self::own) them, and the source is [cleared](Self::clear). A later move of a bucket takes it from an unfinished
/// earlier one, which is over by that, for its other buckets too: calls with the number of the earlier are [`LeaseLost`](super::StoreErrorKind::LeaseLost).
#[async_trait]
pub trait Buckets: Send + Sync + 'static {
    /// The map that was stored last; `None` if none was.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn bucket_map(&self) -> Result<Option<StoredMap>, StoreError>;

    /// Stores a map.
    ///
    /// # Contract
    /// - It is stored, durably, if its version follows the stored one's, or is 1 and none is stored; `false` if not.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the map stored or not.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn put_bucket_map(&self, map: StoredMap) -> Result<bool, StoreError>;

    /// Which of several databases this one is; `None` if nobody has said so.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn member(&self) -> Result<Option<Member>, StoreError>;

    /// Notes which of several databases this one is, unless that is noted already; what is noted.
    ///
    /// # Contract
    /// - What was noted first stays, durably, and is what everybody is answered.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it noted or not. Repeating is harmless.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn join(&self, member: Member) -> Result<Member, StoreError>;

    /// Some of the timelines that this database owns, so that whoever opens several can see whether they are those of its place.
    ///
    /// # Contract
    /// - Up to `limit` timelines with a head above 0, whichever; fewer only if there are no more. It may pass over some while buckets are gone or arriving.
    /// - None of a bucket that is gone or arriving.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn some_timelines(&self, limit: usize) -> Result<Vec<TimelineId>, StoreError>;

    /// A number for a move: greater than every one given before.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a number unused.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn next_move(&self) -> Result<MoveId, StoreError>;

    /// Every bucket that has part in a move or is gone, in order.
    ///
    /// # Contract
    /// - A fence whose time is over is listed as leaving.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn moving_buckets(&self) -> Result<Vec<MovingBucket>, StoreError>;

    /// Notes the buckets of up to `limit` owners of which that was not noted when they came; `true` when there are no more. To be
    /// called until then, before a move departs: while there is such an owner, nothing is [released](Self::release).
    ///
    /// # Cancel safety
    /// Repeating is harmless.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn index_buckets(&self, limit: usize) -> Result<bool, StoreError>;

    /// Begins a move in the source.
    ///
    /// # Contract
    /// - The buckets are leaving from now on, all by this move: one that left by an earlier move, fenced or not, leaves by this one.
    /// - What else left by that earlier move is simply owned again: it is over.
    /// - From now on it is noted which cursors change.
    ///
    /// # Atomicity
    /// All buckets or none.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the buckets leaving or as they were. Repeating is harmless.
    ///
    /// # Errors
    /// `Moved` if one of the buckets is gone or arriving; `LeaseLost` if a later move has one; `Unavailable`, `Corrupt`.
    async fn depart(&self, id: MoveId, buckets: Vec<Bucket>, to: u16) -> Result<(), StoreError>;

    /// Begins a move in the destination, which does not own the buckets: whoever calls this has departed with them from where they are.
    ///
    /// # Contract
    /// - The buckets are arriving from now on, all by this move.
    /// - What is there of them, from earlier moves, is to be [cleared](Self::clear) before anything is copied.
    ///
    /// # Atomicity
    /// All buckets or none.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the buckets arriving or as they were. Repeating is harmless.
    ///
    /// # Errors
    /// `LeaseLost` if a later move has one of the buckets; `Unavailable`, `Corrupt`.
    async fn arrive(&self, id: MoveId, buckets: Vec<Bucket>, to: u16) -> Result<(), StoreError>;

    /// Removes about `limit` rows of the move's buckets that are gone or arriving; `true` when there are no more.
    ///
    /// # Contract
    /// - Halves that belong to other buckets stay, and are answered as before: a message that was stored whole stays as the half of whoever stays.
    ///
    /// # Cancel safety
    /// Repeating is harmless.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn clear(&self, id: MoveId, limit: usize) -> Result<bool, StoreError>;

    /// Up to where the leaving buckets can be copied.
    ///
    /// # Contract
    /// - What belongs to the move's buckets and was stored up to there is all there, and settled.
    /// - An earlier mark is never after a later one. With no intent of the buckets' senders pending, and none being stored, nothing comes after the mark.
    ///
    /// # Cancel safety
    /// Reads only. Appends to the buckets may wait for a moment.
    ///
    /// # Errors
    /// `LeaseLost` if the buckets do not leave by this move; `Unavailable`, `Corrupt`.
    async fn mark(&self, id: MoveId) -> Result<Mark, StoreError>;

    /// Reads a part of what moves, in the source. Each page is asked for with the `next` of the one before.
    ///
    /// # Contract
    /// - From one mark to another, everything of the buckets that was stored between them is given once, with its places in the buckets' timelines and its key if its
    ///   sender is of the buckets. Versions of every timeline ascend.
    /// - All cursors of the buckets' timelines are given, or all that changed since the move departed.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// `LeaseLost` if the buckets do not leave by this move; `Unavailable`; `Corrupt`, also for a position that this store did not give.
    async fn copy_out(&self, id: MoveId, ask: CopyOut, limits: CopyLimits) -> Result<CopyPage, StoreError>;

    /// Stores rows in the destination.
    ///
    /// # Contract
    /// - The rows are those of [`copy_out`](Self::copy_out), in its order. What is there already is passed over: floors, entries up to the head, keys, cursors that are as far.
    /// - An entry comes at the version that it has; one that is not the head plus one is `Corrupt`.
    /// - Afterwards they answer as in the source: heads, entries, keys, conversations, cursors.
    ///
    /// # Atomicity
    /// All rows or none.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the rows stored or not. Repeating is harmless.
    ///
    /// # Errors
    /// `LeaseLost` if the buckets do not arrive by this move, or those of a row do not; `Unavailable`, `Corrupt`.
    async fn copy_in(&self, id: MoveId, rows: Vec<MovedRow>) -> Result<(), StoreError>;

    /// What is there of the move's buckets, in numbers.
    ///
    /// # Contract
    /// - It differs from that of a database that has an entry more, or a cursor more, or a cursor that is further.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn tally(&self, id: MoveId) -> Result<Tally, StoreError>;

    /// Keeps everybody from writing to the leaving buckets, for this time by the clock of the database, and gives the mark behind which nothing comes but
    /// what is pending.
    ///
    /// # Contract
    /// - It is answered when every write that began before it has ended.
    /// - When the time is over the buckets are written to again, whatever became of who fenced them.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the buckets fenced or not.
    ///
    /// # Errors
    /// `LeaseLost` if the buckets do not leave by this move; `Unavailable`, `Corrupt`.
    async fn fence(&self, id: MoveId, lease: Duration) -> Result<Mark, StoreError>;

    /// Ends a fence before its time. None is no error.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the buckets fenced or not.
    ///
    /// # Errors
    /// `LeaseLost` if the buckets do not leave by this move; `Unavailable`, `Corrupt`.
    async fn unfence(&self, id: MoveId) -> Result<(), StoreError>;

    /// Gives the fenced buckets away: from now on they are gone.
    ///
    /// # Contract
    /// - Only while the fence holds, and without an intent of the buckets' senders pending. Once more, for buckets that are gone by this move, is no error.
    /// - Durable when answered `Ok`.
    ///
    /// # Atomicity
    /// All buckets or none, and no write to them is between the fence and this.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the buckets given away or not: [`moving_buckets`](Self::moving_buckets) says it.
    ///
    /// # Errors
    /// `LeaseLost` if the fence is over, or the buckets do not leave by this move; `Unavailable`, also for a pending intent or an owner
    /// that came unnoted; `Corrupt`.
    async fn release(&self, id: MoveId) -> Result<(), StoreError>;

    /// Takes the arriving buckets: from now on they are owned here. To be called when the source has released them.
    ///
    /// # Contract
    /// - Durable when answered `Ok`. Once more, and for buckets that left again since, is no error and changes nothing.
    ///
    /// # Atomicity
    /// All buckets or none.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the buckets owned or arriving.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn own(&self, id: MoveId) -> Result<(), StoreError>;
}

impl MovedRow {
    /// The buckets that it belongs to.
    pub fn buckets(&self) -> Vec<Bucket> {
        match self {
            Self::Floor(timeline, _) => vec![Bucket::of(timeline)],
            Self::Cursor(ack) => vec![Bucket::of(&ack.timeline)],
            Self::Post(post) => {
                let entries = post.entries.iter().map(|place| Bucket::of(&place.timeline));
                entries.chain(post.key.as_ref().map(|_| Bucket::of_user(&post.message.from))).collect()
            }
        }
    }

    /// About how many bytes it takes, for budgets.
    pub fn size(&self) -> usize {
        match self {
            Self::Post(post) => post.message.size(),
            Self::Floor(..) | Self::Cursor(_) => 128,
        }
    }
}
