//! A database server and its replica.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use im_core::storage::Store;
use im_core::testing::conformance::StoreBench;
use im_store::layer::replica::ReplicatedStore;
use im_store::sql::{OpenError, SqlOptions, SqlStore};
use im_test_servers::{MariaDb, Postgres};

use crate::clock::RealClock;
use crate::fake::impatient;
use crate::sql::{Kind, SqlBench};

/// How long a replica may take to have what its primary has, on a machine under load.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Both, of one kind.
pub(crate) enum Pair {
    MySql { primary: MariaDb, replica: MariaDb },
    Postgres { primary: Postgres, replica: Postgres },
}

macro_rules! on_replica {
    ($pair:expr, $replica:ident => $body:expr) => {
        match $pair {
            Pair::MySql { replica: $replica, .. } => $body,
            Pair::Postgres { replica: $replica, .. } => $body,
        }
    };
}

impl Pair {
    pub(crate) fn start(kind: Kind) -> Self {
        match kind {
            Kind::MySql => {
                let primary = MariaDb::start();
                Self::MySql { replica: primary.replica(), primary }
            }
            Kind::Postgres => {
                let primary = Postgres::start();
                Self::Postgres { replica: primary.replica(), primary }
            }
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::MySql { .. } => Kind::MySql,
            Self::Postgres { .. } => Kind::Postgres,
        }
    }

    /// A new database, on the primary and on the replica.
    pub(crate) fn database(&self, name: &str) -> (String, String) {
        let url = match self {
            Self::MySql { primary, .. } => primary.database(name),
            Self::Postgres { primary, .. } => primary.database(name),
        };
        let copy = on_replica!(self, replica => replica.same_database(&url));
        (url, copy)
    }

    /// The ports of both.
    pub(crate) fn ports(&self) -> (u16, u16) {
        match self {
            Self::MySql { primary, replica } => (primary.port(), replica.port()),
            Self::Postgres { primary, replica } => (primary.port(), replica.port()),
        }
    }

    /// Runs a statement on the primary.
    pub(crate) fn on_primary(&self, statement: &str) {
        match self {
            Self::MySql { primary, .. } => primary.execute(statement),
            Self::Postgres { primary, .. } => primary.execute(statement),
        }
    }

    /// Runs a statement on the replica.
    pub(crate) fn on_replica(&self, statement: &str) {
        on_replica!(self, replica => replica.execute(statement));
    }

    pub(crate) fn pause_replay(&self) {
        on_replica!(self, replica => replica.pause_replay());
    }

    pub(crate) fn resume_replay(&self) {
        on_replica!(self, replica => replica.resume_replay());
    }

    pub(crate) fn kill_replica(&self) {
        on_replica!(self, replica => replica.kill());
    }

    pub(crate) fn restart_replica(&self) {
        on_replica!(self, replica => replica.restart());
    }
}

/// Opens a replica as soon as it has followed.
pub(crate) async fn open_replica(url: &str) -> Arc<SqlStore> {
    let began = Instant::now();
    loop {
        match SqlOptions::new(url).connections(4).open_replica().await {
            Ok(store) => return Arc::new(store),
            Err(OpenError::Older(_) | OpenError::Unavailable(_)) if began.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// The suite's bench.
pub(crate) struct Bench {
    primary: SqlBench,
    replica: String,
    open: Mutex<Option<Arc<ReplicatedStore>>>,
    served: Arc<AtomicU64>,
}

impl Bench {
    pub(crate) fn new(pair: &Pair, served: Arc<AtomicU64>) -> Self {
        let (url, replica) = pair.database("conformance");
        Self { primary: SqlBench::at(pair.kind(), url), replica, open: Mutex::default(), served }
    }

    async fn over(&self, primary: Arc<dyn Store>) -> Arc<dyn Store> {
        let replicas = vec![open_replica(&self.replica).await as Arc<dyn Store>];
        let clock = Arc::new(RealClock::default());
        let store = Arc::new(ReplicatedStore::new(primary, replicas, clock, impatient()));
        self.close();
        *self.open.lock().unwrap() = Some(store.clone());
        store
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
        self.over(StoreBench::open(&self.primary).await).await
    }

    async fn reopen(&self) -> Arc<dyn Store> {
        self.over(StoreBench::reopen(&self.primary).await).await
    }

    async fn fail_writes(&self, failing: bool) -> bool {
        self.primary.fail_writes(failing).await
    }
}
