//! Moves buckets from one database to another while everybody serves.
//!
//! | step | source | destination |
//! |---|---|---|
//! | depart, arrive | owns the buckets | refuses them; what an earlier move left is cleared |
//! | copy, catch up | owns them; what is stored comes behind a mark | gets everything up to the mark, until little is left |
//! | fence | refuses writes, for a time by its own clock | gets the rest |
//! | release | **gives them away**, in one transaction, if the fence still holds | |
//! | own | refuses them | owns them; then the map says so |
//! | clear | rows that nobody needs any more go | |
//!
//! A mover that ends before the release leaves a source that serves as ever, after the fence's time at the latest; one that ends after it leaves a move that anybody completes who
//! asks for one of the buckets. Running it again goes on in both cases.

mod copy;
mod report;

use std::sync::Arc;
use std::time::Duration;

use im_core::ports::Clock;
use im_core::storage::{Bucket, BucketState, MoveId, Shard, StoreError, StoreErrorKind};

use super::ShardedStore;
use super::sweep::jittered;
pub use report::{MoveError, MoveLimits, MoveReport, MoveStep};

/// How often a call that fails is made before the mover gives up.
const MOST_CALLS: u32 = 6;

/// Before it is made again it rests for so long, and twice as long each time.
const FIRST_REST: Duration = Duration::from_millis(20);

/// Between two calls that remove rows it rests for so long: others are to be served, and rows that are still read stay for a while.
const CLEARING_REST: Duration = Duration::from_millis(10);

/// The tool that moves buckets. See [`ShardedStore`] for what everybody else does meanwhile.
///
/// ```
/// use std::sync::Arc;
/// use im_core::ports::Clock;
/// use im_core::storage::Bucket;
/// use im_store::layer::sharding::{MoveLimits, Mover, ShardedStore};
///
/// /// Moves a sixteenth of all buckets to the database with the number 2.
/// async fn rebalance(store: Arc<ShardedStore>, clock: Arc<dyn Clock>) {
///     let buckets: Vec<Bucket> = Bucket::all().step_by(16).collect();
///     let mover = Mover::new(store, clock, MoveLimits::default());
///     match mover.move_buckets(&buckets, 2, |step| println!("{step}")).await {
///         Ok(report) => println!("{report}"),
///         Err(error) => println!("run it again: {error}"),
///     }
/// }
/// ```
pub struct Mover {
    store: Arc<ShardedStore>,
    clock: Arc<dyn Clock>,
    limits: MoveLimits,
}

/// One move: some buckets from one database to another.
struct Journey<'a, P> {
    mover: &'a Mover,
    id: MoveId,
    buckets: Vec<Bucket>,
    from: usize,
    to: u16,
    progress: P,
    report: MoveReport,
}

impl Mover {
    /// A mover over a store that was [opened](ShardedStore::open).
    pub fn new(store: Arc<ShardedStore>, clock: Arc<dyn Clock>, limits: MoveLimits) -> Self {
        Self { store, clock, limits }
    }

    /// Moves buckets to the database with this place in the list. Those that are there already only have what an earlier run left of them cleared where they were.
    ///
    /// # Contract
    /// - Writes to a bucket are refused for [`MoveLimits::fence`] at most at a time, and callers of the store see that as a wait, or as an error that says to try again.
    /// - Nothing is lost, doubled or reordered; no version is given twice; no reader goes back.
    /// - Whatever fails or ends, running it again goes on.
    ///
    /// # Cancel safety
    /// Dropping the future leaves each bucket where it was or where it is to be, and serving.
    ///
    /// # Errors
    /// [`MoveError`].
    pub async fn move_buckets(
        &self,
        buckets: &[Bucket],
        to: usize,
        mut progress: impl FnMut(MoveStep),
    ) -> Result<MoveReport, MoveError> {
        let place = u16::try_from(to).ok().filter(|_| to < self.store.databases.len());
        let place = place.ok_or(MoveError::NoSuchDatabase(to))?;
        if self.store.clock.is_none() {
            return Err(MoveError::MapIsFixed);
        }
        self.retry(|| self.store.refresh()).await?;
        self.clear_up(buckets, &mut progress).await?;
        let (mut report, mut left) = (MoveReport::default(), Vec::new());
        for from in 0..self.store.databases.len() {
            let map = self.store.map();
            let there = buckets.iter().copied().filter(|bucket| from != to && map.database(*bucket) == from);
            let there: Vec<_> = there.collect();
            for some in there.chunks(self.limits.at_once.max(1)) {
                let (id, moved) = self.travel(some, from, place, &mut progress).await?;
                report.add(&moved);
                left.push((from, id));
            }
        }
        for (from, id) in left {
            progress(MoveStep::Clearing);
            self.clear(&*self.store.databases[from], id).await?;
        }
        Ok(report)
    }

    /// Finishes what earlier moves of these buckets left where they were.
    async fn clear_up(
        &self,
        buckets: &[Bucket],
        progress: &mut impl FnMut(MoveStep),
    ) -> Result<(), MoveError> {
        for database in &self.store.databases {
            let gone = self.retry(|| database.moving_buckets()).await?;
            let gone = gone
                .into_iter()
                .filter(|row| row.state == BucketState::Gone && buckets.contains(&row.bucket));
            let mut ids: Vec<_> = gone.map(|row| row.id).collect();
            ids.sort_unstable();
            ids.dedup();
            for id in ids {
                progress(MoveStep::Clearing);
                self.clear(&**database, id).await?;
            }
        }
        Ok(())
    }

    async fn clear(&self, database: &dyn Shard, id: MoveId) -> Result<(), StoreError> {
        while !self.retry(|| database.clear(id, self.limits.rows)).await? {
            self.rest(CLEARING_REST).await;
        }
        Ok(())
    }

    async fn travel(
        &self,
        buckets: &[Bucket],
        from: usize,
        to: u16,
        progress: &mut impl FnMut(MoveStep),
    ) -> Result<(MoveId, MoveReport), MoveError> {
        for database in &self.store.databases {
            while !self.retry(|| database.index_buckets(self.limits.rows)).await? {
                progress(MoveStep::Indexing);
            }
        }
        let first = self.store.first("next_move")?;
        let id = self.retry(|| first.next_move()).await?;
        let (buckets, report) = (buckets.to_vec(), MoveReport::default());
        let journey = Journey { mover: self, id, buckets, from, to, progress, report };
        Ok((id, journey.go().await?))
    }

    /// Makes a call again that failed and can be repeated, with rests that grow.
    async fn retry<T, F>(&self, call: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut rest = FIRST_REST;
        for _ in 1..MOST_CALLS {
            match call().await {
                Err(error) if error.kind() == StoreErrorKind::Unavailable => {
                    tracing::debug!(%error, "a step of a move is tried again");
                    self.rest(rest).await;
                    rest *= 2;
                }
                outcome => return outcome,
            }
        }
        call().await
    }

    /// Between half and all of a time.
    async fn rest(&self, rest: Duration) {
        let now = self.clock.tick();
        self.clock.sleep_until(now + jittered(rest, now)).await;
    }
}

impl std::fmt::Debug for Mover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mover")
            .field("store", &self.store)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
