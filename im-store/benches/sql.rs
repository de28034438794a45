//! What a direct message costs over MariaDB and PostgreSQL, beside the same rows written by a plain loop over the driver:
//! `cargo bench -p im-store --features mysql,postgres --bench sql`.
//!
//! Both write in turn, to databases of their own on one server, for `-- ROUNDS` rounds of a second each (5 without it); the medians count. `-- ROUNDS MariaDB/8/64` takes
//! the rows that begin like that: database, writers, batch. The plain loop knows
//! its versions, and neither locks nor looks anything up: it begins, inserts into `messages`, `entries`, `conversations` and `owners` with one statement each, and
//! commits. A message has 100 bytes. Every writer has 200 users of its own.
#![allow(clippy::unwrap_used, missing_docs, clippy::print_stdout, clippy::print_stderr)]

#[path = "../tests/sqlite/posts.rs"]
#[allow(dead_code)]
mod posts;

#[path = "sql/plain.rs"]
mod plain;
#[path = "sql/ticks.rs"]
mod ticks;

use std::sync::Arc;
use std::time::{Duration, Instant};

use im_core::storage::{Post, Timelines as _};
use im_store::sql::{SqlOptions, SqlStore};
use im_test_servers::{MariaDb, Postgres};
use plain::Plain;
use ticks::ticks_of;
use tokio::runtime::Runtime;

const USERS: i64 = 200;
const ROUND: Duration = Duration::from_secs(1);

fn main() {
    let rounds = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(5);
    let only = std::env::args().skip(1).find(|word| word.contains('/'));
    let is_asked = |name: &str, writers: i64, size: usize| {
        only.as_ref().is_none_or(|only| format!("{name}/{writers}/{size}").starts_with(only))
    };
    let runtime = Runtime::new().unwrap();
    println!(
        "| database | writers | batch | messages/s | commits/s | CPU s/M, ours | CPU s/M, database | plain: messages/s | CPU s/M, its | CPU s/M, database | time | own CPU | all CPU |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    let (mariadb, postgres) = (MariaDb::start(), Postgres::start());
    for writers in [1, 8] {
        for size in [1, 64, 512] {
            if is_asked("MariaDB", writers, size) {
                let urls = [mariadb.database("ours"), mariadb.database("plain")];
                runtime.block_on(compare("MariaDB", &urls, mariadb.pid().unwrap(), writers, size, rounds));
            }
            if is_asked("PostgreSQL", writers, size) {
                let urls = [postgres.database("ours"), postgres.database("plain")];
                runtime.block_on(compare(
                    "PostgreSQL",
                    &urls,
                    postgres.pid().unwrap(),
                    writers,
                    size,
                    rounds,
                ));
            }
        }
    }
}

/// What a round cost.
#[derive(Clone, Copy)]
struct Cost {
    per_second: f64,
    commits: f64,
    own: f64,
    database: f64,
}

async fn compare(name: &str, urls: &[String; 2], pid: i32, writers: i64, size: usize, rounds: usize) {
    let store = Arc::new(SqlOptions::new(&urls[0]).open().await.unwrap());
    // The tables, and every user.
    let other = SqlOptions::new(&urls[1]).open().await.unwrap();
    let mut sources = Vec::new();
    let mut plains = Vec::new();
    for writer in 0..writers {
        let mut source = Source { writer, next: 1 };
        let everybody: Vec<Post> = (0..USERS).map(|n| source.between(n, (n + 1) % USERS)).collect();
        for store in [&*store, &other] {
            assert!(store.append(everybody.clone()).await.iter().all(Result::is_ok));
        }
        plains.push(Plain::open(&urls[1], &everybody).await);
        sources.push(source);
    }
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        eprint!("\r{name}, {writers} writers, batches of {size}: round {round} of {rounds}  ");
        let (one, other) = (
            round_of_ours(&store, &mut sources, size, pid).await,
            round_of_plain(&mut plains, &mut sources, size, pid).await,
        );
        // The first one warms up.
        if round > 0 {
            ours.push(one);
            plain.push(other);
        }
    }
    eprint!("\r{:60}\r", "");
    let [ours, plain] = [median(&ours), median(&plain)];
    println!(
        "| {name} | {writers} | {size} | {:.0} | {:.0} | {:.1} | {:.1} | {:.0} | {:.1} | {:.1} | {:.2} | {:.2} | {:.2} |",
        ours.per_second,
        ours.commits,
        ours.own,
        ours.database,
        plain.per_second,
        plain.own,
        plain.database,
        plain.per_second / ours.per_second,
        ours.own / plain.own,
        (ours.own + ours.database) / (plain.own + plain.database),
    );
}

async fn round_of_ours(store: &Arc<SqlStore>, sources: &mut Vec<Source>, size: usize, pid: i32) -> Cost {
    let before = Usage::now(pid);
    let mut tasks = Vec::new();
    for mut source in sources.drain(..) {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            let started = Instant::now();
            let mut batches = 0;
            while started.elapsed() < ROUND {
                for placed in store.append(source.batch(size)).await {
                    placed.unwrap();
                }
                batches += 1;
            }
            (source, batches)
        }));
    }
    let mut batches = 0;
    for task in tasks {
        let (source, wrote) = task.await.unwrap();
        sources.push(source);
        batches += wrote;
    }
    before.cost(pid, batches, size)
}

async fn round_of_plain(plains: &mut Vec<Plain>, sources: &mut Vec<Source>, size: usize, pid: i32) -> Cost {
    let before = Usage::now(pid);
    let mut tasks = Vec::new();
    for (mut plain, mut source) in plains.drain(..).zip(sources.drain(..)) {
        tasks.push(tokio::spawn(async move {
            let started = Instant::now();
            let mut batches = 0;
            while started.elapsed() < ROUND {
                plain.write(source.batch(size)).await;
                batches += 1;
            }
            (plain, source, batches)
        }));
    }
    let mut batches = 0;
    for task in tasks {
        let (plain, source, wrote) = task.await.unwrap();
        plains.push(plain);
        sources.push(source);
        batches += wrote;
    }
    before.cost(pid, batches, size)
}

/// Makes a writer's messages.
struct Source {
    writer: i64,
    next: i64,
}

impl Source {
    fn batch(&mut self, size: usize) -> Vec<Post> {
        (0..size).map(|_| self.between(self.next * 7_919 % USERS, self.next * 104_729 % USERS)).collect()
    }

    fn between(&mut self, from: i64, to: i64) -> Post {
        // Nobody writes to himself: that message has one place.
        let to = if from == to { (to + 1) % USERS } else { to };
        let msgid = (self.writer << 40) + self.next;
        self.next += 1;
        let name = |user: i64| format!("user-{}-{user:06}", self.writer);
        posts::direct(&name(from), &name(to), msgid, 100)
    }
}

struct Usage {
    at: Instant,
    own: f64,
    database: f64,
}

impl Usage {
    fn now(pid: i32) -> Self {
        let own = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let own = Duration::new(own.tv_sec.try_into().unwrap(), own.tv_nsec.try_into().unwrap());
        Self { at: Instant::now(), own: own.as_secs_f64(), database: ticks_of(pid) / 100.0 }
    }

    fn cost(&self, pid: i32, batches: u32, size: usize) -> Cost {
        let after = Self::now(pid);
        let messages = f64::from(batches) * f64::from(u32::try_from(size).unwrap());
        let seconds = (after.at - self.at).as_secs_f64();
        Cost {
            per_second: messages / seconds,
            commits: f64::from(batches) / seconds,
            own: (after.own - self.own) * 1e6 / messages,
            database: (after.database - self.database) * 1e6 / messages,
        }
    }
}

fn median(costs: &[Cost]) -> Cost {
    let of = |figure: fn(&Cost) -> f64| {
        let mut figures: Vec<f64> = costs.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    Cost {
        per_second: of(|cost| cost.per_second),
        commits: of(|cost| cost.commits),
        own: of(|cost| cost.own),
        database: of(|cost| cost.database),
    }
}
