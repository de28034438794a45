use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use im_core::id::{MsgId, StoreEpoch, Uid, Version};
use im_core::message::{SendKey, TimelineId};
use im_core::storage::{
    Conversation, Cursor, CursorAck, Found, Head, NodeLease, Page, Placed, Post, Read, Store, StoreError,
    StoreErrorKind, StoreLayer,
};
use im_core::time::Timestamp;

/// Of every three calls, which goes wrong and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loss {
    /// 0, 1 or 2.
    pub(crate) call: usize,
    /// Whether it is done, and only the answer is lost.
    pub(crate) after: bool,
}

/// A store of which one call in three fails, and every write as long as `failing`. Leases and bumps of the epoch do not: nobody tries them again. Nor does an
/// append of what is stored under the same msgid, of which a retry cannot tell whether one of its tries has stored it.
pub(crate) struct Flaky {
    inner: Arc<dyn Store>,
    loss: Option<Loss>,
    failing: Arc<AtomicBool>,
    calls: AtomicUsize,
}

pub(crate) fn unavailable() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "flaky")
}

impl Flaky {
    pub(crate) fn new(inner: Arc<dyn Store>, loss: Option<Loss>, failing: Arc<AtomicBool>) -> Self {
        Self { inner, loss, failing, calls: AtomicUsize::new(0) }
    }

    /// `None` if the call fails.
    async fn play<T>(&self, call: impl Future<Output = T> + Send) -> Option<T> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        match self.loss.filter(|loss| number % 3 == loss.call) {
            None => Some(call.await),
            Some(loss) => {
                if loss.after {
                    call.await;
                }
                None
            }
        }
    }

    async fn has_one_of(&self, posts: &[Post]) -> bool {
        let keys = posts.iter().map(|post| (post.message.from.clone(), post.message.key.clone()));
        let found = self.inner.find(keys.collect()).await.unwrap();
        posts
            .iter()
            .zip(found)
            .any(|(post, found)| found.is_some_and(|found| found.placed.msgid == post.message.msgid))
    }

    async fn write<T>(&self, call: impl Future<Output = T> + Send) -> Option<T> {
        match self.failing.load(Ordering::SeqCst) {
            true => None,
            false => self.play(call).await,
        }
    }
}

fn all<T>(count: usize) -> Vec<Result<T, StoreError>> {
    (0..count).map(|_| Err(unavailable())).collect()
}

#[async_trait]
impl StoreLayer for Flaky {
    fn inner(&self) -> &dyn Store {
        &*self.inner
    }

    async fn append(&self, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        let count = posts.len();
        if self.has_one_of(&posts).await {
            return self.inner.append(posts).await;
        }
        self.write(self.inner.append(posts)).await.unwrap_or_else(|| all(count))
    }

    async fn read(&self, reads: Vec<Read>) -> Vec<Result<Page, StoreError>> {
        let count = reads.len();
        self.play(self.inner.read(reads)).await.unwrap_or_else(|| all(count))
    }

    async fn heads(&self, timelines: Vec<TimelineId>) -> Result<Vec<Head>, StoreError> {
        self.play(self.inner.heads(timelines)).await.unwrap_or_else(|| Err(unavailable()))
    }

    async fn find(&self, keys: Vec<(Uid, SendKey)>) -> Result<Vec<Option<Found>>, StoreError> {
        self.play(self.inner.find(keys)).await.unwrap_or_else(|| Err(unavailable()))
    }

    async fn locate(&self, messages: Vec<(TimelineId, MsgId)>) -> Result<Vec<Option<Version>>, StoreError> {
        self.play(self.inner.locate(messages)).await.unwrap_or_else(|| Err(unavailable()))
    }

    async fn conversations(
        &self,
        owner: &Uid,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<Conversation>, StoreError> {
        let call = self.inner.conversations(owner, before, limit);
        self.play(call).await.unwrap_or_else(|| Err(unavailable()))
    }

    async fn ack(&self, acks: Vec<CursorAck>) -> Vec<Result<(), StoreError>> {
        let count = acks.len();
        self.write(self.inner.ack(acks)).await.unwrap_or_else(|| all(count))
    }

    async fn cursors(&self, of: Vec<(Uid, TimelineId)>) -> Result<Vec<Vec<Cursor>>, StoreError> {
        self.play(self.inner.cursors(of)).await.unwrap_or_else(|| Err(unavailable()))
    }

    async fn renew_node(
        &self,
        lease: &NodeLease,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<NodeLease, StoreError> {
        self.write(self.inner.renew_node(lease, now, ttl)).await.unwrap_or_else(|| Err(unavailable()))
    }

    async fn release_node(&self, lease: &NodeLease, until: Timestamp) -> Result<(), StoreError> {
        self.write(self.inner.release_node(lease, until)).await.unwrap_or_else(|| Err(unavailable()))
    }

    async fn epoch(&self) -> Result<StoreEpoch, StoreError> {
        self.play(self.inner.epoch()).await.unwrap_or_else(|| Err(unavailable()))
    }
}
