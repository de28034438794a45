//! A replica in memory that does what a test wants.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use im_core::id::StoreEpoch;
use im_core::memory::MemoryStore;
use im_core::storage::{Page, Read, Store, StoreError, StoreErrorKind, Timelines as _};
use im_core::testing::StoreLayer;
use im_core::testing::conformance::StoreBench;
use im_store::layer::replica::{ReplicaLimits, ReplicatedStore};

use crate::clock::RealClock;

/// How a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It takes over what the primary has at every third read.
    Lags,
    /// It shows what it showed.
    Paused,
    /// Every call fails.
    Fails,
    /// No call ends.
    Hangs,
    /// It shows what it showed, but for every second entry.
    Holed,
}

/// A replica of a store in memory.
pub(crate) struct Replica {
    primary: Arc<MemoryStore>,
    shown: Mutex<Arc<MemoryStore>>,
    mood: Mutex<Mood>,
    pub(crate) reads: AtomicU64,
}

impl Replica {
    pub(crate) fn of(primary: &Arc<MemoryStore>) -> Arc<Self> {
        let shown = Mutex::new(Arc::new(primary.snapshot()));
        let mood = Mutex::new(Mood::Lags);
        Arc::new(Self { primary: primary.clone(), shown, mood, reads: AtomicU64::new(0) })
    }

    pub(crate) fn be(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub(crate) fn follow(&self) {
        self.show(self.primary.snapshot());
    }

    pub(crate) fn show(&self, shown: MemoryStore) {
        *self.shown.lock().unwrap() = Arc::new(shown);
    }

    async fn answer(&self, operation: &'static str) -> Result<Arc<MemoryStore>, StoreError> {
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Fails => Err(StoreError::new(StoreErrorKind::Unavailable, operation)),
            Mood::Hangs => std::future::pending().await,
            Mood::Lags | Mood::Paused | Mood::Holed => Ok(self.shown.lock().unwrap().clone()),
        }
    }
}

#[async_trait]
impl StoreLayer for Replica {
    fn inner(&self) -> &dyn Store {
        panic!("a replica is asked for nothing else");
    }

    async fn read(&self, reads: Vec<Read>) -> Vec<Result<Page, StoreError>> {
        let nth = self.reads.fetch_add(1, Ordering::SeqCst);
        let shown = match self.answer("read").await {
            Ok(shown) => shown,
            Err(error) => return vec![Err(error); reads.len()],
        };
        let mut pages = shown.read(reads).await;
        let mood = *self.mood.lock().unwrap();
        if mood == Mood::Lags && nth % 3 == 2 {
            self.follow();
        }
        if mood == Mood::Holed {
            pages.iter_mut().flatten().for_each(|page| page.entries.retain(|entry| entry.version.0 % 2 == 1));
        }
        pages
    }

    async fn epoch(&self) -> Result<StoreEpoch, StoreError> {
        let shown = self.answer("epoch").await?;
        im_core::storage::Epochs::epoch(&*shown).await
    }
}

/// Limits by which a test has not to wait.
pub(crate) fn impatient() -> ReplicaLimits {
    ReplicaLimits::with(|limits| {
        limits.deadline = Duration::from_millis(100);
        limits.behind = Duration::ZERO;
        limits.failed = Duration::from_millis(20);
        limits.longest = Duration::from_millis(40);
    })
}

pub(crate) fn over(
    primary: &Arc<MemoryStore>,
    replicas: &[Arc<Replica>],
    limits: ReplicaLimits,
) -> Arc<ReplicatedStore<MemoryStore>> {
    let replicas = replicas.iter().map(|replica| replica.clone() as Arc<dyn Store>).collect();
    Arc::new(ReplicatedStore::new(primary.clone(), replicas, Arc::new(RealClock::default()), limits))
}

/// The suite's bench.
pub(crate) struct Bench {
    primary: Mutex<Arc<MemoryStore>>,
    open: Mutex<Option<Arc<ReplicatedStore<MemoryStore>>>>,
    served: Arc<AtomicU64>,
}

impl Bench {
    pub(crate) fn new(served: Arc<AtomicU64>) -> Self {
        Self { primary: Mutex::default(), open: Mutex::default(), served }
    }

    fn close(&self) {
        if let Some(store) = self.open.lock().unwrap().take() {
            self.served.fetch_add(store.counts().by_replicas(), Ordering::SeqCst);
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.close();
    }
}

#[async_trait]
impl StoreBench for Bench {
    async fn open(&self) -> Arc<dyn Store> {
        let primary = self.primary.lock().unwrap().clone();
        let replicas = [Replica::of(&primary), Replica::of(&primary)];
        let store = over(&primary, &replicas, impatient());
        *self.open.lock().unwrap() = Some(store.clone());
        store
    }

    async fn reopen(&self) -> Arc<dyn Store> {
        self.close();
        let restarted = Arc::new(self.primary.lock().unwrap().snapshot());
        *self.primary.lock().unwrap() = restarted;
        self.open().await
    }
}
