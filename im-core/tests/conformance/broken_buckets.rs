//! Databases that are wrong about buckets, each in one way, and the lines that the suite reports.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::executor::block_on;
use im_core::id::{Uid, Version};
use im_core::message::TimelineId;
use im_core::storage::{
    Bucket, BucketState, Buckets, CopyLimits, CopyOut, CopyPage, Intent, IntentId, Mark, Member, MoveId,
    MovedRow, MovingBucket, Outbox, Part, Pending, Placed, Shard, Store, StoreError, StoreLayer, StoredMap,
    Tally,
};
use im_core::testing::conformance::{BucketsBench, run_buckets_suite};

use crate::MemoryPair;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    CountsNoCursors,
    CountsNoSteps,
    CountsNoEntries,
    LosesACursor,
    JoinsAnew,
    ShowsNoTimelines,
    ShowsWhatIsGone,
}

struct Broken {
    flaw: Flaw,
    inner: Arc<dyn Shard>,
}

impl Broken {
    /// Of the suite's users, those whose buckets are elsewhere.
    async fn gone(&self) -> Result<Vec<TimelineId>, StoreError> {
        let moving = self.inner.moving_buckets().await?;
        let users = ["alice", "bob"].map(|name| TimelineId::User(Uid::new(name).expect("a name")));
        let is_gone = |user: &TimelineId| {
            moving.iter().any(|row| row.state == BucketState::Gone && row.bucket == Bucket::of(user))
        };
        Ok(users.into_iter().filter(is_gone).collect())
    }
}

#[async_trait]
impl StoreLayer for Broken {
    fn inner(&self) -> &dyn Store {
        &*self.inner
    }
}

#[async_trait]
impl Outbox for Broken {
    async fn append_parts(&self, parts: Vec<Part>) -> Vec<Result<Placed, StoreError>> {
        self.inner.append_parts(parts).await
    }

    async fn intents(&self, pending: Pending, limit: usize) -> Result<Vec<Intent>, StoreError> {
        self.inner.intents(pending, limit).await
    }

    async fn settle(&self, settled: Vec<(IntentId, Version)>) -> Result<(), StoreError> {
        self.inner.settle(settled).await
    }
}

#[async_trait]
impl Buckets for Broken {
    async fn bucket_map(&self) -> Result<Option<StoredMap>, StoreError> {
        self.inner.bucket_map().await
    }

    async fn put_bucket_map(&self, map: StoredMap) -> Result<bool, StoreError> {
        self.inner.put_bucket_map(map).await
    }

    async fn member(&self) -> Result<Option<Member>, StoreError> {
        self.inner.member().await
    }

    async fn join(&self, member: Member) -> Result<Member, StoreError> {
        let noted = self.inner.join(member).await?;
        Ok(if self.flaw == Flaw::JoinsAnew { member } else { noted })
    }

    async fn some_timelines(&self, limit: usize) -> Result<Vec<TimelineId>, StoreError> {
        let mut timelines = self.inner.some_timelines(limit).await?;
        match self.flaw {
            Flaw::ShowsNoTimelines => timelines.clear(),
            Flaw::ShowsWhatIsGone => timelines.extend(self.gone().await?),
            _ => {}
        }
        Ok(timelines)
    }

    async fn next_move(&self) -> Result<MoveId, StoreError> {
        self.inner.next_move().await
    }

    async fn moving_buckets(&self) -> Result<Vec<MovingBucket>, StoreError> {
        self.inner.moving_buckets().await
    }

    async fn index_buckets(&self, limit: usize) -> Result<bool, StoreError> {
        self.inner.index_buckets(limit).await
    }

    async fn depart(&self, id: MoveId, buckets: Vec<Bucket>, to: u16) -> Result<(), StoreError> {
        self.inner.depart(id, buckets, to).await
    }

    async fn arrive(&self, id: MoveId, buckets: Vec<Bucket>, to: u16) -> Result<(), StoreError> {
        self.inner.arrive(id, buckets, to).await
    }

    async fn clear(&self, id: MoveId, limit: usize) -> Result<bool, StoreError> {
        self.inner.clear(id, limit).await
    }

    async fn mark(&self, id: MoveId) -> Result<Mark, StoreError> {
        self.inner.mark(id).await
    }

    async fn copy_out(&self, id: MoveId, ask: CopyOut, limits: CopyLimits) -> Result<CopyPage, StoreError> {
        self.inner.copy_out(id, ask, limits).await
    }

    async fn copy_in(&self, id: MoveId, mut rows: Vec<MovedRow>) -> Result<(), StoreError> {
        let cursor = rows.iter().position(|row| matches!(row, MovedRow::Cursor(_)));
        if let (Flaw::LosesACursor, Some(cursor)) = (self.flaw, cursor) {
            rows.remove(cursor);
        }
        self.inner.copy_in(id, rows).await
    }

    async fn tally(&self, id: MoveId) -> Result<Tally, StoreError> {
        let tally = self.inner.tally(id).await?;
        Ok(match self.flaw {
            Flaw::CountsNoCursors => Tally { cursors: 0, acked: 0, ..tally },
            Flaw::CountsNoSteps => Tally { acked: 0, ..tally },
            Flaw::CountsNoEntries => Tally { heads: 0, ..tally },
            _ => tally,
        })
    }

    async fn fence(&self, id: MoveId, lease: Duration) -> Result<Mark, StoreError> {
        self.inner.fence(id, lease).await
    }

    async fn unfence(&self, id: MoveId) -> Result<(), StoreError> {
        self.inner.unfence(id).await
    }

    async fn release(&self, id: MoveId) -> Result<(), StoreError> {
        self.inner.release(id).await
    }

    async fn own(&self, id: MoveId) -> Result<(), StoreError> {
        self.inner.own(id).await
    }
}

struct Bench(Flaw, MemoryPair);

impl Bench {
    fn broken(&self, databases: [Arc<dyn Shard>; 2]) -> [Arc<dyn Shard>; 2] {
        databases.map(|inner| Arc::new(Broken { flaw: self.0, inner }) as _)
    }
}

#[async_trait]
impl BucketsBench for Bench {
    async fn open(&self) -> [Arc<dyn Shard>; 2] {
        self.broken(self.1.open().await)
    }

    async fn reopen(&self) -> [Arc<dyn Shard>; 2] {
        self.broken(self.1.reopen().await)
    }

    async fn wait(&self, time: Duration) {
        self.1.wait(time).await;
    }
}

#[test]
fn what_a_tally_leaves_out_breaks_the_line_on_tallies() {
    for flaw in [Flaw::CountsNoCursors, Flaw::CountsNoSteps, Flaw::CountsNoEntries] {
        let report = block_on(run_buckets_suite(|| Bench(flaw, MemoryPair::default())));
        let reported: Vec<_> = report.failed.iter().map(|failed| failed.contract).collect();
        assert!(
            reported.iter().any(|line| line.starts_with("It differs from that")),
            "{flaw:?}: {reported:?}"
        );
    }
}

#[test]
fn a_copy_that_loses_a_cursor_shows_in_the_tally_of_every_move() {
    let report = block_on(run_buckets_suite(|| Bench(Flaw::LosesACursor, MemoryPair::default())));
    let failed: Vec<_> = report.failed.iter().map(|failed| failed.to_string()).collect();
    assert!(failed.iter().any(|failure| failure.contains("the tallies")), "{failed:?}");
}

#[test]
fn a_database_that_does_not_know_which_it_is_breaks_the_lines_on_members() {
    for (flaw, line) in [
        (Flaw::JoinsAnew, "What was noted first stays, durably"),
        (Flaw::ShowsNoTimelines, "Up to `limit` timelines with a head above 0"),
        (Flaw::ShowsWhatIsGone, "None of a bucket that is gone or arriving"),
    ] {
        let report = block_on(run_buckets_suite(|| Bench(flaw, MemoryPair::default())));
        let reported: Vec<_> = report.failed.iter().map(|failed| failed.contract).collect();
        assert!(reported.iter().any(|reported| reported.starts_with(line)), "{flaw:?}: {reported:?}");
    }
}
