//! Databases with one known mistake each.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use im_core::id::Version;
use im_core::message::TimelineId;
use im_core::storage::{
    Bucket, Buckets, CopyLimits, CopyOut, CopyPage, Intent, IntentId, Mark, Member, MoveId, MovedRow,
    MovingBucket, Outbox, Part, Pending, Placed, Shard, Store, StoreError, StoredMap, Tally,
};
use im_core::testing::StoreLayer;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    CopyNotRetried,
    CopiesNotInOrder,
    FenceNotKept,
    LastCopyLeftOut,
    NotGivenAway,
}

/// Whoever looks for what others left halfway finds nothing.
pub(crate) fn copy_not_retried(database: Arc<dyn Shard>) -> Arc<dyn Shard> {
    Wrong::over(database, Mistake::CopyNotRetried)
}

/// What a sender has to deliver is not listed in the order of sending: a message is delivered before those that wait longer.
pub(crate) fn copies_not_in_order(database: Arc<dyn Shard>) -> Arc<dyn Shard> {
    Wrong::over(database, Mistake::CopiesNotInOrder)
}

/// A fence is answered, and keeps nobody from writing.
pub(crate) fn fence_not_kept(database: Arc<dyn Shard>) -> Arc<dyn Shard> {
    Wrong::over(database, Mistake::FenceNotKept)
}

/// Buckets are switched without what was stored since the last mark before the fence, and nobody compares.
pub(crate) fn last_copy_left_out(database: Arc<dyn Shard>) -> Arc<dyn Shard> {
    Wrong::over(database, Mistake::LastCopyLeftOut)
}

/// The source says that it has given the buckets away, and goes on serving them.
pub(crate) fn not_given_away(database: Arc<dyn Shard>) -> Arc<dyn Shard> {
    Wrong::over(database, Mistake::NotGivenAway)
}

struct Wrong {
    database: Arc<dyn Shard>,
    mistake: Mistake,
    /// The last one that was asked for before a fence.
    mark: AtomicI64,
}

impl Wrong {
    fn over(database: Arc<dyn Shard>, mistake: Mistake) -> Arc<dyn Shard> {
        Arc::new(Self { database, mistake, mark: AtomicI64::new(0) })
    }
}

impl StoreLayer for Wrong {
    fn inner(&self) -> &dyn Store {
        &*self.database
    }
}

#[async_trait]
impl Outbox for Wrong {
    async fn append_parts(&self, parts: Vec<Part>) -> Vec<Result<Placed, StoreError>> {
        self.database.append_parts(parts).await
    }

    async fn intents(&self, pending: Pending, limit: usize) -> Result<Vec<Intent>, StoreError> {
        match (self.mistake, &pending) {
            (Mistake::CopyNotRetried, Pending::After(_)) => Ok(Vec::new()),
            (Mistake::CopiesNotInOrder, Pending::Of(_)) => {
                let mut intents = self.database.intents(pending, limit).await?;
                intents.reverse();
                Ok(intents)
            }
            _ => self.database.intents(pending, limit).await,
        }
    }

    async fn settle(&self, settled: Vec<(IntentId, Version)>) -> Result<(), StoreError> {
        self.database.settle(settled).await
    }
}

#[async_trait]
impl Buckets for Wrong {
    async fn bucket_map(&self) -> Result<Option<StoredMap>, StoreError> {
        self.database.bucket_map().await
    }

    async fn put_bucket_map(&self, map: StoredMap) -> Result<bool, StoreError> {
        self.database.put_bucket_map(map).await
    }

    async fn next_move(&self) -> Result<MoveId, StoreError> {
        self.database.next_move().await
    }

    async fn moving_buckets(&self) -> Result<Vec<MovingBucket>, StoreError> {
        self.database.moving_buckets().await
    }

    async fn member(&self) -> Result<Option<Member>, StoreError> {
        self.database.member().await
    }

    async fn join(&self, member: Member) -> Result<Member, StoreError> {
        self.database.join(member).await
    }

    async fn some_timelines(&self, limit: usize) -> Result<Vec<TimelineId>, StoreError> {
        self.database.some_timelines(limit).await
    }

    async fn index_buckets(&self, limit: usize) -> Result<bool, StoreError> {
        self.database.index_buckets(limit).await
    }

    async fn depart(&self, id: MoveId, buckets: Vec<Bucket>, to: u16) -> Result<(), StoreError> {
        self.database.depart(id, buckets, to).await
    }

    async fn arrive(&self, id: MoveId, buckets: Vec<Bucket>, to: u16) -> Result<(), StoreError> {
        self.database.arrive(id, buckets, to).await
    }

    async fn clear(&self, id: MoveId, limit: usize) -> Result<bool, StoreError> {
        self.database.clear(id, limit).await
    }

    async fn mark(&self, id: MoveId) -> Result<Mark, StoreError> {
        if self.mistake == Mistake::LastCopyLeftOut && self.mark.load(Ordering::SeqCst) < 0 {
            return Ok(Mark(-self.mark.swap(0, Ordering::SeqCst)));
        }
        let mark = self.database.mark(id).await?;
        self.mark.store(mark.0, Ordering::SeqCst);
        Ok(mark)
    }

    async fn copy_out(&self, id: MoveId, ask: CopyOut, limits: CopyLimits) -> Result<CopyPage, StoreError> {
        self.database.copy_out(id, ask, limits).await
    }

    async fn copy_in(&self, id: MoveId, rows: Vec<MovedRow>) -> Result<(), StoreError> {
        self.database.copy_in(id, rows).await
    }

    async fn tally(&self, id: MoveId) -> Result<Tally, StoreError> {
        let tally = self.database.tally(id).await?;
        Ok(if self.mistake == Mistake::LastCopyLeftOut { Tally::default() } else { tally })
    }

    async fn fence(&self, id: MoveId, lease: Duration) -> Result<Mark, StoreError> {
        match self.mistake {
            Mistake::FenceNotKept => self.database.mark(id).await,
            Mistake::LastCopyLeftOut => {
                self.database.fence(id, lease).await?;
                // Below zero: asked for once more, it is the same.
                let last = self.mark.load(Ordering::SeqCst).abs();
                self.mark.store(-last, Ordering::SeqCst);
                Ok(Mark(last))
            }
            _ => self.database.fence(id, lease).await,
        }
    }

    async fn unfence(&self, id: MoveId) -> Result<(), StoreError> {
        self.database.unfence(id).await
    }

    async fn release(&self, id: MoveId) -> Result<(), StoreError> {
        match self.mistake {
            Mistake::FenceNotKept => {
                self.database.fence(id, Duration::from_secs(1)).await?;
                self.database.release(id).await
            }
            Mistake::NotGivenAway => self.database.unfence(id).await,
            _ => self.database.release(id).await,
        }
    }

    async fn own(&self, id: MoveId) -> Result<(), StoreError> {
        self.database.own(id).await
    }
}
