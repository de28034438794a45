use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use im_core::id::{MsgId, Uid, Version};
use im_core::message::{SendKey, TimelineId};
use im_core::storage::{
    Bucket, Buckets, CopyLimits, CopyOut, CopyPage, Found, Intent, IntentId, Mark, Member, MoveId, MovedRow,
    MovingBucket, Outbox, Part, Pending, Placed, Post, Shard, Store, StoreError, StoreErrorKind, StoredMap,
    Tally,
};
use im_core::testing::StoreLayer;
use tokio::sync::Notify;

/// How a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// It fails and does nothing.
    Refused,
    /// It is done, and the answer is lost.
    Unanswered,
    /// The process ends before it is done.
    KilledBefore,
    /// The process ends after it is done.
    KilledAfter,
    /// It waits before it is done, until it is let go on.
    Stopped,
}

pub(crate) const EVERY_WAY: [How; 4] = [How::Refused, How::Unanswered, How::KilledBefore, How::KilledAfter];

/// What goes wrong, in all databases that share it.
#[derive(Debug)]
pub(crate) struct Fault {
    how: How,
    /// The number of the call that goes wrong; `None` for any as long as `set`.
    at: Option<usize>,
    /// Of those, each so many.
    every: usize,
    set: Arc<AtomicBool>,
    calls: AtomicUsize,
    /// If there is one, it says what goes wrong, and how long calls take.
    chance: Option<Mutex<Chance>>,
    /// Told when the process is to end, or waits.
    pub(crate) killed: Notify,
    /// To be told when what waits is to go on.
    pub(crate) go_on: Notify,
}

impl Fault {
    /// The call with this number goes wrong.
    pub(crate) fn at(call: usize, how: How) -> Arc<Self> {
        let set = Arc::new(AtomicBool::new(true));
        Arc::new(Self::new(how, Some(call), 1, set))
    }

    /// Every call is refused as long as `set`.
    pub(crate) fn while_set(set: Arc<AtomicBool>) -> Arc<Self> {
        Arc::new(Self::new(How::Refused, None, 1, set))
    }

    /// One call in so many goes wrong.
    pub(crate) fn every(calls: usize, how: How) -> Arc<Self> {
        Arc::new(Self::new(how, None, calls, Arc::new(AtomicBool::new(true))))
    }

    fn new(how: How, at: Option<usize>, every: usize, set: Arc<AtomicBool>) -> Self {
        let (calls, killed, go_on) = (AtomicUsize::new(0), Notify::new(), Notify::new());
        Self { how, at, every, set, calls, chance: None, killed, go_on }
    }

    /// Calls take random times, and some fail before or after they are done.
    pub(crate) fn random(chance: Chance) -> Arc<Self> {
        let chance = Some(Mutex::new(chance));
        Arc::new(Self { chance, ..Self::new(How::Refused, None, 1, Arc::default()) })
    }

    fn draw(&self, below: u64) -> Option<u64> {
        Some(self.chance.as_ref()?.lock().unwrap().below(below))
    }

    /// Others have their turns.
    async fn rest(&self) {
        match self.draw(6) {
            None => {}
            Some(0) => tokio::time::sleep(Duration::from_millis(1)).await,
            Some(turns) => {
                for _ in 1..turns {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Whether the call with that number was made.
    pub(crate) fn came(&self) -> bool {
        self.at.is_some_and(|at| self.calls.load(Ordering::SeqCst) > at)
    }

    fn of_this_call(&self) -> Option<How> {
        if let Some(drawn) = self.draw(80) {
            return [How::Refused, How::Unanswered].into_iter().nth(usize::try_from(drawn).unwrap());
        }
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let now = self.at.map_or(call % self.every == self.every - 1, |at| at == call);
        let now = now && self.set.load(Ordering::SeqCst);
        now.then_some(self.how)
    }

    /// Makes a call go as it has to; `None` if it failed.
    async fn play<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        self.rest().await;
        match self.of_this_call() {
            None => {
                let answer = call.await;
                self.rest().await;
                Some(answer)
            }
            Some(How::Refused) => None,
            Some(How::Unanswered) => {
                call.await;
                None
            }
            Some(How::KilledBefore) => self.end().await,
            Some(How::KilledAfter) => {
                call.await;
                self.end().await
            }
            Some(How::Stopped) => {
                self.killed.notify_one();
                self.go_on.notified().await;
                Some(call.await)
            }
        }
    }

    /// Nothing comes after this.
    async fn end<T>(&self) -> T {
        self.killed.notify_one();
        std::future::pending().await
    }
}

/// Numbers that follow from a seed.
#[derive(Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(u64::try_from(length).unwrap())).unwrap()
    }
}

/// A database of which calls go wrong.
pub(crate) struct Faulty {
    inner: Arc<dyn Shard>,
    fault: Arc<Fault>,
}

impl Faulty {
    pub(crate) fn new(inner: Arc<dyn Shard>, fault: Arc<Fault>) -> Self {
        Self { inner, fault }
    }

    async fn play<T>(&self, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        self.fault.play(call).await.unwrap_or_else(|| Err(unavailable()))
    }
}

fn unavailable() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "test")
}

#[async_trait]
impl StoreLayer for Faulty {
    fn inner(&self) -> &dyn Store {
        &*self.inner
    }

    async fn append(&self, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        let count = posts.len();
        let answers = self.fault.play(self.inner.append(posts)).await;
        answers.unwrap_or_else(|| vec![Err(unavailable()); count])
    }

    async fn find(&self, keys: Vec<(Uid, SendKey)>) -> Result<Vec<Option<Found>>, StoreError> {
        self.fault.play(self.inner.find(keys)).await.unwrap_or_else(|| Err(unavailable()))
    }

    async fn locate(&self, messages: Vec<(TimelineId, MsgId)>) -> Result<Vec<Option<Version>>, StoreError> {
        self.fault.play(self.inner.locate(messages)).await.unwrap_or_else(|| Err(unavailable()))
    }
}

#[async_trait]
impl Outbox for Faulty {
    async fn append_parts(&self, parts: Vec<Part>) -> Vec<Result<Placed, StoreError>> {
        let count = parts.len();
        let answers = self.fault.play(self.inner.append_parts(parts)).await;
        answers.unwrap_or_else(|| vec![Err(unavailable()); count])
    }

    async fn intents(&self, pending: Pending, limit: usize) -> Result<Vec<Intent>, StoreError> {
        self.fault.play(self.inner.intents(pending, limit)).await.unwrap_or_else(|| Err(unavailable()))
    }

    async fn settle(&self, settled: Vec<(IntentId, Version)>) -> Result<(), StoreError> {
        self.fault.play(self.inner.settle(settled)).await.unwrap_or_else(|| Err(unavailable()))
    }
}

#[async_trait]
impl Buckets for Faulty {
    async fn bucket_map(&self) -> Result<Option<StoredMap>, StoreError> {
        self.play(self.inner.bucket_map()).await
    }

    async fn put_bucket_map(&self, map: StoredMap) -> Result<bool, StoreError> {
        self.play(self.inner.put_bucket_map(map)).await
    }

    async fn member(&self) -> Result<Option<Member>, StoreError> {
        self.play(self.inner.member()).await
    }

    async fn join(&self, member: Member) -> Result<Member, StoreError> {
        self.play(self.inner.join(member)).await
    }

    async fn some_timelines(&self, limit: usize) -> Result<Vec<TimelineId>, StoreError> {
        self.play(self.inner.some_timelines(limit)).await
    }

    async fn next_move(&self) -> Result<MoveId, StoreError> {
        self.play(self.inner.next_move()).await
    }

    async fn moving_buckets(&self) -> Result<Vec<MovingBucket>, StoreError> {
        self.play(self.inner.moving_buckets()).await
    }

    async fn index_buckets(&self, limit: usize) -> Result<bool, StoreError> {
        self.play(self.inner.index_buckets(limit)).await
    }

    async fn depart(&self, id: MoveId, buckets: Vec<Bucket>, to: u16) -> Result<(), StoreError> {
        self.play(self.inner.depart(id, buckets, to)).await
    }

    async fn arrive(&self, id: MoveId, buckets: Vec<Bucket>, to: u16) -> Result<(), StoreError> {
        self.play(self.inner.arrive(id, buckets, to)).await
    }

    async fn clear(&self, id: MoveId, limit: usize) -> Result<bool, StoreError> {
        self.play(self.inner.clear(id, limit)).await
    }

    async fn mark(&self, id: MoveId) -> Result<Mark, StoreError> {
        self.play(self.inner.mark(id)).await
    }

    async fn copy_out(&self, id: MoveId, ask: CopyOut, limits: CopyLimits) -> Result<CopyPage, StoreError> {
        self.play(self.inner.copy_out(id, ask, limits)).await
    }

    async fn copy_in(&self, id: MoveId, rows: Vec<MovedRow>) -> Result<(), StoreError> {
        self.play(self.inner.copy_in(id, rows)).await
    }

    async fn tally(&self, id: MoveId) -> Result<Tally, StoreError> {
        self.play(self.inner.tally(id)).await
    }

    async fn fence(&self, id: MoveId, lease: Duration) -> Result<Mark, StoreError> {
        self.play(self.inner.fence(id, lease)).await
    }

    async fn unfence(&self, id: MoveId) -> Result<(), StoreError> {
        self.play(self.inner.unfence(id)).await
    }

    async fn release(&self, id: MoveId) -> Result<(), StoreError> {
        self.play(self.inner.release(id)).await
    }

    async fn own(&self, id: MoveId) -> Result<(), StoreError> {
        self.play(self.inner.own(id)).await
    }
}
