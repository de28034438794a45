use std::time::Duration;

use async_trait::async_trait;
use im_core::id::{MsgId, StoreEpoch, Uid, Version};
use im_core::message::{SendKey, TimelineId};
use im_core::storage::{
    Conversation, Conversations, Cursor, CursorAck, Cursors, Epochs, Found, Head, Intent, IntentId,
    NodeLease, Nodes, Outbox, Page, Part, Pending, Placed, Post, Read, Shard, Store, StoreError, Timelines,
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
