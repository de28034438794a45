//! A store that tries again what failed for now: [`Retry`].

mod order;
mod pauses;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use im_core::id::{MsgId, StoreEpoch, Uid, Version};
use im_core::message::{SendKey, TimelineId};
use im_core::ports::Clock;
use im_core::storage::{
    Conversation, Cursor, CursorAck, Found, Head, HeldNode, NodeLease, Page, Placed, Post, Read, Store,
    StoreError, StoreErrorKind, StoreLayer,
};
use im_core::time::Timestamp;

use order::Known;
use pauses::Pauses;

/// A [`Store`] that tries again what failed with a [retryable](StoreError::is_retryable) error, after a random pause that grows, until there were enough
/// tries or it took too long; then the last error is the answer.
///
/// # Appends
/// Only the posts that failed are tried again, together and in their order, so that the contract of [`Timelines::append`](im_core::storage::Timelines::append) holds as for one
/// call: of posts with one home, all after one that stays failed stay failed too. A post behind which a later one of its batch has been placed in a timeline of
/// both, as it happens over several databases, is not tried again: it would come after the later one. Its error is the answer, and the caller decides.
///
/// A try may have stored a post and failed to say so. The next one then finds it, and its answer says `repeated: false` like a first one, because nobody has been
/// told of it before. It is told from a send that was stored earlier by its msgid, which is the post's own. Who appends once more a post that was
/// acknowledged, under the same msgid, may hear `false` too if the store fails meanwhile. A post that fails for good may have been stored, as without this layer.
///
/// The posts of a batch that were stored at once wait for the others.
///
/// # What is not tried again
/// [`lease_node`](im_core::storage::Nodes::lease_node), which every time takes another lease that begins later, and
/// [`bump_epoch`](im_core::storage::Epochs::bump_epoch), which bumps once more. A renewal is tried again: its `now` only becomes more cautious.
///
/// # Cancel safety
/// That of the store below.
pub struct Retry {
    inner: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    limits: Limits,
}

/// When to stop, and how long to wait.
#[derive(Clone, Copy, Debug)]
struct Limits {
    tries: u32,
    within: Duration,
    first_pause: Duration,
    longest_pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tries: 6,
            within: Duration::from_secs(3),
            first_pause: Duration::from_millis(20),
            longest_pause: Duration::from_secs(1),
        }
    }
}

impl Retry {
    /// A layer over `inner`, which waits by `clock`.
    pub fn new(inner: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { inner, clock, limits: Limits::default() }
    }

    /// How often a call is made at most, at least once. 6 tries: together with the pauses, a second or two.
    #[must_use]
    pub fn tries(mut self, tries: u32) -> Self {
        self.limits.tries = tries.max(1);
        self
    }

    /// How long after its beginning a call may be tried again. 3 s: a client waits 5 s for an ack before it resends, and the last try takes time too.
    #[must_use]
    pub fn within(mut self, within: Duration) -> Self {
        self.limits.within = within;
        self
    }

    /// Between two tries there is a random part, half at least, of a time that is `first` at first, doubles, and is `longest` at most. 20 ms and 1 s: a lost lock is free again in
    /// the one, a database that starts is not asked in vain too often in the other.
    #[must_use]
    pub fn pauses(mut self, first: Duration, longest: Duration) -> Self {
        (self.limits.first_pause, self.limits.longest_pause) = (first, longest);
        self
    }

    /// Makes a call until it has an answer that is not retryable.
    async fn again<'a, T>(
        &'a self,
        call: impl Fn() -> BoxFuture<'a, Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let mut pauses = Pauses::new(&*self.clock, self.limits);
        loop {
            match call().await {
                Err(error) if error.is_retryable() && pauses.wait(&error).await => {}
                outcome => return outcome,
            }
        }
    }

    /// Makes a call for many things, and again for those that failed and that `retried` allows.
    async fn each<'a, I: Clone + Sync + Send, T: Send>(
        &'a self,
        items: Vec<I>,
        call: impl Fn(Vec<I>) -> BoxFuture<'a, Vec<Result<T, StoreError>>> + Send,
        retried: impl Fn(&[I], &[Result<T, StoreError>]) -> Vec<usize> + Send,
        mut told: impl FnMut(&I, &mut Result<T, StoreError>) + Send,
    ) -> Vec<Result<T, StoreError>> {
        let mut pauses = Pauses::new(&*self.clock, self.limits);
        let mut asked: Vec<I> = items.clone();
        // Where each of those asked has its answer.
        let mut places: Vec<usize> = (0..items.len()).collect();
        let mut answers: Vec<Option<Result<T, StoreError>>> = items.iter().map(|_| None).collect();
        loop {
            let mut answered = call(asked.clone()).await;
            asked.iter().zip(&mut answered).for_each(|(item, answer)| told(item, answer));
            let again = retried(&asked, &answered);
            let error = again.first().and_then(|first| answered.get(*first)?.as_ref().err().cloned());
            let (next, next_places) = again.iter().map(|at| (asked[*at].clone(), places[*at])).unzip();
            places.iter().zip(answered).for_each(|(place, answer)| answers[*place] = Some(answer));
            match error {
                Some(error) if pauses.wait(&error).await => (asked, places) = (next, next_places),
                _ => break,
            }
        }
        let missing = || Err(StoreError::new(StoreErrorKind::Corrupt, "retry"));
        answers.into_iter().map(|answer| answer.unwrap_or_else(missing)).collect()
    }
}

/// All that failed for now: each stands for itself.
fn all_retryable<I, T>(_: &[I], answers: &[Result<T, StoreError>]) -> Vec<usize> {
    let failed = answers.iter().enumerate();
    failed.filter(|(_, answer)| is_retryable(answer)).map(|(at, _)| at).collect()
}

fn is_retryable<T>(answer: &Result<T, StoreError>) -> bool {
    answer.as_ref().err().is_some_and(StoreError::is_retryable)
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StoreLayer for Retry {
    fn inner(&self) -> &dyn Store {
        &*self.inner
    }

    async fn append(&self, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        let mut known = Known::of(&posts);
        let told = |post: &Post, answer: &mut _| known.told(post, answer);
        self.each(posts, |posts| self.inner.append(posts), order::in_order, told).await
    }

    async fn read(&self, reads: Vec<Read>) -> Vec<Result<Page, StoreError>> {
        self.each(reads, |reads| self.inner.read(reads), all_retryable, |_, _| ()).await
    }

    async fn heads(&self, timelines: Vec<TimelineId>) -> Result<Vec<Head>, StoreError> {
        self.again(|| self.inner.heads(timelines.clone())).await
    }

    async fn find(&self, keys: Vec<(Uid, SendKey)>) -> Result<Vec<Option<Found>>, StoreError> {
        self.again(|| self.inner.find(keys.clone())).await
    }

    async fn locate(&self, messages: Vec<(TimelineId, MsgId)>) -> Result<Vec<Option<Version>>, StoreError> {
        self.again(|| self.inner.locate(messages.clone())).await
    }

    async fn conversations(
        &self,
        owner: &Uid,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<Conversation>, StoreError> {
        let mut pauses = Pauses::new(&*self.clock, self.limits);
        loop {
            match self.inner.conversations(owner, before, limit).await {
                Err(error) if error.is_retryable() && pauses.wait(&error).await => {}
                outcome => return outcome,
            }
        }
    }

    async fn ack(&self, acks: Vec<CursorAck>) -> Vec<Result<(), StoreError>> {
        self.each(acks, |acks| self.inner.ack(acks), all_retryable, |_, _| ()).await
    }

    async fn cursors(&self, of: Vec<(Uid, TimelineId)>) -> Result<Vec<Vec<Cursor>>, StoreError> {
        self.again(|| self.inner.cursors(of.clone())).await
    }

    async fn lease_node(&self, holder: &str, now: Timestamp, ttl: Duration) -> Result<NodeLease, StoreError> {
        self.inner.lease_node(holder, now, ttl).await
    }

    async fn renew_node(
        &self,
        lease: &NodeLease,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<NodeLease, StoreError> {
        let mut pauses = Pauses::new(&*self.clock, self.limits);
        loop {
            match self.inner.renew_node(lease, now, ttl).await {
                Err(error) if error.is_retryable() && pauses.wait(&error).await => {}
                outcome => return outcome,
            }
        }
    }

    async fn held_nodes(&self) -> Result<Vec<HeldNode>, StoreError> {
        self.again(|| self.inner.held_nodes()).await
    }

    async fn release_node(&self, lease: &NodeLease, until: Timestamp) -> Result<(), StoreError> {
        let mut pauses = Pauses::new(&*self.clock, self.limits);
        loop {
            match self.inner.release_node(lease, until).await {
                Err(error) if error.is_retryable() && pauses.wait(&error).await => {}
                outcome => return outcome,
            }
        }
    }

    async fn epoch(&self) -> Result<StoreEpoch, StoreError> {
        self.again(|| self.inner.epoch()).await
    }

    async fn bump_epoch(&self, now: Timestamp) -> Result<StoreEpoch, StoreError> {
        self.inner.bump_epoch(now).await
    }
}
