use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use im_core::memory::MemoryStore;
use im_core::ports::Clock;
use im_core::storage::{Shard, Store};
use im_core::testing::conformance::{OutboxBench, StoreBench, run_outbox_suite, run_store_suite};
use im_core::time::{Tick, Timestamp};

use crate::flaky::{Flaky, Loss};

/// Time passes only for who sleeps. Notes how long.
#[derive(Default)]
pub(crate) struct Sleepless {
    now: Mutex<Tick>,
    pub(crate) rests: Mutex<Vec<Duration>>,
}

impl Clock for Sleepless {
    fn tick(&self) -> Tick {
        *self.now.lock().unwrap()
    }

    fn now(&self) -> Timestamp {
        Timestamp(0)
    }

    fn sleep_until(&self, deadline: Tick) -> BoxFuture<'static, ()> {
        let mut now = self.now.lock().unwrap();
        self.rests.lock().unwrap().push(deadline.since(*now));
        *now = deadline;
        Box::pin(tokio::task::yield_now())
    }
}

/// The suite's bench over a layer over memory.
pub(crate) struct Layered {
    memory: Mutex<Arc<MemoryStore>>,
    failing: Arc<AtomicBool>,
    loss: Option<Loss>,
    layer: fn(Arc<dyn Store>) -> Arc<dyn Store>,
}

impl Layered {
    fn over(&self, memory: Arc<MemoryStore>) -> Arc<dyn Store> {
        let flaky = Flaky::new(memory, self.loss, self.failing.clone());
        (self.layer)(Arc::new(flaky))
    }
}

#[async_trait]
impl StoreBench for Layered {
    async fn open(&self) -> Arc<dyn Store> {
        self.over(self.memory.lock().unwrap().clone())
    }

    async fn reopen(&self) -> Arc<dyn Store> {
        let mut memory = self.memory.lock().unwrap();
        *memory = Arc::new(memory.snapshot());
        self.over(memory.clone())
    }

    async fn fail_writes(&self, failing: bool) -> bool {
        self.failing.store(failing, Ordering::SeqCst);
        true
    }
}

/// Plays the suite over a layer over memory, of which calls fail as `loss` says.
pub(crate) async fn conforms(name: &str, loss: Option<Loss>, layer: fn(Arc<dyn Store>) -> Arc<dyn Store>) {
    let bench = || Layered { memory: Mutex::default(), failing: Arc::default(), loss, layer };
    let report = run_store_suite(bench).await;
    report.record(name, "store");
    assert!(report.passed(), "{name}: {report}");
    assert!(report.not_tried.is_empty(), "{name}: {report}");
    assert!(report.cases >= 60, "{name}: {report}");
}

/// The bench over a layer over memory that is one database of several.
struct LayeredShard {
    memory: Mutex<Arc<MemoryStore>>,
    layer: fn(Arc<dyn Shard>) -> Arc<dyn Shard>,
}

#[async_trait]
impl OutboxBench for LayeredShard {
    async fn open(&self) -> Arc<dyn Shard> {
        (self.layer)(self.memory.lock().unwrap().clone())
    }

    async fn reopen(&self) -> Arc<dyn Shard> {
        let mut memory = self.memory.lock().unwrap();
        *memory = Arc::new(memory.snapshot());
        (self.layer)(memory.clone())
    }
}

/// Plays the suite of databases of a sharded store.
pub(crate) async fn conforms_as_a_shard(name: &str, layer: fn(Arc<dyn Shard>) -> Arc<dyn Shard>) {
    let report = run_outbox_suite(|| LayeredShard { memory: Mutex::default(), layer }).await;
    report.record(name, "outbox");
    assert!(report.passed(), "{name}: {report}");
    assert!(report.cases >= 15, "{name}: {report}");
}
