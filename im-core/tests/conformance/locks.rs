//! The suite over the locks in memory, whose clock the bench moves.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use futures::executor::block_on;
use futures::future::BoxFuture;
use im_core::memory::MemoryLocks;
use im_core::ports::{Clock, Locks};
use im_core::testing::conformance::{LocksBench, run_locks_suite};
use im_core::time::{Tick, Timestamp};

/// A clock that stands still but when it is moved; the time of day goes back then.
#[derive(Default)]
struct Still(Mutex<Duration>);

impl Clock for Still {
    fn tick(&self) -> Tick {
        Tick::default() + *self.0.lock().unwrap()
    }

    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000) - *self.0.lock().unwrap()
    }

    fn sleep_until(&self, _: Tick) -> BoxFuture<'static, ()> {
        futures::future::pending().boxed()
    }
}

#[derive(Default)]
struct Bench {
    clock: Arc<Still>,
    locks: OnceLock<Arc<MemoryLocks>>,
}

#[async_trait]
impl LocksBench for Bench {
    async fn open(&self) -> Arc<dyn Locks> {
        self.locks.get_or_init(|| Arc::new(MemoryLocks::new(self.clock.clone()))).clone()
    }

    async fn outlast(&self, ttl: Duration) {
        *self.clock.0.lock().unwrap() += ttl;
    }
}

#[test]
fn the_memory_locks_conform() {
    let report = block_on(run_locks_suite(Bench::default));
    report.record("memory", "locks");
    assert!(report.passed() && report.not_tried.is_empty(), "{report}");
}
