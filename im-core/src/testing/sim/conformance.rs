//! The simulated stores keep the contract while nothing goes wrong, and across crashes: else their faults would prove nothing.
#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use async_trait::async_trait;

use super::backing::Disks;
use super::databases::SimDatabases;
use super::event::{Event, StoreEvent};
use super::kernel::Kernel;
use super::store::{SimStore, StoreRates};
use crate::memory::State;
use crate::storage::Store;
use crate::testing::conformance::{Report, StoreBench, run_store_suite};

/// What is being tried, with its time, and how a process sees it.
type Tried = (Arc<Kernel>, Arc<dyn Disks>, Arc<dyn Store>);

type Current = Arc<Mutex<Option<Tried>>>;

type Make = fn(Arc<Kernel>) -> (Arc<dyn Disks>, Arc<dyn Store>);

struct Bench {
    make: Make,
    current: Current,
}

#[async_trait]
impl StoreBench for Bench {
    async fn open(&self) -> Arc<dyn Store> {
        let kernel = Kernel::new(5, None);
        kernel.heal();
        let (disks, store) = (self.make)(kernel.clone());
        *self.current.lock().unwrap() = Some((kernel, disks, store.clone()));
        store
    }

    async fn reopen(&self) -> Arc<dyn Store> {
        let (_, disks, store) = self.current.lock().unwrap().clone().unwrap();
        for _ in 0..4 {
            disks.crash();
            disks.handle(StoreEvent::Restart { shard: 0 });
        }
        store
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn suite(make: Make) -> Report {
    let current = Current::default();
    let bench = || Bench { make, current: current.clone() };
    let mut suite = pin!(run_store_suite(bench));
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    loop {
        if let Poll::Ready(report) = suite.as_mut().poll(&mut Context::from_waker(&waker)) {
            return report;
        }
        while !woken.0.swap(false, Ordering::Relaxed) {
            let (kernel, disks, _) = current.lock().unwrap().clone().unwrap();
            match kernel.next() {
                Some(Event::Wake(waker)) => waker.wake(),
                Some(Event::Store(event)) => disks.handle(event),
                other => panic!("the store waits for {other:?}"),
            }
        }
    }
}

#[test]
fn the_simulated_store_keeps_the_contract() {
    let report = suite(|kernel| {
        let store = SimStore::new(kernel, 1, StoreRates::default(), State::append);
        (store.clone(), store)
    });
    assert!(report.passed(), "{report}");
}

#[test]
fn a_simulated_database_keeps_the_contract() {
    let report = suite(|kernel| {
        let databases = SimDatabases::new(kernel, 1, StoreRates::default(), Vec::new());
        let seen = databases.open().remove(0);
        (databases, seen)
    });
    assert!(report.passed(), "{report}");
}
