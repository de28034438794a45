//! A replica that stops to follow, dies and comes back under traffic: readers go on, and it serves them whenever it can.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use im_core::id::Version;
use im_core::message::TimelineId;
use im_core::storage::{Read, Store, Timelines as _};
use im_store::layer::replica::{ReplicaCounts, ReplicaLimits, ReplicatedStore};
use im_store::sql::{OpenError, SqlOptions, SqlStore};

use crate::clock::RealClock;
use crate::posts::{direct, user};
use crate::servers::{PATIENCE, Pair, open_replica};
use crate::sql::Kind;
use crate::traffic::{Traffic, turn};

/// Readers that log in, read their timeline from the beginning to its end, and log in again.
#[derive(Default)]
struct Readers {
    over: AtomicBool,
    /// How often one came to the end.
    ends: AtomicU64,
}

impl Readers {
    async fn read(self: Arc<Self>, store: Arc<dyn Store>, timeline: TimelineId) {
        while !self.over.load(Ordering::SeqCst) {
            let head = store.heads(vec![timeline.clone()]).await.unwrap()[0].head;
            read_to_the_end(&*store, &timeline, head).await;
            self.ends.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn come_to_the_end(&self, times: u64) {
        let (began, until) = (Instant::now(), self.ends.load(Ordering::SeqCst) + times);
        while self.ends.load(Ordering::SeqCst) < until {
            assert!(began.elapsed() < PATIENCE, "readers do not come to the end any more");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn read_to_the_end(store: &dyn Store, timeline: &TimelineId, head: Version) {
    let (mut known, mut after) = (head, Version::ZERO);
    loop {
        let timeline = timeline.clone();
        let read =
            Read { timeline, after, until: None, limit: 20, max_bytes: usize::MAX, least: Some(known) };
        let page = store.read(vec![read]).await.remove(0).unwrap();
        assert!(page.head >= known, "the head went from {known} back to {}", page.head);
        known = page.head;
        for entry in &page.entries {
            assert_eq!(entry.version, after.next(), "without a hole");
            after = entry.version;
        }
        if page.entries.is_empty() {
            return assert_eq!(
                after, page.head,
                "the end is the head, and what was acknowledged is below it"
            );
        }
    }
}

async fn survives(kind: Kind) {
    let _turn = turn().await;
    let pair = tokio::task::block_in_place(|| Pair::start(kind));
    let (url, copy) = pair.database("lag");
    let primary = Arc::new(SqlStore::open(&*url).await.unwrap());
    let limits = ReplicaLimits::with(|limits| limits.longest = Duration::from_secs(1));
    let replicas = vec![open_replica(&copy).await as Arc<dyn Store>];
    let store = Arc::new(ReplicatedStore::new(primary, replicas, Arc::new(RealClock::default()), limits));
    let (traffic, readers) = (Arc::new(Traffic::default()), Arc::new(Readers::default()));
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..2 {
        tasks.spawn(traffic.clone().write(store.clone() as Arc<dyn Store>, writer));
    }
    for reader in 0..2 {
        let timeline = user(&format!("user {reader}"));
        tasks.spawn(readers.clone().read(store.clone() as Arc<dyn Store>, timeline));
    }
    let go_on = async || {
        traffic.go_on_for(100).await;
        readers.come_to_the_end(4).await;
    };
    let grows = async |by: u64, count: fn(&ReplicaCounts) -> u64| {
        let count = || count(&store.counts().replicas[0]);
        let (began, before) = (Instant::now(), count());
        while count() < before + by {
            assert!(
                began.elapsed() < PATIENCE,
                "the replica is not asked, or does not answer: {:?}",
                store.counts()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let served_again = async || grows(20, |replica| replica.served).await;
    traffic.go_on_for(400).await;
    served_again().await;

    tokio::task::block_in_place(|| pair.pause_replay());
    go_on().await;
    grows(1, |replica| replica.behind).await;
    tokio::task::block_in_place(|| pair.resume_replay());
    served_again().await;

    tokio::task::block_in_place(|| pair.kill_replica());
    grows(1, |replica| replica.failed).await;
    go_on().await;
    tokio::task::block_in_place(|| pair.restart_replica());
    served_again().await;

    traffic.end();
    readers.over.store(true, Ordering::SeqCst);
    tasks.join_all().await;
    traffic.audit(&*store).await;
    assert_eq!(traffic.refusals.load(Ordering::SeqCst), 0, "the primary was well all the time");
    println!("{kind:?}: {:?}", store.counts());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_go_on_while_a_replica_of_mariadb_lags_and_dies() {
    survives(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_go_on_while_a_replica_of_postgresql_lags_and_dies() {
    survives(Kind::Postgres).await;
}

/// Before the primary is migrated there is nothing to open; what is open cannot be written to.
async fn opens_only_what_is_there(kind: Kind) {
    let pair = tokio::task::block_in_place(|| Pair::start(kind));
    let (url, copy) = pair.database("schema");
    let began = Instant::now();
    loop {
        match SqlOptions::new(&*copy).open_replica().await {
            Err(OpenError::Older(0)) => break,
            Err(OpenError::Unavailable(_)) if began.elapsed() < PATIENCE => {}
            other => panic!("{other:?}"),
        }
    }
    let primary = SqlStore::open(&*url).await.unwrap();
    let replica = open_replica(&copy).await;
    let refused = replica.append(vec![direct("alice", "bob", 1, 10)]).await.remove(0).unwrap_err();
    assert!(refused.is_retryable(), "{refused:?}");
    primary.append(vec![direct("alice", "bob", 1, 10)]).await.remove(0).unwrap();
    let set_back = "DELETE FROM _sqlx_migrations WHERE version > 1";
    run(kind, &url, set_back).await;
    let began = Instant::now();
    while !matches!(SqlOptions::new(&*copy).open_replica().await, Err(OpenError::Older(1))) {
        assert!(began.elapsed() < PATIENCE, "the replica does not follow");
    }
}

async fn run(kind: Kind, url: &str, text: &'static str) {
    use sqlx::{Connection, Executor, MySqlConnection, PgConnection};
    match kind {
        Kind::MySql => drop(MySqlConnection::connect(url).await.unwrap().execute(text).await.unwrap()),
        Kind::Postgres => drop(PgConnection::connect(url).await.unwrap().execute(text).await.unwrap()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_of_mariadb_opens_when_its_tables_are_there_and_is_not_written_to() {
    opens_only_what_is_there(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_of_postgresql_opens_when_its_tables_are_there_and_is_not_written_to() {
    opens_only_what_is_there(Kind::Postgres).await;
}
