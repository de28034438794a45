use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use im_core::storage::{Blocklist, Exportable, Import, Shard, Store};
use im_core::testing::conformance::{
    BlocklistBench, BucketsBench, OutboxBench, Refused, StoreBench, TransferBench,
};
use im_store::sql::{SqlOptions, SqlStore};
use im_test_servers::{MariaDb, Postgres};
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection, PgConnection};
use tokio::sync::Mutex;

/// Which database.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    MySql,
    Postgres,
}

impl Kind {
    /// Which server it is, the tests' own or one that a variable names.
    pub(crate) fn server(self) -> String {
        let name = match self {
            Self::MySql => MariaDb::shared().name(),
            Self::Postgres => Postgres::shared().name(),
        };
        format!("SQL, {name}")
    }
}

/// A new database of its own on the server that all tests share.
pub(crate) fn database(kind: Kind, name: &str) -> String {
    match kind {
        Kind::MySql => MariaDb::shared().database(name),
        Kind::Postgres => Postgres::shared().database(name),
    }
}

/// Somebody who holds locks.
enum Intruder {
    MySql(MySqlConnection),
    Postgres(PgConnection),
}

impl Intruder {
    /// Keeps everybody from writing to what appends write to.
    async fn enter(kind: Kind, url: &str) -> Self {
        match kind {
            Kind::MySql => {
                let mut connection = MySqlConnection::connect(url).await.unwrap();
                connection.execute("LOCK TABLES owners READ, messages READ").await.unwrap();
                Self::MySql(connection)
            }
            Kind::Postgres => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                connection
                    .execute(AssertSqlSafe("BEGIN; LOCK TABLE owners IN EXCLUSIVE MODE"))
                    .await
                    .unwrap();
                Self::Postgres(connection)
            }
        }
    }

    async fn leave(self) {
        match self {
            Self::MySql(connection) => connection.close().await.unwrap(),
            Self::Postgres(connection) => connection.close().await.unwrap(),
        }
    }
}

/// A store in a database of its own.
pub(crate) struct SqlBench {
    kind: Kind,
    url: String,
    open: Mutex<Option<Arc<SqlStore>>>,
    intruder: Mutex<Option<Intruder>>,
}

impl SqlBench {
    pub(crate) fn new(kind: Kind) -> Self {
        Self::at(kind, database(kind, "conformance"))
    }

    pub(crate) fn at(kind: Kind, url: String) -> Self {
        Self { kind, url, open: Mutex::default(), intruder: Mutex::default() }
    }

    fn options(&self) -> SqlOptions {
        SqlOptions::new(&self.url).connections(4).lock_timeout(Duration::from_secs(1))
    }

    async fn close(&self) {
        if let Some(store) = self.open.lock().await.take() {
            store.close().await;
        }
    }
}

#[async_trait]
impl StoreBench for SqlBench {
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
        if let Some(intruder) = intruder.take() {
            intruder.leave().await;
        }
        if failing {
            *intruder = Some(Intruder::enter(self.kind, &self.url).await);
        }
        true
    }
}

#[async_trait]
impl OutboxBench for SqlBench {
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
impl BlocklistBench for SqlBench {
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
impl TransferBench for SqlBench {
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

/// Two databases of their own. What is gone stays for as long as two reads may take, so their deadlines are short.
pub(crate) struct SqlPair {
    urls: [String; 2],
    open: Mutex<Vec<Arc<SqlStore>>>,
}

impl SqlPair {
    pub(crate) fn new(kind: Kind) -> Self {
        Self { urls: [database(kind, "source"), database(kind, "destination")], open: Mutex::default() }
    }
}

#[async_trait]
impl BucketsBench for SqlPair {
    async fn open(&self) -> [Arc<dyn Shard>; 2] {
        let mut stores = Vec::new();
        for url in &self.urls {
            let options = SqlOptions::new(url).connections(4).call_deadline(Duration::from_millis(1_200));
            stores.push(Arc::new(options.one_of_several().open().await.unwrap()));
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
