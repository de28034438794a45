use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use im_core::storage::{Blocklist, Exportable, Import, Shard, Store};
use im_core::testing::conformance::{
    BlocklistBench, BucketsBench, OutboxBench, Refused, StoreBench, TransferBench,
};
use im_store::sqlite::{SqliteOptions, SqliteStore};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tempfile::TempDir;
use tokio::sync::Mutex;

pub(crate) type Subject = SqliteStore;

/// Opens a database for the tests that every store of its kind has to pass.
pub(crate) async fn open_subject(path: &Path) -> Subject {
    SqliteStore::open(path).await.unwrap()
}

/// A database in a directory of its own.
pub(crate) struct SqliteBench {
    dir: TempDir,
    open: Mutex<Option<Arc<SqliteStore>>>,
    /// Another program that holds the database's write lock.
    intruder: Mutex<Option<SqliteConnection>>,
}

impl Default for SqliteBench {
    fn default() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, open: Mutex::default(), intruder: Mutex::default() }
    }
}

impl SqliteBench {
    fn options(&self) -> SqliteOptions {
        SqliteOptions::new(self.dir.path().join("im.db")).busy_timeout(Duration::from_millis(50))
    }

    async fn close(&self) {
        if let Some(store) = self.open.lock().await.take() {
            store.close().await;
        }
    }
}

#[async_trait]
impl StoreBench for SqliteBench {
    async fn open(&self) -> Arc<dyn Store> {
        let store = Arc::new(self.options().open().await.unwrap());
        *self.open.lock().await = Some(store.clone());
        store
    }

    async fn reopen(&self) -> Arc<dyn Store> {
        self.close().await;
        StoreBench::open(self).await
    }

    async fn fail_writes(&self, failing: bool) -> bool {
        let mut intruder = self.intruder.lock().await;
        if let Some(connection) = intruder.take() {
            connection.close().await.unwrap();
        }
        if failing {
            let path = self.dir.path().join("im.db");
            let mut connection =
                sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await.unwrap();
            sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
            *intruder = Some(connection);
        }
        true
    }
}

#[async_trait]
impl OutboxBench for SqliteBench {
    async fn open(&self) -> Arc<dyn Shard> {
        let store = Arc::new(self.options().open().await.unwrap());
        *self.open.lock().await = Some(store.clone());
        store
    }

    async fn reopen(&self) -> Arc<dyn Shard> {
        self.close().await;
        OutboxBench::open(self).await
    }
}

#[async_trait]
impl BlocklistBench for SqliteBench {
    async fn open(&self) -> Arc<dyn Blocklist> {
        let store = Arc::new(self.options().open().await.unwrap());
        *self.open.lock().await = Some(store.clone());
        store
    }

    async fn reopen(&self) -> Arc<dyn Blocklist> {
        self.close().await;
        BlocklistBench::open(self).await
    }
}

#[async_trait]
impl TransferBench for SqliteBench {
    async fn open(&self) -> Result<Arc<dyn Exportable>, Refused> {
        self.close().await;
        let store = Arc::new(self.options().open().await?);
        *self.open.lock().await = Some(store.clone());
        Ok(store)
    }

    async fn import(&self) -> Result<Box<dyn Import>, Refused> {
        self.close().await;
        Ok(Box::new(self.options().import().await?))
    }
}

/// Two databases in a directory.
pub(crate) struct SqlitePair {
    dir: TempDir,
    open: Mutex<Vec<Arc<SqliteStore>>>,
}

impl Default for SqlitePair {
    fn default() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), open: Mutex::default() }
    }
}

#[async_trait]
impl BucketsBench for SqlitePair {
    async fn open(&self) -> [Arc<dyn Shard>; 2] {
        let mut stores = Vec::new();
        for name in ["source.db", "destination.db"] {
            let options = SqliteOptions::new(self.dir.path().join(name)).one_of_several();
            stores.push(Arc::new(options.open().await.unwrap()));
        }
        let pair = [stores[0].clone() as Arc<dyn Shard>, stores[1].clone()];
        *self.open.lock().await = stores;
        pair
    }

    async fn reopen(&self) -> [Arc<dyn Shard>; 2] {
        for store in self.open.lock().await.drain(..) {
            store.close().await;
        }
        BucketsBench::open(self).await
    }

    async fn wait(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}
