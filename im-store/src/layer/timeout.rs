//! A store whose calls end within a deadline: [`Timeout`].

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{Either, select};
use im_core::id::{MsgId, StoreEpoch, Uid, Version};
use im_core::message::{SendKey, TimelineId};
use im_core::ports::Clock;
use im_core::storage::{
    Conversation, Cursor, CursorAck, Found, Head, HeldNode, Intent, IntentId, NodeLease, Page, Part, Pending,
    Placed, Post, Read, Shard, ShardLayer, Store, StoreError, StoreErrorKind, StoreLayer,
};
use im_core::time::Timestamp;

/// A [`Store`] that drops a call which takes too long, and answers [`Unavailable`](StoreErrorKind::Unavailable) for all that it asked: what it did is unknown.
///
/// For adapters that do not bound their calls. Those of this crate do.
///
/// # Cancel safety
/// That of the store below, on which it relies: every call of a store may be dropped.
pub struct Timeout {
    inner: Arc<dyn Store>,
    limit: Duration,
    clock: Arc<dyn Clock>,
}

/// A call took longer than the layer allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer within {0:?}")]
pub struct Elapsed(pub Duration);

impl Timeout {
    /// A layer over `inner`, whose calls get `limit` by `clock`.
    pub fn new(inner: Arc<dyn Store>, limit: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { inner, limit, clock }
    }

    async fn within<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = T> + Send,
    ) -> Result<T, StoreError> {
        let end = self.clock.sleep_until(self.clock.tick() + self.limit);
        match select(pin!(call), end).await {
            Either::Left((answer, _)) => Ok(answer),
            Either::Right(_) => {
                Err(StoreError::new(StoreErrorKind::Unavailable, operation).caused_by(Elapsed(self.limit)))
            }
        }
    }

    /// The same for a call that answers for each of so many things.
    async fn each<T>(
        &self,
        operation: &'static str,
        count: usize,
        call: impl Future<Output = Vec<Result<T, StoreError>>> + Send,
    ) -> Vec<Result<T, StoreError>> {
        let answers = self.within(operation, call).await;
        answers.unwrap_or_else(|error| (0..count).map(|_| Err(error.clone())).collect())
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StoreLayer for Timeout {
    fn inner(&self) -> &dyn Store {
        &*self.inner
    }

    async fn append(&self, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        self.each("append", posts.len(), self.inner.append(posts)).await
    }

    async fn read(&self, reads: Vec<Read>) -> Vec<Result<Page, StoreError>> {
        self.each("read", reads.len(), self.inner.read(reads)).await
    }

    async fn heads(&self, timelines: Vec<TimelineId>) -> Result<Vec<Head>, StoreError> {
        self.within("heads", self.inner.heads(timelines)).await?
    }

    async fn find(&self, keys: Vec<(Uid, SendKey)>) -> Result<Vec<Option<Found>>, StoreError> {
        self.within("find", self.inner.find(keys)).await?
    }

    async fn locate(&self, messages: Vec<(TimelineId, MsgId)>) -> Result<Vec<Option<Version>>, StoreError> {
        self.within("locate", self.inner.locate(messages)).await?
    }

    async fn conversations(
        &self,
        owner: &Uid,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<Conversation>, StoreError> {
        self.within("conversations", self.inner.conversations(owner, before, limit)).await?
    }

    async fn ack(&self, acks: Vec<CursorAck>) -> Vec<Result<(), StoreError>> {
        self.each("ack", acks.len(), self.inner.ack(acks)).await
    }

    async fn cursors(&self, of: Vec<(Uid, TimelineId)>) -> Result<Vec<Vec<Cursor>>, StoreError> {
        self.within("cursors", self.inner.cursors(of)).await?
    }

    async fn lease_node(&self, holder: &str, now: Timestamp, ttl: Duration) -> Result<NodeLease, StoreError> {
        self.within("lease_node", self.inner.lease_node(holder, now, ttl)).await?
    }

    async fn renew_node(
        &self,
        lease: &NodeLease,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<NodeLease, StoreError> {
        self.within("renew_node", self.inner.renew_node(lease, now, ttl)).await?
    }

    async fn held_nodes(&self) -> Result<Vec<HeldNode>, StoreError> {
        self.within("held_nodes", self.inner.held_nodes()).await?
    }

    async fn release_node(&self, lease: &NodeLease, until: Timestamp) -> Result<(), StoreError> {
        self.within("release_node", self.inner.release_node(lease, until)).await?
    }

    async fn epoch(&self) -> Result<StoreEpoch, StoreError> {
        self.within("epoch", self.inner.epoch()).await?
    }

    async fn bump_epoch(&self, now: Timestamp) -> Result<StoreEpoch, StoreError> {
        self.within("bump_epoch", self.inner.bump_epoch(now)).await?
    }
}

/// The same over a store that is one database of several.
pub struct ShardTimeout {
    store: Timeout,
    shard: Arc<dyn Shard>,
}

impl ShardTimeout {
    /// A layer over `inner`, whose calls get `limit` by `clock`.
    pub fn new(inner: Arc<dyn Shard>, limit: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { store: Timeout::new(inner.clone(), limit, clock), shard: inner }
    }
}

#[async_trait]
impl StoreLayer for ShardTimeout {
    fn inner(&self) -> &dyn Store {
        &self.store
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ShardLayer for ShardTimeout {
    fn inner_shard(&self) -> &dyn Shard {
        &*self.shard
    }

    async fn append_parts(&self, parts: Vec<Part>) -> Vec<Result<Placed, StoreError>> {
        self.store.each("append_parts", parts.len(), self.shard.append_parts(parts)).await
    }

    async fn intents(&self, pending: Pending, limit: usize) -> Result<Vec<Intent>, StoreError> {
        self.store.within("intents", self.shard.intents(pending, limit)).await?
    }

    async fn settle(&self, settled: Vec<(IntentId, Version)>) -> Result<(), StoreError> {
        self.store.within("settle", self.shard.settle(settled)).await?
    }
}
