use std::time::Duration;

use async_trait::async_trait;
use im_core::id::{MsgId, StoreEpoch, Uid, Version};
use im_core::message::{SendKey, TimelineId};
use im_core::storage::{
    Bucket, Buckets, Conversation, Conversations, CopyLimits, CopyOut, CopyPage, Cursor, CursorAck, Cursors,
    Epochs, Found, Head, HeldNode, Intent, IntentId, Mark, Member, MoveId, MovedRow, MovingBucket, NodeLease,
    Nodes, Outbox, Page, Part, Pending, Placed, Post, Read, Shard, Store, StoreError, StoredMap, Tally,
    Timelines,
};
use im_core::time::Timestamp;

use super::ReplicatedStore;

#[async_trait]
impl<P: Store + ?Sized> Timelines for ReplicatedStore<P> {
    async fn append(&self, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        self.primary.append(posts).await
    }

    async fn read(&self, reads: Vec<Read>) -> Vec<Result<Page, StoreError>> {
        self.pages(reads).await
    }

    async fn heads(&self, timelines: Vec<TimelineId>) -> Result<Vec<Head>, StoreError> {
        self.primary.heads(timelines).await
    }

    async fn find(&self, keys: Vec<(Uid, SendKey)>) -> Result<Vec<Option<Found>>, StoreError> {
        self.primary.find(keys).await
    }

    async fn locate(&self, messages: Vec<(TimelineId, MsgId)>) -> Result<Vec<Option<Version>>, StoreError> {
        self.primary.locate(messages).await
    }
}

#[async_trait]
impl<P: Store + ?Sized> Conversations for ReplicatedStore<P> {
    async fn conversations(
        &self,
        owner: &Uid,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<Conversation>, StoreError> {
        self.primary.conversations(owner, before, limit).await
    }
}

#[async_trait]
impl<P: Store + ?Sized> Cursors for ReplicatedStore<P> {
    async fn ack(&self, acks: Vec<CursorAck>) -> Vec<Result<(), StoreError>> {
        self.primary.ack(acks).await
    }

    async fn cursors(&self, of: Vec<(Uid, TimelineId)>) -> Result<Vec<Vec<Cursor>>, StoreError> {
        self.primary.cursors(of).await
    }
}

#[async_trait]
impl<P: Store + ?Sized> Nodes for ReplicatedStore<P> {
    async fn lease_node(&self, holder: &str, now: Timestamp, ttl: Duration) -> Result<NodeLease, StoreError> {
        self.primary.lease_node(holder, now, ttl).await
    }

    async fn renew_node(
        &self,
        lease: &NodeLease,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<NodeLease, StoreError> {
        self.primary.renew_node(lease, now, ttl).await
    }

    async fn held_nodes(&self) -> Result<Vec<HeldNode>, StoreError> {
        self.primary.held_nodes().await
    }

    async fn release_node(&self, lease: &NodeLease, until: Timestamp) -> Result<(), StoreError> {
        self.primary.release_node(lease, until).await
    }
}

#[async_trait]
impl<P: Store + ?Sized> Epochs for ReplicatedStore<P> {
    async fn epoch(&self) -> Result<StoreEpoch, StoreError> {
        self.primary.epoch().await
    }

    async fn bump_epoch(&self, now: Timestamp) -> Result<StoreEpoch, StoreError> {
        self.primary.bump_epoch(now).await
    }
}

#[async_trait]
impl<P: Shard + ?Sized> Outbox for ReplicatedStore<P> {
    async fn append_parts(&self, parts: Vec<Part>) -> Vec<Result<Placed, StoreError>> {
        self.primary.append_parts(parts).await
    }

    async fn intents(&self, pending: Pending, limit: usize) -> Result<Vec<Intent>, StoreError> {
        self.primary.intents(pending, limit).await
    }

    async fn settle(&self, settled: Vec<(IntentId, Version)>) -> Result<(), StoreError> {
        self.primary.settle(settled).await
    }
}

/// Moves are the primary's. What a replica says of a bucket that is gone is what was true, as it is of a timeline that grows.
#[async_trait]
impl<P: Shard + ?Sized> Buckets for ReplicatedStore<P> {
    async fn bucket_map(&self) -> Result<Option<StoredMap>, StoreError> {
        self.primary.bucket_map().await
    }

    async fn put_bucket_map(&self, map: StoredMap) -> Result<bool, StoreError> {
        self.primary.put_bucket_map(map).await
    }

    async fn member(&self) -> Result<Option<Member>, StoreError> {
        self.primary.member().await
    }

    async fn join(&self, member: Member) -> Result<Member, StoreError> {
        self.primary.join(member).await
    }

    async fn some_timelines(&self, limit: usize) -> Result<Vec<TimelineId>, StoreError> {
        self.primary.some_timelines(limit).await
    }

    async fn next_move(&self) -> Result<MoveId, StoreError> {
        self.primary.next_move().await
    }

    async fn moving_buckets(&self) -> Result<Vec<MovingBucket>, StoreError> {
        self.primary.moving_buckets().await
    }

    async fn index_buckets(&self, limit: usize) -> Result<bool, StoreError> {
        self.primary.index_buckets(limit).await
    }

    async fn depart(&self, id: MoveId, buckets: Vec<Bucket>, to: u16) -> Result<(), StoreError> {
        self.primary.depart(id, buckets, to).await
    }

    async fn arrive(&self, id: MoveId, buckets: Vec<Bucket>, to: u16) -> Result<(), StoreError> {
        self.primary.arrive(id, buckets, to).await
    }

    async fn clear(&self, id: MoveId, limit: usize) -> Result<bool, StoreError> {
        self.primary.clear(id, limit).await
    }

    async fn mark(&self, id: MoveId) -> Result<Mark, StoreError> {
        self.primary.mark(id).await
    }

    async fn copy_out(&self, id: MoveId, ask: CopyOut, limits: CopyLimits) -> Result<CopyPage, StoreError> {
        self.primary.copy_out(id, ask, limits).await
    }

    async fn copy_in(&self, id: MoveId, rows: Vec<MovedRow>) -> Result<(), StoreError> {
        self.primary.copy_in(id, rows).await
    }

    async fn tally(&self, id: MoveId) -> Result<Tally, StoreError> {
        self.primary.tally(id).await
    }

    async fn fence(&self, id: MoveId, lease: Duration) -> Result<Mark, StoreError> {
        self.primary.fence(id, lease).await
    }

    async fn unfence(&self, id: MoveId) -> Result<(), StoreError> {
        self.primary.unfence(id).await
    }

    async fn release(&self, id: MoveId) -> Result<(), StoreError> {
        self.primary.release(id).await
    }

    async fn own(&self, id: MoveId) -> Result<(), StoreError> {
        self.primary.own(id).await
    }
}
