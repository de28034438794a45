//! What the library asks of a store.
//!
//! [`Store`] is one object because its parts share transactions: [`Timelines`] (the truth), [`Conversations`] (moved by
//! every append), [`Cursors`] (what each device has), [`Nodes`] (who may make ids), [`Epochs`] (whether versions still mean what they meant). An
//! adapter implements the five traits and is right when the conformance suite says so. [`Export`] and [`Import`], for copying a store into another kind of store, stand
//! apart: an adapter without them serves as well. So do [`Outbox`] and [`Buckets`], which an adapter has to be one of several databases, and
//! [`Blocklist`], which shares nothing with the rest.
//!
//! All calls are batched and object-safe. A slice of requests gets a vector of answers in the same order. Every adapter
//! bounds the time of every call by itself and answers [`StoreErrorKind::Unavailable`] when it is over.
//!
//! A store over a store is a [`StoreLayer`]: it says what it does otherwise, and the rest goes on to the one below.

mod blocklist;
mod bucket;
mod buckets;
mod conversations;
mod cursors;
mod epochs;
mod error;
mod layer;
mod nodes;
mod outbox;
mod rows;
mod timelines;
mod transfer;

pub use blocklist::{Block, Blocklist};
pub use bucket::Bucket;
pub use buckets::{
    BucketState, Buckets, CopyLimits, CopyOut, CopyPage, Mark, Member, MoveId, MovedPost, MovedRow,
    MovingBucket, SetId, StoredMap, Tally,
};
pub use conversations::{Conversation, Conversations};
pub use cursors::{Cursor, CursorAck, Cursors, MAX_CURSORS};
pub use epochs::Epochs;
pub use error::{StoreError, StoreErrorKind};
pub use layer::{ShardLayer, StoreLayer};
pub use nodes::{FLOOR_LEAD, NodeLease, Nodes};
pub use outbox::{Intent, IntentId, Outbox, Part, Pending};
pub use rows::{HeldNode, Place, Row, RowKind, StoredPost};
pub use timelines::{Found, Head, Page, Placed, Post, Read, Timelines};
pub(crate) use transfer::owner;
pub use transfer::{Export, ExportPage, Exportable, Exported, Import, Misfit, Position};

/// Everything that is kept. Implemented for whatever implements its parts.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a store",
    label = "not a `Store`",
    note = "a store implements `Timelines`, `Conversations`, `Cursors`, `Nodes` and `Epochs`; a layer over a store implements `StoreLayer` instead",
    note = "those that open a store are futures: `.await` them, and take the store out of the `Result`"
)]
pub trait Store: Timelines + Conversations + Cursors + Nodes + Epochs {}

impl<T: Timelines + Conversations + Cursors + Nodes + Epochs + ?Sized> Store for T {}

/// A store that can be one database of several. Implemented for whatever implements its parts.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be one database of several",
    label = "not a `Shard`",
    note = "a `Shard` is a store that implements `Outbox` and `Buckets` too; a layer over a `Shard` implements `StoreLayer` and `ShardLayer` instead"
)]
pub trait Shard: Store + Outbox + Buckets {}

impl<T: Store + Outbox + Buckets + ?Sized> Shard for T {}
