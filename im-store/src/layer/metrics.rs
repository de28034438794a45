//! A store whose calls are counted: [`Metrics`].
//!
//! | metric | kind | labels | what |
//! |---|---|---|---|
//! | `im_store_calls_total` | counter | `store`, `operation`, `outcome` | calls that ended |
//! | `im_store_call_seconds` | histogram | `store`, `operation` | how long they took |
//! | `im_store_posts_total` | counter | `store`, `outcome` | posts that were answered |
//! | `im_store_batch_posts` | histogram | `store` | posts of an append |
//!
//! `operation` is the method's name. An `outcome` is `ok`, `repeated` (of a post), or the error's kind: `unavailable`, `out_of_order`, `moved`, `key_reused`,
//! `msgid_reused`, `forbidden`, `ahead_of_head`, `lease_lost`, `corrupt`. A call that answers for many things has the outcome of the first that failed. One that is dropped counts as
//! `dropped`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use im_core::id::{MsgId, StoreEpoch, Uid, Version};
use im_core::message::{SendKey, TimelineId};
use im_core::ports::Clock;
use im_core::storage::{
    Conversation, Cursor, CursorAck, Found, Head, HeldNode, Intent, IntentId, NodeLease, Page, Part, Pending,
    Placed, Post, Read, Shard, ShardLayer, Store, StoreError, StoreErrorKind, StoreLayer,
};
use im_core::time::{Tick, Timestamp};
use metrics::{SharedString, Unit, counter, describe_counter, describe_histogram, histogram};

const CALLS: &str = "im_store_calls_total";
const SECONDS: &str = "im_store_call_seconds";
const POSTS: &str = "im_store_posts_total";
const BATCH: &str = "im_store_batch_posts";

/// A [`Store`] that tells the recorder of the [`metrics`](https://docs.rs/metrics) crate about its calls; the module lists what. Without a recorder it does next to
/// nothing.
///
/// # Cancel safety
/// That of the store below.
pub struct Metrics {
    inner: Arc<dyn Store>,
    name: SharedString,
    clock: Arc<dyn Clock>,
}

impl Metrics {
    /// A layer over `inner`, which is called `name` in the label `store`, and takes the time by `clock`. Describes the metrics to the recorder that is
    /// installed: install it first.
    pub fn new(inner: Arc<dyn Store>, name: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        describe_counter!(CALLS, "Calls of the store that ended, by operation and outcome");
        describe_histogram!(SECONDS, Unit::Seconds, "How long calls of the store took, by operation");
        describe_counter!(POSTS, "Posts that the store answered, by outcome");
        describe_histogram!(BATCH, Unit::Count, "Posts of one append");
        Self { inner, name: name.into().into(), clock }
    }

    fn begin(&self, operation: &'static str) -> Call<'_> {
        Call { layer: self, operation, began: self.clock.tick(), outcome: "dropped" }
    }

    /// Makes a call that has one answer.
    async fn one<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let mut watched = self.begin(operation);
        let answer = call.await;
        watched.outcome = outcome(&answer);
        answer
    }

    /// Makes a call that has many.
    async fn each<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Vec<Result<T, StoreError>>> + Send,
    ) -> Vec<Result<T, StoreError>> {
        let mut watched = self.begin(operation);
        let answers = call.await;
        watched.outcome = answers.iter().find(|answer| answer.is_err()).map_or(OK, outcome);
        answers
    }

    fn note_batch(&self, posts: usize) {
        #[allow(clippy::cast_precision_loss, reason = "no batch has so many posts")]
        histogram!(BATCH, "store" => self.name.clone()).record(posts as f64);
    }

    fn count_posts(&self, answers: &[Result<Placed, StoreError>]) {
        for answer in answers {
            let outcome = match answer {
                Ok(Placed { repeated: true, .. }) => "repeated",
                answer => outcome(answer),
            };
            counter!(POSTS, "store" => self.name.clone(), "outcome" => outcome).increment(1);
        }
    }
}

/// A call that runs. It is counted when it is dropped.
struct Call<'a> {
    layer: &'a Metrics,
    operation: &'static str,
    began: Tick,
    outcome: &'static str,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let Metrics { name, clock, .. } = self.layer;
        let took = clock.tick().since(self.began);
        histogram!(SECONDS, "store" => name.clone(), "operation" => self.operation).record(took);
        counter!(CALLS, "store" => name.clone(), "operation" => self.operation, "outcome" => self.outcome)
            .increment(1);
    }
}

const OK: &str = "ok";

fn outcome<T>(answer: &Result<T, StoreError>) -> &'static str {
    match answer.as_ref().map_err(StoreError::kind) {
        Ok(_) => OK,
        Err(StoreErrorKind::Unavailable) => "unavailable",
        Err(StoreErrorKind::OutOfOrder) => "out_of_order",
        Err(StoreErrorKind::Moved) => "moved",
        Err(StoreErrorKind::KeyReused) => "key_reused",
        Err(StoreErrorKind::MsgIdReused) => "msgid_reused",
        Err(StoreErrorKind::Forbidden) => "forbidden",
        Err(StoreErrorKind::AheadOfHead) => "ahead_of_head",
        Err(StoreErrorKind::LeaseLost) => "lease_lost",
        Err(StoreErrorKind::Corrupt) => "corrupt",
        Err(_) => "another",
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StoreLayer for Metrics {
    fn inner(&self) -> &dyn Store {
        &*self.inner
    }

    async fn append(&self, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        self.note_batch(posts.len());
        let answers = self.each("append", self.inner.append(posts)).await;
        self.count_posts(&answers);
        answers
    }

    async fn read(&self, reads: Vec<Read>) -> Vec<Result<Page, StoreError>> {
        self.each("read", self.inner.read(reads)).await
    }

    async fn heads(&self, timelines: Vec<TimelineId>) -> Result<Vec<Head>, StoreError> {
        self.one("heads", self.inner.heads(timelines)).await
    }

    async fn find(&self, keys: Vec<(Uid, SendKey)>) -> Result<Vec<Option<Found>>, StoreError> {
        self.one("find", self.inner.find(keys)).await
    }

    async fn locate(&self, messages: Vec<(TimelineId, MsgId)>) -> Result<Vec<Option<Version>>, StoreError> {
        self.one("locate", self.inner.locate(messages)).await
    }

    async fn conversations(
        &self,
        owner: &Uid,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<Conversation>, StoreError> {
        self.one("conversations", self.inner.conversations(owner, before, limit)).await
    }

    async fn ack(&self, acks: Vec<CursorAck>) -> Vec<Result<(), StoreError>> {
        self.each("ack", self.inner.ack(acks)).await
    }

    async fn cursors(&self, of: Vec<(Uid, TimelineId)>) -> Result<Vec<Vec<Cursor>>, StoreError> {
        self.one("cursors", self.inner.cursors(of)).await
    }

    async fn lease_node(&self, holder: &str, now: Timestamp, ttl: Duration) -> Result<NodeLease, StoreError> {
        self.one("lease_node", self.inner.lease_node(holder, now, ttl)).await
    }

    async fn renew_node(
        &self,
        lease: &NodeLease,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<NodeLease, StoreError> {
        self.one("renew_node", self.inner.renew_node(lease, now, ttl)).await
    }

    async fn held_nodes(&self) -> Result<Vec<HeldNode>, StoreError> {
        self.one("held_nodes", self.inner.held_nodes()).await
    }

    async fn release_node(&self, lease: &NodeLease, until: Timestamp) -> Result<(), StoreError> {
        self.one("release_node", self.inner.release_node(lease, until)).await
    }

    async fn epoch(&self) -> Result<StoreEpoch, StoreError> {
        self.one("epoch", self.inner.epoch()).await
    }

    async fn bump_epoch(&self, now: Timestamp) -> Result<StoreEpoch, StoreError> {
        self.one("bump_epoch", self.inner.bump_epoch(now)).await
    }
}

/// The same over a store that is one database of several; parts of posts count as posts.
pub struct ShardMetrics {
    store: Metrics,
    shard: Arc<dyn Shard>,
}

impl ShardMetrics {
    /// A layer over `inner`; see [`Metrics::new`].
    pub fn new(inner: Arc<dyn Shard>, name: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        Self { store: Metrics::new(inner.clone(), name, clock), shard: inner }
    }
}

#[async_trait]
impl StoreLayer for ShardMetrics {
    fn inner(&self) -> &dyn Store {
        &self.store
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ShardLayer for ShardMetrics {
    fn inner_shard(&self) -> &dyn Shard {
        &*self.shard
    }

    async fn append_parts(&self, parts: Vec<Part>) -> Vec<Result<Placed, StoreError>> {
        self.store.note_batch(parts.len());
        let answers = self.store.each("append_parts", self.shard.append_parts(parts)).await;
        self.store.count_posts(&answers);
        answers
    }

    async fn intents(&self, pending: Pending, limit: usize) -> Result<Vec<Intent>, StoreError> {
        self.store.one("intents", self.shard.intents(pending, limit)).await
    }

    async fn settle(&self, settled: Vec<(IntentId, Version)>) -> Result<(), StoreError> {
        self.store.one("settle", self.shard.settle(settled)).await
    }
}
