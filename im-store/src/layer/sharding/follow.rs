//! How a store follows buckets that move: it loads the map anew, and completes a move that its mover left between two steps.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::future::{Either, join_all, select};
use im_core::ports::Clock;
use im_core::storage::{Bucket, BucketState, MoveId, MovingBucket, StoreError, StoreErrorKind, StoredMap};
use im_core::time::Tick;

use super::sweep::jittered;
use super::{BucketMap, MapError, OpenError, ShardedStore};

/// How long a call goes on while what it concerns moves: a fence, and the steps after it.
const LONGEST: Duration = Duration::from_millis(2_500);

/// Before the second try it waits for about as long; before each later one for twice as long, up to the longest pause.
const FIRST_PAUSE: Duration = Duration::from_millis(4);
const LONGEST_PAUSE: Duration = Duration::from_millis(64);

/// So often a map is made from the newest one, while others store theirs.
const MOST_TRIES: usize = 16;

/// How long a call has been trying.
pub(super) struct Patience {
    until: Tick,
    pause: Duration,
}

impl ShardedStore {
    /// For a call that meets buckets that move; `None` if this store's map never changes.
    pub(super) fn patience(&self) -> Option<Patience> {
        let clock = self.clock.as_ref()?;
        Some(Patience { until: clock.tick() + LONGEST, pause: FIRST_PAUSE })
    }

    /// Looks for the buckets and waits a little; `false` if the call has tried for long enough.
    pub(super) async fn follow(&self, patience: &mut Option<Patience>) -> bool {
        let (Some(patience), Some(clock)) = (patience, &self.clock) else { return false };
        if clock.tick() >= patience.until {
            return false;
        }
        let before = self.map().version();
        // A database that is away may be one that the call does not need.
        match select(pin!(self.refresh()), clock.sleep_until(patience.until)).await {
            Either::Left((Ok(()), _)) => {}
            Either::Left((Err(error), _)) => tracing::warn!(%error, "the map of buckets cannot be loaded"),
            Either::Right(_) => return false,
        }
        if self.map().version() == before {
            patience.wait(&**clock).await;
        }
        true
    }

    /// Loads the map and completes what was released and not taken. Callers that come while one does it share what it finds.
    ///
    /// # Cancel safety
    /// Dropping it leaves every move as it was or completed.
    ///
    /// # Errors
    /// Those of the databases.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        if self.clock.is_none() {
            return Ok(());
        }
        let seen = self.refreshed.load(Ordering::SeqCst);
        let _turn = self.turn.lock().await;
        if self.refreshed.load(Ordering::SeqCst) != seen {
            return Ok(());
        }
        self.load().await?;
        self.complete_released().await?;
        self.refreshed.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// The newest map.
    async fn load(&self) -> Result<Arc<BucketMap>, StoreError> {
        let stored = self.first("bucket_map")?.bucket_map().await?;
        if let Some(stored) = stored {
            self.adopt(parse(&stored, self.databases.len()).map_err(corrupt)?);
        }
        Ok(self.map())
    }

    fn adopt(&self, map: BucketMap) {
        let mut current = self.map.write().unwrap_or_else(PoisonError::into_inner);
        if map.version() > current.version() {
            *current = Arc::new(map);
        }
    }

    /// What a database gave away, and the map still puts there.
    async fn complete_released(&self) -> Result<(), StoreError> {
        let lists = self.databases.iter().map(|database| database.moving_buckets());
        let mut released: BTreeMap<(usize, MoveId, u16), Vec<Bucket>> = BTreeMap::new();
        let map = self.map();
        for (source, list) in join_all(lists).await.into_iter().enumerate() {
            // A database that is away does not keep the others' buckets from being found.
            for MovingBucket { bucket, state, id, to } in list.unwrap_or_default() {
                if state == BucketState::Gone && map.database(bucket) == source {
                    released.entry((source, id, to)).or_default().push(bucket);
                }
            }
        }
        for ((source, id, to), buckets) in released {
            self.complete(source, id, to, &buckets).await?;
        }
        Ok(())
    }

    /// Completes a move that its source has released: the destination takes the buckets, and then the map says so. Whoever does it again changes nothing.
    pub(super) async fn complete(
        &self,
        source: usize,
        id: MoveId,
        to: u16,
        buckets: &[Bucket],
    ) -> Result<(), StoreError> {
        let unknown = || StoreError::new(StoreErrorKind::Corrupt, "own");
        let place = usize::from(to);
        let destination = self.databases.get(place).ok_or_else(unknown)?;
        destination.own(id).await?;
        self.deliver_halves_into(place, buckets).await;
        for _ in 0..MOST_TRIES {
            let map = self.load().await?;
            // Others may have completed it long ago, and the buckets may have moved on, even back to the source. Asked after the map was loaded: as long
            // as this map is the newest, nobody takes from the destination what is there now.
            let moved_on = refused(destination.moving_buckets().await?);
            let mut left = buckets.to_vec();
            left.retain(|bucket| map.database(*bucket) == source && !moved_on.contains(bucket));
            if left.is_empty() {
                return Ok(());
            }
            let next = map.with(&left, to);
            if self.first("put_bucket_map")?.put_bucket_map(store(&next)).await? {
                self.adopt(next);
                return Ok(());
            }
        }
        Err(StoreError::new(StoreErrorKind::Unavailable, "put_bucket_map"))
    }

    /// The stored map; an even one is stored first if there is none.
    pub(super) async fn stored_map(&self) -> Result<BucketMap, OpenError> {
        let first = self.first("bucket_map")?;
        for _ in 0..MOST_TRIES {
            if let Some(stored) = first.bucket_map().await? {
                return Ok(parse(&stored, self.databases.len())?);
            }
            let even = BucketMap::even(self.databases.len())?;
            first.put_bucket_map(store(&even)).await?;
        }
        Err(StoreError::new(StoreErrorKind::Unavailable, "put_bucket_map").into())
    }
}

/// The buckets that a database does not own.
fn refused(rows: Vec<MovingBucket>) -> BTreeSet<Bucket> {
    let elsewhere = |row: &MovingBucket| matches!(row.state, BucketState::Gone | BucketState::Arriving);
    rows.into_iter().filter(elsewhere).map(|row| row.bucket).collect()
}

pub(super) fn parse(stored: &StoredMap, databases: usize) -> Result<BucketMap, MapError> {
    let map = BucketMap::from_bytes(&stored.bytes)?;
    map.check(databases)?;
    Ok(map)
}

fn store(map: &BucketMap) -> StoredMap {
    StoredMap { version: i64::try_from(map.version()).unwrap_or(i64::MAX), bytes: map.to_bytes() }
}

fn corrupt(error: MapError) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, "bucket_map").caused_by(error)
}

impl Patience {
    /// Waits for a random part of a pause that doubles.
    pub(super) async fn wait(&mut self, clock: &dyn Clock) {
        let now = clock.tick();
        let pause = jittered(self.pause, now);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        clock.sleep_until(now + pause).await;
    }
}
