//! What the cache in Redis saves over MariaDB and PostgreSQL: `cargo bench -p im-store --features redis,mysql,postgres --bench cache`.
//!
//! The newest 20 entries of groups with 300, conversation lists of 100 rows of which 50 are asked for, and whether a user is blocked: from the database, and from the
//! cache before it, in turn, by one caller and by eight, for `-- ROUNDS` rounds of a second each (5 without it); the medians count. All of it is in the memory of both servers.
#![allow(clippy::unwrap_used, missing_docs, clippy::print_stdout, clippy::print_stderr)]

#[path = "../tests/sqlite/posts.rs"]
#[allow(dead_code)]
mod posts;

#[path = "sql/ticks.rs"]
mod ticks;

use std::sync::Arc;
use std::time::{Duration, Instant};

use im_core::id::{GroupId, Version};
use im_core::message::{Message, Target, TimelineId};
use im_core::storage::{Block, Blocklist, Post, Read, Store, Timelines as _};
use im_store::redis::{CachedBlocklist, CachedStore, Redis, RedisOptions};
use im_store::sql::{SqlOptions, SqlStore};
use im_test_servers::{MariaDb, Postgres};
use ticks::ticks_of;
use tokio::runtime::Runtime;

const ROUND: Duration = Duration::from_secs(1);
const GROUPS: i64 = 50;
const ENTRIES: i64 = 300;
const PEERS: i64 = 100;

fn main() {
    let rounds = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(5);
    let runtime = Runtime::new().unwrap();
    let redis = im_test_servers::Redis::start();
    let (mariadb, postgres) = (MariaDb::start(), Postgres::start());
    println!(
        "| database | callers | what | from the database/s | CPU µs, its | from the cache/s | CPU µs, the database's | CPU µs, Redis' |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (name, url, pid) in [
        ("MariaDB", mariadb.database("cache"), mariadb.pid().unwrap()),
        ("PostgreSQL", postgres.database("cache"), postgres.pid().unwrap()),
    ] {
        runtime.block_on(compare(name, &url, pid, &redis, rounds));
    }
}

/// A database, and a cache before it.
struct Subject {
    store: Arc<SqlStore>,
    cached: CachedStore,
    blocks: CachedBlocklist,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Recent,
    Conversations,
    Blocked,
}

impl Subject {
    async fn open(name: &str, url: &str, redis: &str) -> Self {
        let store = Arc::new(SqlOptions::new(url).open().await.unwrap());
        let redis: Redis = RedisOptions::new(redis).prefix(name).open().await.unwrap();
        let cached = CachedStore::open(store.clone(), redis.clone()).await.unwrap();
        let blocks = CachedBlocklist::new(store.clone(), redis).ttl(Duration::from_secs(3_600));
        let subject = Self { store, cached, blocks };
        subject.fill().await;
        subject
    }

    /// Groups and lists, in the database and in the cache.
    async fn fill(&self) {
        for group in 0..GROUPS {
            let posts = (0..ENTRIES).map(|n| to_group(group, group * ENTRIES + n)).collect();
            assert!(self.store.append(posts).await.iter().all(Result::is_ok));
            let read = Read { limit: 200, ..newest(group) };
            assert!(self.cached.read(vec![Read { after: Version(ENTRIES - 200), ..read }]).await[0].is_ok());
            let owner = format!("user {group}");
            let first = 1_000_000 + group * PEERS;
            let posts = (0..PEERS).map(|n| posts::direct(&format!("peer {n}"), &owner, first + n, 100));
            assert!(self.store.append(posts.collect()).await.iter().all(Result::is_ok));
        }
        // The cache is filled beside those who read.
        tokio::time::sleep(Duration::from_secs(1)).await;
        for group in 0..GROUPS {
            for what in [What::Recent, What::Conversations, What::Blocked] {
                self.ask(what, true, group).await;
            }
        }
    }

    async fn ask(&self, what: What, cached: bool, number: i64) {
        let store: &dyn Store = if cached { &self.cached } else { &*self.store };
        match what {
            What::Recent => {
                let page = store.read(vec![newest(number)]).await.remove(0).unwrap();
                assert_eq!(page.entries.len(), 20);
            }
            What::Conversations => {
                let owner = posts::uid(&format!("user {number}"));
                assert_eq!(store.conversations(&owner, None, 50).await.unwrap().len(), 50);
            }
            What::Blocked => {
                let list: &dyn Blocklist = if cached { &self.blocks } else { &*self.store };
                let block =
                    Block { owner: posts::uid(&format!("user {number}")), other: posts::uid("alice") };
                assert_eq!(list.blocked(vec![block]).await.unwrap(), [false]);
            }
        }
    }
}

fn to_group(group: i64, msgid: i64) -> Post {
    let Post { message, .. } = posts::direct("alice", "bob", msgid, 100);
    let message = Message { to: Target::Group(GroupId(group)), ..message };
    Post { message, home: TimelineId::Group(GroupId(group)), copy: None }
}

fn newest(group: i64) -> Read {
    let timeline = TimelineId::Group(GroupId(group));
    Read {
        timeline,
        after: Version(ENTRIES - 20),
        until: None,
        limit: 20,
        max_bytes: usize::MAX,
        least: None,
    }
}

async fn compare(name: &str, url: &str, pid: i32, redis: &im_test_servers::Redis, rounds: usize) {
    let subject = Arc::new(Subject::open(name, url, redis.url()).await);
    for callers in [1, 8] {
        for what in [What::Recent, What::Conversations, What::Blocked] {
            let (mut from_database, mut from_cache) = (Vec::new(), Vec::new());
            for number in 0..=rounds {
                eprint!("\r{name}, {callers} callers, {what:?}: round {number} of {rounds}  ");
                let one = round(&subject, what, false, callers, pid, redis).await;
                let other = round(&subject, what, true, callers, pid, redis).await;
                // The first one warms up.
                if number > 0 {
                    from_database.push(one);
                    from_cache.push(other);
                }
            }
            eprint!("\r{:60}\r", "");
            let [one, other] = [median(&from_database), median(&from_cache)];
            println!(
                "| {name} | {callers} | {what:?} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} |",
                one[0], one[1], other[0], other[1], other[2]
            );
        }
    }
}

/// Answers a second; of each the processor time of the database and of Redis, in microseconds.
type Cost = [f64; 3];

async fn round(
    subject: &Arc<Subject>,
    what: What,
    cached: bool,
    callers: i64,
    pid: i32,
    redis: &im_test_servers::Redis,
) -> Cost {
    let before = (ticks_of(pid), cpu_of_redis(redis));
    let started = Instant::now();
    let mut tasks = Vec::new();
    for caller in 0..callers {
        let subject = subject.clone();
        tasks.push(tokio::spawn(async move {
            let mut answers = 0;
            while started.elapsed() < ROUND {
                subject.ask(what, cached, (caller * 7 + answers) % GROUPS).await;
                answers += 1;
            }
            answers
        }));
    }
    let mut answers = 0;
    for task in tasks {
        answers += task.await.unwrap();
    }
    let answers = f64::from(i32::try_from(answers).unwrap());
    let micros = |seconds: f64| seconds * 1_000_000.0 / answers;
    let elapsed = started.elapsed().as_secs_f64();
    [answers / elapsed, micros((ticks_of(pid) - before.0) / 100.0), micros(cpu_of_redis(redis) - before.1)]
}

fn median(costs: &[Cost]) -> Cost {
    [0, 1, 2].map(|at| {
        let mut values: Vec<f64> = costs.iter().map(|cost| cost[at]).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    })
}

/// Seconds of processor time that Redis has used.
fn cpu_of_redis(redis: &im_test_servers::Redis) -> f64 {
    let info = redis.run("INFO cpu");
    let part = |name: &str| -> f64 {
        info.lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|rest| rest.trim().parse().ok())
            .unwrap()
    };
    part("used_cpu_user:") + part("used_cpu_sys:")
}
