//! Random moves under random traffic, over databases that are slow and fail at random. Movers and senders are dropped anywhere, and some servers have old maps.
//!
//! A failure names its seed, `IM_SEED=… cargo test -p im-store --test sharding random`; the order of the tasks is the machine's.

use std::sync::Arc;
use std::time::Duration;

use im_core::storage::{Bucket, Shard, Store};
use im_store::layer::sharding::{MoveError, MoveLimits, Mover, ShardedStore, SweepLimits, Sweeper};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::bench::{Databases, Memory};
use crate::faulty::{Chance, Fault, Faulty};
use crate::load::{Load, RealTime, buckets};
use crate::traffic::pending;

const RUNS: u64 = 3;

const FENCE: Duration = Duration::from_millis(300);

/// Movers that are started in each run; most are dropped.
const MOVERS: usize = 24;

fn first_seed() -> u64 {
    std::env::var("IM_SEED").map_or(1, |seed| seed.parse().expect("IM_SEED is a number"))
}

#[tokio::test]
async fn nothing_is_lost_doubled_or_reordered_whatever_is_dropped() {
    let runs = (first_seed()..first_seed() + RUNS).map(async |seed| {
        println!("seed {seed}");
        let mut chance = Chance(seed);
        let databases = Memory::with_clock(2 + chance.index(2), RealTime::new());
        run(databases, chance, MOVERS, 1).await;
    });
    // They mostly wait.
    futures::future::join_all(runs).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn nothing_is_lost_from_sqlite_databases_whatever_is_dropped() {
    run(crate::bench::Sqlite::new(2), Chance(first_seed()), MOVERS / 2, 4).await;
}

#[cfg(all(feature = "mysql", feature = "postgres"))]
#[tokio::test]
async fn nothing_is_lost_from_servers_whatever_is_dropped() {
    use crate::bench::{Kind, Servers};
    run(Servers::of(&[Kind::MySql, Kind::Postgres]), Chance(first_seed()), MOVERS / 2, 8).await;
}

async fn run(mut databases: impl Databases, mut chance: Chance, movers: usize, slower: u32) {
    let open = databases.open().await;
    let databases = open.len();
    let server = async |mut chance: Chance| {
        let fault = Fault::random(Chance(chance.next()));
        let faulty = |inner: &Arc<dyn Shard>| Arc::new(Faulty::new(inner.clone(), fault.clone())) as _;
        let faulty: Vec<Arc<dyn Shard>> = open.iter().map(faulty).collect();
        loop {
            if let Ok(store) = ShardedStore::open(faulty.clone(), RealTime::new()).await {
                return Arc::new(store);
            }
        }
    };
    let (load, mut tasks) = (Load::new(slower), JoinSet::new());
    let mut servers: Vec<Arc<dyn Store>> = Vec::new();
    for _ in 0..3 {
        servers.push(server(Chance(chance.next())).await);
    }
    for (writer, store) in (0..4).zip(servers.iter().cycle()) {
        tasks.spawn(write(load.clone(), store.clone(), writer, Chance(chance.next())));
    }
    load.watch_all(&servers, &mut tasks);
    let sweeping = server(Chance(chance.next())).await;
    let mut limits = SweepLimits::default();
    limits.rest = Duration::from_millis(100);
    let sweeper = tokio::spawn(Sweeper::new(sweeping, limits).run(RealTime::new()));
    let mut finished = 0;
    for _ in 0..movers {
        // What a mover knows of the map may be old when it begins.
        let store = server(Chance(chance.next())).await;
        finished += usize::from(move_some(&store, databases, slower, &mut chance).await);
        load.go_on_for(chance.below(30)).await;
    }
    // One that nothing happens to makes good what the others left.
    let calm = Arc::new(ShardedStore::open(open.clone(), RealTime::new()).await.unwrap());
    let mover = Mover::new(calm, RealTime::new(), MoveLimits::default());
    mover.move_buckets(&buckets(), 1, |_| {}).await.unwrap();
    load.end();
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    sweeper.abort();
    let store = Arc::new(ShardedStore::open(open.clone(), RealTime::new()).await.unwrap());
    println!("{finished} of {movers} movers finished");
    // The fence of a mover that was dropped is over.
    tokio::time::sleep(FENCE * slower).await;
    let mut last = Sweeper::new(store.clone(), SweepLimits::default());
    last.pass().await;
    last.pass().await;
    assert_eq!(pending(&open).await, 0);
    load.audit(&*store).await;
}

/// Moves random buckets to a random database, and is dropped after a random time. Whether it came to its end.
async fn move_some(store: &Arc<ShardedStore>, databases: usize, slower: u32, chance: &mut Chance) -> bool {
    let mut limits = MoveLimits::default();
    limits.fence = FENCE * slower;
    limits.rows = 1 + chance.index(40);
    limits.at_once = 1 + chance.index(8);
    limits.tries = 10;
    let all = buckets();
    let some: Vec<Bucket> = (0..1 + chance.index(6)).map(|_| all[chance.index(all.len())]).collect();
    let mover = Mover::new(store.clone(), RealTime::new(), limits);
    let patience = Duration::from_millis([5, 20, 60, 200, 3_000][chance.index(5)]) * slower;
    match timeout(patience, mover.move_buckets(&some, chance.index(databases), |_| {})).await {
        Ok(Err(error)) => {
            assert!(matches!(error, MoveError::Store(_) | MoveError::TooBusy(_)), "{error}");
            false
        }
        Ok(Ok(_)) => true,
        Err(_) => false,
    }
}

/// Appends batches, each post until it is acknowledged, in order. Some calls are dropped before they have answered.
async fn write(load: Arc<Load>, store: Arc<dyn Store>, writer: u64, mut chance: Chance) {
    let mut number = 0;
    while !load.is_over() {
        let mut waiting = Vec::new();
        for _ in 0..1 + chance.below(5) {
            number += 1;
            waiting.push(load.post(writer, number));
        }
        while !waiting.is_empty() {
            let patience = match chance.below(6) {
                0 => Duration::from_millis(1 + chance.below(12)),
                _ => Duration::from_secs(60),
            };
            waiting = match timeout(patience, load.try_once(&*store, waiting.clone())).await {
                Ok(left) => left,
                Err(_) => load.renewed(waiting),
            };
        }
        load.rest(chance.below(4)).await;
    }
}
