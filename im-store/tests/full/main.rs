//! A disk that fills up under a store, and has room again later: nothing acknowledged is lost, and nobody has to help the store.
#![cfg(all(feature = "sqlite", feature = "log", feature = "mysql", feature = "postgres"))]
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

#[path = "../sqlite/posts.rs"]
#[allow(dead_code)]
mod posts;
#[path = "../sql/traffic.rs"]
mod traffic;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use im_core::storage::{Store, StoreErrorKind, Timelines as _};
use im_store::log::LogOptions;
use im_store::sql::{OpenError, SqlOptions, SqlStore};
use im_store::sqlite::SqliteOptions;
use im_test_servers::{MariaDb, Postgres, SmallDisk};
use posts::user;
use traffic::{Traffic, turn};

/// A database server's data, and some room.
const MIB: u32 = 192;

/// A call's. Short: on a full disk, some wait for it.
const DEADLINE: Duration = Duration::from_secs(2);

/// The disk is full when nothing was acknowledged for so long: longer than a call may take.
const STUCK: Duration = Duration::from_secs(3);

/// Far more than the little room in a store's own files lasts, and than any store takes to resume.
const PATIENCE: Duration = Duration::from_secs(120);

/// From the moment at which there is room again.
const RESUMES_WITHIN: Duration = Duration::from_secs(10);

/// What is expected of a store, beside that it loses nothing.
struct Expected {
    rounds: usize,
    resumes_within: Duration,
    reads_go_on: bool,
}

const ALL: Expected = Expected { rounds: 2, resumes_within: RESUMES_WITHIN, reads_go_on: true };

/// `revive` is what the service manager of a machine does: it starts a server that has ended.
async fn survives(
    name: &str,
    disk: &SmallDisk,
    stores: [Arc<dyn Store>; 2],
    expected: Expected,
    revive: impl Fn(),
) {
    let traffic = Arc::new(Traffic::default());
    let mut tasks = tokio::task::JoinSet::new();
    for (writer, store) in (0..).zip(stores.iter().cycle().take(6)) {
        tasks.spawn(traffic.clone().write(store.clone(), writer));
    }
    tasks.spawn(traffic.clone().watch(stores[0].clone(), user("user 0")));
    let mut outages = Vec::new();
    for _ in 0..expected.rounds {
        traffic.go_on_for(150).await;
        tokio::task::block_in_place(|| disk.fill());
        until_stuck(&traffic).await;
        let (answered, refused) = read(&*stores[1]).await;
        println!("{name}: of the reads on a full disk, {answered} were answered and {refused} refused");
        assert!(answered > 0 || !expected.reads_go_on, "reads go on");
        disk.make_room();
        outages.push(until_acknowledged(&traffic, &revive).await);
    }
    traffic.go_on_for(150).await;
    traffic.end();
    tasks.join_all().await;
    assert!(outages.iter().all(|outage| *outage < expected.resumes_within), "{outages:?}");
    traffic.audit(&*stores[0]).await;
    let (acks, refusals) = (traffic.acks.load(Ordering::SeqCst), traffic.refusals.load(Ordering::SeqCst));
    println!("{name}: acknowledged {acks}, refused {refusals}, outages once there was room {outages:?}");
}

/// Waits until nothing is acknowledged any more. What is refused meanwhile has the right error: the writers look.
async fn until_stuck(traffic: &Traffic) {
    let counts = || (traffic.acks.load(Ordering::SeqCst), traffic.refusals.load(Ordering::SeqCst));
    let started = Instant::now();
    let (mut since, (mut acks, mut refusals)) = (Instant::now(), counts());
    while since.elapsed() < STUCK || counts().1 == refusals {
        assert!(started.elapsed() < PATIENCE, "there is room on a full disk");
        if counts().0 > acks {
            (since, (acks, refusals)) = (Instant::now(), counts());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Reads for a second. How many were answered, and how many were refused as they may be.
async fn read(store: &dyn Store) -> (u32, u32) {
    let (started, mut counts) = (Instant::now(), (0, 0));
    while started.elapsed() < Duration::from_secs(1) {
        match store.heads(vec![user("user 0")]).await {
            Ok(_) => counts.0 += 1,
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
                counts.1 += 1;
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    counts
}

async fn until_acknowledged(traffic: &Traffic, revive: impl Fn()) -> Duration {
    let (started, acks) = (Instant::now(), traffic.acks.load(Ordering::SeqCst));
    while traffic.acks.load(Ordering::SeqCst) == acks {
        assert!(started.elapsed() < PATIENCE, "nothing is acknowledged any more");
        tokio::task::block_in_place(&revive);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    started.elapsed()
}

async fn open(url: &str) -> Arc<dyn Store> {
    Arc::new(SqlOptions::new(url).call_deadline(DEADLINE).open().await.unwrap())
}

/// Starts a server that has ended, as a service manager does.
macro_rules! revive {
    ($server:ident) => {
        || {
            if $server.has_ended() {
                println!("the server has ended, and is started again");
                $server.restart();
            }
        }
    };
}

/// A binary log that has no room is looked at again by the server itself, once a minute; until then its transactions wait. So does this
/// test, and lets the others have their turns.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_lost_when_the_disk_of_mariadb_with_a_binary_log_is_full() {
    let disk = SmallDisk::new(MIB);
    let server = MariaDb::start_on(&disk, &[]);
    let url = server.database("full");
    let stores = [open(&url).await, open(&url).await];
    let expected = Expected { rounds: 1, resumes_within: Duration::from_secs(90), reads_go_on: false };
    survives("MariaDB with a binary log", &disk, stores, expected, revive!(server)).await;
}

/// Without one, the server ends when it finds no room to undo what failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_lost_when_the_disk_of_mariadb_is_full() {
    let _turn = turn().await;
    let disk = SmallDisk::new(MIB);
    let server = MariaDb::start_on(&disk, &["--skip-log-bin"]);
    let url = server.database("full");
    let stores = [open(&url).await, open(&url).await];
    survives("MariaDB", &disk, stores, Expected { reads_go_on: false, ..ALL }, revive!(server)).await;
}

/// The server ends when it finds no room for its log, and reads end with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_lost_when_the_disk_of_postgresql_is_full() {
    let _turn = turn().await;
    let disk = SmallDisk::new(MIB);
    let server = Postgres::start_on(&disk, &[]);
    let url = server.database("full");
    let stores = [open(&url).await, open(&url).await];
    survives("PostgreSQL", &disk, stores, Expected { reads_go_on: false, ..ALL }, revive!(server)).await;
}

/// That a database's tables cannot be made for want of room does not make it another's.
async fn opens_once_there_is_room(disk: &SmallDisk, url: &str, revive: impl Fn()) {
    tokio::task::block_in_place(|| disk.fill());
    let refused = SqlStore::open(url).await.unwrap_err();
    assert!(matches!(refused, OpenError::Unavailable(_)), "{refused:?}");
    disk.make_room();
    tokio::task::block_in_place(revive);
    let store = SqlStore::open(url).await.unwrap();
    assert!(store.heads(vec![user("user 0")]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_mariadb_is_no_damage_to_an_empty_database() {
    let disk = SmallDisk::new(MIB);
    let server = MariaDb::start_on(&disk, &["--skip-log-bin"]);
    let url = server.database("empty");
    opens_once_there_is_room(&disk, &url, revive!(server)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_postgresql_is_no_damage_to_an_empty_database() {
    let disk = SmallDisk::new(MIB);
    let server = Postgres::start_on(&disk, &[]);
    let url = server.database("empty");
    opens_once_there_is_room(&disk, &url, revive!(server)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_lost_when_the_disk_of_sqlite_is_full() {
    let _turn = turn().await;
    let disk = SmallDisk::new(32);
    let options = SqliteOptions::new(disk.path().join("im.db")).call_deadline(DEADLINE);
    let store: Arc<dyn Store> = Arc::new(options.open().await.unwrap());
    survives("SQLite", &disk, [store.clone(), store], ALL, || {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_lost_when_the_disk_of_a_log_is_full() {
    let _turn = turn().await;
    let disk = SmallDisk::new(32);
    let options = LogOptions::new(disk.path().join("store")).call_deadline(DEADLINE);
    let store: Arc<dyn Store> = Arc::new(options.open().await.unwrap());
    survives("log", &disk, [store.clone(), store], ALL, || {}).await;
}
