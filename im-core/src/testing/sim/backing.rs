use std::sync::{Arc, atomic::AtomicI64};

use futures::FutureExt;
use futures::future::{BoxFuture, pending, ready};

use super::databases::SimDatabases;
use super::event::StoreEvent;
use super::kernel::Kernel;
use super::mutants::Setup;
use super::outside::SimClock;
use super::scenario::Scenario;
use super::sharding::{Moved, Opened, Sharding};
use super::store::SimStore;
use crate::id::{StoreEpoch, Uid};
use crate::message::Entry;
use crate::storage::{Bucket, Shard, Store};
use crate::time::Timestamp;

/// What holds everything that a world stores, as whatever goes wrong sees it.
pub(super) trait Disks: Send + Sync {
    /// The process of a database dies, if there is one that lives.
    fn crash(&self);

    fn handle(&self, event: StoreEvent);

    /// Saves what is durable at this moment.
    fn save(&self);

    /// Brings back what was saved. Gives what the timelines of `owners` lost by that; nothing if nothing was saved.
    fn restore(&self, owners: &[Uid]) -> Vec<(Uid, Entry)>;

    /// The operator says that the store lost what it had acknowledged. Leases move too, unless a mutant is at work.
    fn raise_epoch(&self, now: Timestamp, moves_leases: bool);

    /// The epoch that servers which start now tell.
    fn epoch_now(&self) -> StoreEpoch;

    /// Whether a message waits for its receiver's copy.
    fn is_between_copies(&self) -> bool;

    /// Messages that wait for their receiver's copy and may be known to nobody any more.
    fn pending(&self) -> usize {
        0
    }

    /// What broke in there.
    fn broken(&self) -> Option<String> {
        None
    }
}

/// What a run is over.
#[derive(Clone)]
pub(super) enum Over {
    /// One simulated store, and what the servers see of it.
    One(fn(Arc<SimStore>) -> Arc<dyn Store>),
    Databases(Arc<dyn Sharding>),
}

/// How processes come to what the disks hold.
pub(super) enum Access {
    One(Arc<dyn Store>),
    Databases(Vec<Arc<dyn Shard>>, Arc<dyn Sharding>),
}

impl Over {
    pub(super) fn make(
        &self,
        kernel: &Arc<Kernel>,
        scenario: &Scenario,
        setup: &Setup,
    ) -> (Arc<dyn Disks>, Access) {
        match self {
            Self::One(seen) => {
                let store = SimStore::new(kernel.clone(), scenario.shards, scenario.store, setup.place);
                (store.clone(), Access::One(seen(store)))
            }
            Self::Databases(sharding) => {
                let count = scenario.shards + 1;
                let all = SimDatabases::new(kernel.clone(), count, scenario.store, scenario.uids());
                (all.clone(), Access::Databases(all.open(), sharding.clone()))
            }
        }
    }

    pub(super) fn replay(&self, seed: u64) -> String {
        match self {
            Self::One(_) => format!(
                "cargo run --profile simulation -p im-core --features testing --example simulate -- --replay {seed}"
            ),
            Self::Databases(sharding) => sharding.replay(seed),
        }
    }
}

impl Access {
    /// The store of a process with this error of its clock.
    pub(super) fn open(
        &self,
        kernel: &Arc<Kernel>,
        skew: Arc<AtomicI64>,
    ) -> BoxFuture<'static, Option<Opened>> {
        match self {
            Self::One(store) => {
                ready(Some(Opened { store: store.clone(), background: pending().boxed() })).boxed()
            }
            Self::Databases(databases, sharding) => {
                sharding.open(databases.clone(), Arc::new(SimClock::new(kernel.clone(), skew)))
            }
        }
    }

    /// How many databases buckets can be moved between.
    pub(super) fn databases(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Databases(databases, _) => databases.len(),
        }
    }

    pub(super) fn move_buckets(
        &self,
        kernel: &Arc<Kernel>,
        buckets: Vec<Bucket>,
        to: usize,
    ) -> BoxFuture<'static, Moved> {
        match self {
            Self::One(_) => ready(Moved::Done).boxed(),
            Self::Databases(databases, sharding) => {
                let clock = SimClock::new(kernel.clone(), Arc::default());
                sharding.move_buckets(databases.clone(), Arc::new(clock), buckets, to)
            }
        }
    }
}
