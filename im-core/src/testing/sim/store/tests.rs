//! The simulated store keeps the contract while nothing goes wrong, and across crashes: else its faults would prove nothing.
#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use async_trait::async_trait;

use super::*;
use crate::storage::Store;
use crate::testing::conformance::{Report, StoreBench, run_store_suite};

/// The store that is being tried, with its time.
type Current = Arc<Mutex<Option<(Arc<Kernel>, Arc<SimStore>)>>>;

struct Bench {
    shards: usize,
    current: Current,
}

#[async_trait]
impl StoreBench for Bench {
    async fn open(&self) -> Arc<dyn Store> {
        let kernel = Kernel::new(5, None);
        kernel.heal();
        let store = SimStore::new(kernel.clone(), self.shards, StoreRates::default(), State::append);
        *self.current.lock().unwrap() = Some((kernel, store.clone()));
        store
    }

    async fn reopen(&self) -> Arc<dyn Store> {
        let (_, store) = self.current.lock().unwrap().clone().unwrap();
        for _ in 0..4 {
            store.crash();
            (0..self.shards).for_each(|shard| store.restart(shard));
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

fn suite(shards: usize) -> Report {
    let current = Current::default();
    let bench = || Bench { shards, current: current.clone() };
    let mut suite = pin!(run_store_suite(bench));
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    loop {
        if let Poll::Ready(report) = suite.as_mut().poll(&mut Context::from_waker(&waker)) {
            return report;
        }
        while !woken.0.swap(false, Ordering::Relaxed) {
            let (kernel, store) = current.lock().unwrap().clone().unwrap();
            match kernel.next() {
                Some(Event::Wake(waker)) => waker.wake(),
                Some(Event::Store(event)) => store.handle(event),
                other => panic!("the store waits for {other:?}"),
            }
        }
    }
}

#[test]
fn the_simulated_store_keeps_the_contract() {
    let report = suite(1);
    assert!(report.passed(), "{report}");
}
