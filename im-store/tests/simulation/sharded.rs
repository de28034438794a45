//! How the processes of a simulated world use several databases.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use im_core::ports::Clock;
use im_core::storage::{Bucket, Shard, StoreErrorKind};
use im_core::testing::sim::{Moved, Opened, Sharding};
use im_store::layer::sharding::{MoveError, MoveLimits, Mover, ShardedStore, SweepLimits, Sweeper};

/// As a process sees one of the databases.
pub(crate) type Seen = fn(Arc<dyn Shard>) -> Arc<dyn Shard>;

/// The layer as it is, over databases as they are seen.
pub(crate) struct Sharded(pub(crate) Seen);

impl Sharding for Sharded {
    fn open(
        &self,
        databases: Vec<Arc<dyn Shard>>,
        clock: Arc<dyn Clock>,
    ) -> BoxFuture<'static, Option<Opened>> {
        let databases = databases.into_iter().map(self.0).collect();
        let opens = async move {
            let store = Arc::new(ShardedStore::open(databases, clock.clone()).await.ok()?);
            let background = Sweeper::new(store.clone(), SweepLimits::default()).run(clock).boxed();
            Some(Opened { store, background })
        };
        opens.boxed()
    }

    fn move_buckets(
        &self,
        databases: Vec<Arc<dyn Shard>>,
        clock: Arc<dyn Clock>,
        buckets: Vec<Bucket>,
        to: usize,
    ) -> BoxFuture<'static, Moved> {
        let databases = databases.into_iter().map(self.0).collect();
        let moves = async move {
            let Ok(store) = ShardedStore::open(databases, clock.clone()).await else { return Moved::Again };
            let mut limits = MoveLimits::default();
            // So little that a move has many steps.
            (limits.rows, limits.at_once) = (16, 3);
            let mover = Mover::new(Arc::new(store), clock, limits);
            match mover.move_buckets(&buckets, to, |_| {}).await {
                Ok(_) => Moved::Done,
                Err(MoveError::TooBusy(_)) => Moved::Again,
                Err(MoveError::Store(error)) if error.kind() != StoreErrorKind::Corrupt => Moved::Again,
                Err(error) => Moved::Broken(error.to_string()),
            }
        };
        moves.boxed()
    }

    fn replay(&self, seed: u64) -> String {
        format!("IM_SEED={seed} cargo test -p im-store --test simulation one_seed -- --nocapture")
    }
}
