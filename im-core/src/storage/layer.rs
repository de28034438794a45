use std::time::Duration;

use async_trait::async_trait;

use super::{
    Bucket, Buckets, Conversation, Conversations, CopyLimits, CopyOut, CopyPage, Cursor, CursorAck, Cursors,
    Epochs, Found, Head, HeldNode, Intent, IntentId, Mark, Member, MoveId, MovedRow, MovingBucket, NodeLease,
    Nodes, Outbox, Page, Part, Pending, Placed, Post, Read, Shard, Store, StoreError, StoredMap, Tally,
    Timelines,
};
use crate::id::{MsgId, StoreEpoch, Uid, Version};
use crate::message::{SendKey, TimelineId};
use crate::time::Timestamp;

/// A [`Store`] over another, which answers what this one does not. For layers that do something around calls (they implement every method, which
/// `#[deny(clippy::missing_trait_methods)]` checks), and for stores that fail or are wrong on purpose.
///
/// ```
/// use im_core::memory::MemoryStore;
/// use im_core::storage::{Head, Store, StoreError, StoreLayer};
/// use im_core::message::TimelineId;
///
/// /// Says that all timelines are empty.
/// struct Forgetful(MemoryStore);
///
/// #[async_trait::async_trait]
/// impl StoreLayer for Forgetful {
///     fn inner(&self) -> &dyn Store {
///         &self.0
///     }
///     async fn heads(&self, timelines: Vec<TimelineId>) -> Result<Vec<Head>, StoreError> {
///         Ok(vec![Head::default(); timelines.len()])
///     }
/// }
///
/// let store: Box<dyn Store> = Box::new(Forgetful(MemoryStore::default()));
/// # let _ = store;
/// ```
#[async_trait]
#[allow(missing_docs, reason = "every method is the store's of the same name")]
pub trait StoreLayer: Send + Sync + 'static {
    /// The store below.
    fn inner(&self) -> &dyn Store;

    async fn append(&self, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        self.inner().append(posts).await
    }

    async fn read(&self, reads: Vec<Read>) -> Vec<Result<Page, StoreError>> {
        self.inner().read(reads).await
    }

    async fn heads(&self, timelines: Vec<TimelineId>) -> Result<Vec<Head>, StoreError> {
        self.inner().heads(timelines).await
    }

    async fn find(&self, keys: Vec<(Uid, SendKey)>) -> Result<Vec<Option<Found>>, StoreError> {
        self.inner().find(keys).await
    }

    async fn locate(&self, messages: Vec<(TimelineId, MsgId)>) -> Result<Vec<Option<Version>>, StoreError> {
        self.inner().locate(messages).await
    }

    async fn conversations(
        &self,
        owner: &Uid,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<Conversation>, StoreError> {
        self.inner().conversations(owner, before, limit).await
    }

    async fn ack(&self, acks: Vec<CursorAck>) -> Vec<Result<(), StoreError>> {
        self.inner().ack(acks).await
    }

    async fn cursors(&self, of: Vec<(Uid, TimelineId)>) -> Result<Vec<Vec<Cursor>>, StoreError> {
        self.inner().cursors(of).await
    }

    async fn lease_node(&self, holder: &str, now: Timestamp, ttl: Duration) -> Result<NodeLease, StoreError> {
        self.inner().lease_node(holder, now, ttl).await
    }

    async fn renew_node(
        &self,
        lease: &NodeLease,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<NodeLease, StoreError> {
        self.inner().renew_node(lease, now, ttl).await
    }

    async fn held_nodes(&self) -> Result<Vec<HeldNode>, StoreError> {
        self.inner().held_nodes().await
    }

    async fn release_node(&self, lease: &NodeLease, until: Timestamp) -> Result<(), StoreError> {
        self.inner().release_node(lease, until).await
    }

    async fn epoch(&self) -> Result<StoreEpoch, StoreError> {
        self.inner().epoch().await
    }

    async fn bump_epoch(&self, now: Timestamp) -> Result<StoreEpoch, StoreError> {
        self.inner().bump_epoch(now).await
    }
}

/// A [`Shard`] over another, which answers what this one does not. Of [`Outbox`] it may do something otherwise; [`Buckets`] go through to the database below, because
/// a layer is about what a server asks, not about moves.
#[async_trait]
#[allow(missing_docs, reason = "every method is the outbox's of the same name")]
pub trait ShardLayer: StoreLayer {
    /// The database below: the one that [`inner`](StoreLayer::inner) gives.
    fn inner_shard(&self) -> &dyn Shard;

    async fn append_parts(&self, parts: Vec<Part>) -> Vec<Result<Placed, StoreError>> {
        self.inner_shard().append_parts(parts).await
    }

    async fn intents(&self, pending: Pending, limit: usize) -> Result<Vec<Intent>, StoreError> {
        self.inner_shard().intents(pending, limit).await
    }

    async fn settle(&self, settled: Vec<(IntentId, Version)>) -> Result<(), StoreError> {
        self.inner_shard().settle(settled).await
    }
}

#[async_trait]
impl<L: ShardLayer> Outbox for L {
    async fn append_parts(&self, parts: Vec<Part>) -> Vec<Result<Placed, StoreError>> {
        ShardLayer::append_parts(self, parts).await
    }

    async fn intents(&self, pending: Pending, limit: usize) -> Result<Vec<Intent>, StoreError> {
        ShardLayer::intents(self, pending, limit).await
    }

    async fn settle(&self, settled: Vec<(IntentId, Version)>) -> Result<(), StoreError> {
        ShardLayer::settle(self, settled).await
    }
}

#[async_trait]
impl<L: ShardLayer> Buckets for L {
    async fn bucket_map(&self) -> Result<Option<StoredMap>, StoreError> {
        self.inner_shard().bucket_map().await
    }

    async fn put_bucket_map(&self, map: StoredMap) -> Result<bool, StoreError> {
        self.inner_shard().put_bucket_map(map).await
    }

    async fn member(&self) -> Result<Option<Member>, StoreError> {
        self.inner_shard().member().await
    }

    async fn join(&self, member: Member) -> Result<Member, StoreError> {
        self.inner_shard().join(member).await
    }

    async fn some_timelines(&self, limit: usize) -> Result<Vec<TimelineId>, StoreError> {
        self.inner_shard().some_timelines(limit).await
    }

    async fn next_move(&self) -> Result<MoveId, StoreError> {
        self.inner_shard().next_move().await
    }

    async fn moving_buckets(&self) -> Result<Vec<MovingBucket>, StoreError> {
        self.inner_shard().moving_buckets().await
    }

    async fn index_buckets(&self, limit: usize) -> Result<bool, StoreError> {
        self.inner_shard().index_buckets(limit).await
    }

    async fn depart(&self, id: MoveId, buckets: Vec<Bucket>, to: u16) -> Result<(), StoreError> {
        self.inner_shard().depart(id, buckets, to).await
    }

    async fn arrive(&self, id: MoveId, buckets: Vec<Bucket>, to: u16) -> Result<(), StoreError> {
        self.inner_shard().arrive(id, buckets, to).await
    }

    async fn clear(&self, id: MoveId, limit: usize) -> Result<bool, StoreError> {
        self.inner_shard().clear(id, limit).await
    }

    async fn mark(&self, id: MoveId) -> Result<Mark, StoreError> {
        self.inner_shard().mark(id).await
    }

    async fn copy_out(&self, id: MoveId, ask: CopyOut, limits: CopyLimits) -> Result<CopyPage, StoreError> {
        self.inner_shard().copy_out(id, ask, limits).await
    }

    async fn copy_in(&self, id: MoveId, rows: Vec<MovedRow>) -> Result<(), StoreError> {
        self.inner_shard().copy_in(id, rows).await
    }

    async fn tally(&self, id: MoveId) -> Result<Tally, StoreError> {
        self.inner_shard().tally(id).await
    }

    async fn fence(&self, id: MoveId, lease: Duration) -> Result<Mark, StoreError> {
        self.inner_shard().fence(id, lease).await
    }

    async fn unfence(&self, id: MoveId) -> Result<(), StoreError> {
        self.inner_shard().unfence(id).await
    }

    async fn release(&self, id: MoveId) -> Result<(), StoreError> {
        self.inner_shard().release(id).await
    }

    async fn own(&self, id: MoveId) -> Result<(), StoreError> {
        self.inner_shard().own(id).await
    }
}

#[async_trait]
impl<L: StoreLayer> Timelines for L {
    async fn append(&self, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        StoreLayer::append(self, posts).await
    }

    async fn read(&self, reads: Vec<Read>) -> Vec<Result<Page, StoreError>> {
        StoreLayer::read(self, reads).await
    }

    async fn heads(&self, timelines: Vec<TimelineId>) -> Result<Vec<Head>, StoreError> {
        StoreLayer::heads(self, timelines).await
    }

    async fn find(&self, keys: Vec<(Uid, SendKey)>) -> Result<Vec<Option<Found>>, StoreError> {
        StoreLayer::find(self, keys).await
    }

    async fn locate(&self, messages: Vec<(TimelineId, MsgId)>) -> Result<Vec<Option<Version>>, StoreError> {
        StoreLayer::locate(self, messages).await
    }
}

#[async_trait]
impl<L: StoreLayer> Conversations for L {
    async fn conversations(
        &self,
        owner: &Uid,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<Conversation>, StoreError> {
        StoreLayer::conversations(self, owner, before, limit).await
    }
}

#[async_trait]
impl<L: StoreLayer> Cursors for L {
    async fn ack(&self, acks: Vec<CursorAck>) -> Vec<Result<(), StoreError>> {
        StoreLayer::ack(self, acks).await
    }

    async fn cursors(&self, of: Vec<(Uid, TimelineId)>) -> Result<Vec<Vec<Cursor>>, StoreError> {
        StoreLayer::cursors(self, of).await
    }
}

#[async_trait]
impl<L: StoreLayer> Nodes for L {
    async fn lease_node(&self, holder: &str, now: Timestamp, ttl: Duration) -> Result<NodeLease, StoreError> {
        StoreLayer::lease_node(self, holder, now, ttl).await
    }

    async fn renew_node(
        &self,
        lease: &NodeLease,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<NodeLease, StoreError> {
        StoreLayer::renew_node(self, lease, now, ttl).await
    }

    async fn held_nodes(&self) -> Result<Vec<HeldNode>, StoreError> {
        StoreLayer::held_nodes(self).await
    }

    async fn release_node(&self, lease: &NodeLease, until: Timestamp) -> Result<(), StoreError> {
        StoreLayer::release_node(self, lease, until).await
    }
}

#[async_trait]
impl<L: StoreLayer> Epochs for L {
    async fn epoch(&self) -> Result<StoreEpoch, StoreError> {
        StoreLayer::epoch(self).await
    }

    async fn bump_epoch(&self, now: Timestamp) -> Result<StoreEpoch, StoreError> {
        StoreLayer::bump_epoch(self, now).await
    }
}
