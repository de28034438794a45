//! The conformance suites over the reference adapters, and over adapters that are wrong on purpose.
#![allow(clippy::unwrap_used, missing_docs)]

mod broken;
mod broken_buckets;
mod broken_transfer;
mod contracts;
mod locks;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::executor::block_on;
use futures::future::BoxFuture;
use im_core::memory::{MemoryBlocklist, MemoryBus, MemoryImport, MemoryRoutes, MemoryStore};
use im_core::ports::Clock;
use im_core::router::{Bus, Routes};
use im_core::storage::{Blocklist, Exportable, Import, Shard, Store};
use im_core::testing::conformance::{
    BlocklistBench, BucketsBench, BusBench, OutboxBench, Refused, RoutesBench, StoreBench, TransferBench,
    run_blocklist_suite, run_buckets_suite, run_bus_suite, run_outbox_suite, run_routes_suite,
    run_store_suite, run_transfer_suite,
};
use im_core::time::{Tick, Timestamp};

/// Reopening gives another store with the same content, as a restart of a durable one would.
#[derive(Default)]
struct MemoryBench(Mutex<Arc<MemoryStore>>);

#[async_trait]
impl StoreBench for MemoryBench {
    async fn open(&self) -> Arc<dyn Store> {
        self.0.lock().unwrap().clone()
    }

    async fn reopen(&self) -> Arc<dyn Store> {
        let mut store = self.0.lock().unwrap();
        *store = Arc::new(store.snapshot());
        store.clone()
    }
}

#[async_trait]
impl OutboxBench for MemoryBench {
    async fn open(&self) -> Arc<dyn Shard> {
        self.0.lock().unwrap().clone()
    }

    async fn reopen(&self) -> Arc<dyn Shard> {
        let mut store = self.0.lock().unwrap();
        *store = Arc::new(store.snapshot());
        store.clone()
    }
}

#[async_trait]
impl TransferBench for MemoryBench {
    async fn open(&self) -> Result<Arc<dyn Exportable>, Refused> {
        let mut store = self.0.lock().unwrap();
        *store = Arc::new(store.snapshot());
        Ok(store.clone())
    }

    async fn import(&self) -> Result<Box<dyn Import>, Refused> {
        Ok(Box::new(MemoryImport::new(self.0.lock().unwrap().clone())?))
    }

    fn is_durable(&self) -> bool {
        false
    }
}

#[async_trait]
impl RoutesBench for MemoryBench {
    async fn open(&self) -> Arc<dyn Routes> {
        Arc::new(MemoryRoutes::default())
    }
}

#[async_trait]
impl BusBench for MemoryBench {
    async fn open(&self) -> Arc<dyn Bus> {
        Arc::new(MemoryBus::default())
    }
}

/// A blocklist that outlives those who use it.
#[derive(Default)]
struct Blocks(Arc<MemoryBlocklist>);

#[async_trait]
impl BlocklistBench for Blocks {
    async fn open(&self) -> Arc<dyn Blocklist> {
        self.0.clone()
    }

    async fn reopen(&self) -> Arc<dyn Blocklist> {
        self.0.clone()
    }
}

#[test]
fn the_memory_blocklist_conforms() {
    let report = block_on(run_blocklist_suite(Blocks::default));
    report.record("memory", "blocklist");
    assert!(report.passed() && report.not_tried.is_empty(), "{report}");
}

#[test]
fn the_memory_store_conforms() {
    let report = block_on(run_store_suite(MemoryBench::default));
    report.record("memory", "store");
    assert!(report.passed(), "{report}");
    let not_tried: Vec<_> = report.not_tried.iter().map(|case| case.name).collect();
    assert_eq!(not_tried, ["failed_writes_keep_the_order"], "memory takes every write");
    assert!(report.cases >= 60, "{report}");
}

#[test]
fn the_memory_store_conforms_as_one_database_of_several() {
    let report = block_on(run_outbox_suite(MemoryBench::default));
    report.record("memory", "outbox");
    assert!(report.passed(), "{report}");
    assert!(report.not_tried.is_empty(), "{report}");
}

/// Two stores whose time passes when the suite says so.
struct MemoryPair {
    clock: Arc<ManualClock>,
    stores: Mutex<[Arc<MemoryStore>; 2]>,
}

#[derive(Default)]
struct ManualClock(Mutex<Tick>);

impl Clock for ManualClock {
    fn tick(&self) -> Tick {
        *self.0.lock().unwrap()
    }

    fn now(&self) -> Timestamp {
        Timestamp(0)
    }

    fn sleep_until(&self, _: Tick) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

impl Default for MemoryPair {
    fn default() -> Self {
        let clock = Arc::new(ManualClock::default());
        let store = || Arc::new(MemoryStore::default().with_clock(clock.clone()));
        Self { stores: Mutex::new([store(), store()]), clock }
    }
}

#[async_trait]
impl BucketsBench for MemoryPair {
    async fn open(&self) -> [Arc<dyn Shard>; 2] {
        self.stores.lock().unwrap().clone().map(|store| store as _)
    }

    async fn reopen(&self) -> [Arc<dyn Shard>; 2] {
        let mut stores = self.stores.lock().unwrap();
        *stores = stores.clone().map(|store| Arc::new(store.snapshot()));
        stores.clone().map(|store| store as _)
    }

    async fn wait(&self, time: Duration) {
        let mut now = self.clock.0.lock().unwrap();
        *now = *now + time;
    }
}

#[test]
fn the_memory_store_conforms_when_buckets_move() {
    let report = block_on(run_buckets_suite(MemoryPair::default));
    report.record("memory", "buckets");
    assert!(report.passed(), "{report}");
    assert!(report.not_tried.is_empty(), "{report}");
    assert!(report.cases >= 20, "{report}");
}

#[test]
fn the_memory_store_conforms_when_it_is_copied() {
    let report = block_on(run_transfer_suite(MemoryBench::default));
    report.record("memory", "transfer");
    assert!(report.passed(), "{report}");
    let not_tried: Vec<_> = report.not_tried.iter().map(|case| case.name).collect();
    assert_eq!(not_tried, ["an_unfinished_store_does_not_open"], "memory keeps nothing half-filled");
    assert!(report.cases >= 30, "{report}");
}

#[test]
fn the_memory_routes_conform() {
    let report = block_on(run_routes_suite(MemoryBench::default));
    report.record("memory", "routes");
    assert!(report.passed(), "{report}");
    let not_tried: Vec<_> = report.not_tried.iter().map(|case| case.name).collect();
    let leases =
        ["routes_are_void_when_their_nodes_lease_has_ended", "a_node_whose_lease_has_ended_is_not_told"];
    assert_eq!(not_tried, leases, "memory has one process");
}

#[test]
fn the_memory_bus_conforms() {
    let report = block_on(run_bus_suite(MemoryBench::default));
    report.record("memory", "bus");
    assert!(report.passed(), "{report}");
}
