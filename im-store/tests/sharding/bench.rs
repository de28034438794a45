use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use im_core::memory::MemoryStore;
use im_core::storage::{Shard, Store};
use im_core::testing::conformance::StoreBench;
use im_store::layer::sharding::{BucketMap, ShardedStore};
use tokio::sync::Mutex;

use crate::faulty::{Fault, Faulty};

/// Databases that a store is made of, and their opening again after the end of the process.
#[async_trait]
pub(crate) trait Databases: Send + Sync + 'static {
    /// Opens them. What was opened before is not used any more.
    async fn open(&mut self) -> Vec<Arc<dyn Shard>>;
}

/// Opening gives other databases with the same content.
pub(crate) struct Memory(Vec<Arc<MemoryStore>>);

impl Memory {
    pub(crate) fn new(databases: usize) -> Self {
        Self((0..databases).map(|_| Arc::default()).collect())
    }

    /// Databases whose fences end.
    pub(crate) fn with_clock(databases: usize, clock: Arc<dyn im_core::ports::Clock>) -> Self {
        Self((0..databases).map(|_| Arc::new(MemoryStore::default().with_clock(clock.clone()))).collect())
    }
}

#[async_trait]
impl Databases for Memory {
    async fn open(&mut self) -> Vec<Arc<dyn Shard>> {
        self.0.iter_mut().for_each(|database| *database = Arc::new(database.snapshot()));
        self.0.iter().map(|database| database.clone() as _).collect()
    }
}

#[cfg(feature = "sqlite")]
pub(crate) struct Sqlite {
    dir: tempfile::TempDir,
    databases: usize,
    open: Vec<Arc<im_store::sqlite::SqliteStore>>,
}

#[cfg(feature = "sqlite")]
impl Sqlite {
    pub(crate) fn new(databases: usize) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), databases, open: Vec::new() }
    }
}

#[cfg(feature = "sqlite")]
#[async_trait]
impl Databases for Sqlite {
    async fn open(&mut self) -> Vec<Arc<dyn Shard>> {
        for store in self.open.drain(..) {
            store.close().await;
        }
        for number in 0..self.databases {
            let path = self.dir.path().join(format!("{number}.db"));
            let options = im_store::sqlite::SqliteOptions::new(path).one_of_several();
            self.open.push(Arc::new(options.open().await.unwrap()));
        }
        self.open.iter().map(|database| database.clone() as _).collect()
    }
}

/// On which server a database is.
#[cfg(all(feature = "mysql", feature = "postgres"))]
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    MySql,
    Postgres,
}

/// Databases on a MariaDB server and a PostgreSQL server.
#[cfg(all(feature = "mysql", feature = "postgres"))]
pub(crate) struct Servers {
    urls: Vec<String>,
    deadline: std::time::Duration,
    open: Vec<Arc<im_store::sql::SqlStore>>,
}

#[cfg(all(feature = "mysql", feature = "postgres"))]
impl Servers {
    pub(crate) fn new() -> Self {
        Self { deadline: std::time::Duration::from_secs(5), ..Self::of(&[Kind::MySql, Kind::Postgres]) }
    }

    /// For moves: with short deadlines, because what is gone stays for as long as they are.
    pub(crate) fn of(kinds: &[Kind]) -> Self {
        let url = |kind: &Kind| match kind {
            Kind::MySql => im_test_servers::MariaDb::shared().database("sharding"),
            Kind::Postgres => im_test_servers::Postgres::shared().database("sharding"),
        };
        let (urls, deadline) = (kinds.iter().map(url).collect(), std::time::Duration::from_millis(1_500));
        Self { urls, deadline, open: Vec::new() }
    }
}

#[cfg(all(feature = "mysql", feature = "postgres"))]
#[async_trait]
impl Databases for Servers {
    async fn open(&mut self) -> Vec<Arc<dyn Shard>> {
        for store in self.open.drain(..) {
            store.close().await;
        }
        for url in &self.urls {
            let options = im_store::sql::SqlOptions::new(url).connections(8).call_deadline(self.deadline);
            self.open.push(Arc::new(options.one_of_several().open().await.unwrap()));
        }
        self.open.iter().map(|database| database.clone() as _).collect()
    }
}

/// The suite's bench over any databases. Writes fail in the second one.
pub(crate) struct Bench<D> {
    databases: Mutex<D>,
    failing: Arc<AtomicBool>,
}

impl<D: Databases> Bench<D> {
    pub(crate) fn new(databases: D) -> Self {
        Self { databases: Mutex::new(databases), failing: Arc::default() }
    }
}

#[async_trait]
impl<D: Databases> StoreBench for Bench<D> {
    async fn open(&self) -> Arc<dyn Store> {
        let mut databases = self.databases.lock().await.open().await;
        if let Some(second) = databases.get_mut(1) {
            *second = Arc::new(Faulty::new(second.clone(), Fault::while_set(self.failing.clone())));
        }
        Arc::new(over(databases))
    }

    async fn reopen(&self) -> Arc<dyn Store> {
        self.open().await
    }

    async fn fail_writes(&self, failing: bool) -> bool {
        self.failing.store(failing, Ordering::SeqCst);
        true
    }
}

/// A store over databases that share the buckets evenly.
pub(crate) fn over(databases: Vec<Arc<dyn Shard>>) -> ShardedStore {
    let map = BucketMap::even(databases.len()).unwrap();
    ShardedStore::new(databases, map).unwrap()
}
