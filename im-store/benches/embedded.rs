//! What a direct message costs over the embedded stores, beside a plain loop: `cargo bench -p im-store --features sqlite,log --bench embedded`.
//!
//! Both write in turn, for `-- ROUNDS` rounds of a second each (5 without it); the medians count. Beside SQLite stands a loop over the driver that writes the same rows with one
//! statement a table and commits; it knows its versions and looks nothing up. Beside the log stands a loop that appends as many bytes to a file and syncs it. Writers of a plain loop take turns,
//! and each of them syncs for itself. A message has 100 bytes; every writer has 200 users of its own.
#![allow(clippy::unwrap_used, missing_docs, clippy::print_stdout, clippy::print_stderr)]

#[path = "embedded/plain.rs"]
mod plain;
#[path = "../tests/sqlite/posts.rs"]
#[allow(dead_code)]
mod posts;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use im_core::storage::{Post, Store};
use im_store::log::LogStore;
use im_store::sqlite::SqliteStore;
use plain::{PlainLog, PlainSqlite};
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

const USERS: i64 = 200;
const ROUND: Duration = Duration::from_secs(1);

fn main() {
    let rounds = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(5);
    let runtime = Runtime::new().unwrap();
    println!(
        "| store | writers | batch | messages/s | commits/s | CPU s/M | plain: messages/s | its CPU s/M | time | CPU |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for writers in [1, 8] {
        for size in [1, 64, 512] {
            runtime.block_on(sqlite(writers, size, rounds));
            runtime.block_on(log(writers, size, rounds));
        }
    }
}

async fn sqlite(writers: i64, size: usize, rounds: usize) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (mut sources, everybody) = sources(writers);
    let mut stores = Vec::new();
    for name in ["ours.db", "plain.db"] {
        let store = SqliteStore::open(dir.path().join(name)).await.unwrap();
        fill(&store, &everybody).await;
        stores.push(store);
    }
    stores.pop().unwrap().close().await;
    let ours: Arc<dyn Store> = Arc::new(stores.pop().unwrap());
    let plain = Mutex::new(PlainSqlite::open(&dir.path().join("plain.db")).await);
    let targets = [Target::Store(ours), Target::Sqlite(plain)].map(Arc::new);
    compare("SQLite", &targets, &mut sources, size, rounds).await;
}

async fn log(writers: i64, size: usize, rounds: usize) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (mut sources, everybody) = sources(writers);
    let store = LogStore::open(dir.path().join("store")).await.unwrap();
    fill(&store, &everybody).await;
    let bytes = bytes_of_a_message(dir.path(), &mut sources[0], &store, size).await;
    let plain = std::sync::Mutex::new(PlainLog::create(&dir.path().join("plain"), bytes));
    let targets = [Target::Store(Arc::new(store)), Target::Log(plain)].map(Arc::new);
    compare("log", &targets, &mut sources, size, rounds).await;
}

async fn fill(store: &dyn Store, posts: &[Post]) {
    assert!(store.append(posts.to_vec()).await.iter().all(Result::is_ok));
}

/// How many bytes the log's files grow by for a message in a batch of this size.
async fn bytes_of_a_message(dir: &Path, source: &mut Source, store: &LogStore, size: usize) -> usize {
    let before = bytes_in(&dir.join("store/log"));
    let batches = 1_000_usize.div_ceil(size);
    for _ in 0..batches {
        fill(store, &source.batch(size)).await;
    }
    (bytes_in(&dir.join("store/log")) - before) / (batches * size)
}

fn bytes_in(dir: &Path) -> usize {
    let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
    usize::try_from(files.sum::<u64>()).unwrap()
}

/// What is written to.
enum Target {
    Store(Arc<dyn Store>),
    Sqlite(Mutex<PlainSqlite>),
    Log(std::sync::Mutex<PlainLog>),
}

impl Target {
    async fn write(&self, posts: Vec<Post>) {
        match self {
            Self::Store(store) => assert!(store.append(posts).await.iter().all(Result::is_ok)),
            Self::Sqlite(plain) => plain.lock().await.write(posts).await,
            Self::Log(plain) => tokio::task::block_in_place(|| plain.lock().unwrap().write(posts.len())),
        }
    }
}

/// What a round cost.
#[derive(Clone, Copy)]
struct Cost {
    per_second: f64,
    commits: f64,
    processor: f64,
}

async fn compare(
    name: &str,
    targets: &[Arc<Target>; 2],
    sources: &mut Vec<Source>,
    size: usize,
    rounds: usize,
) {
    let writers = sources.len();
    let mut costs = [Vec::new(), Vec::new()];
    for round in 0..=rounds {
        eprint!("\r{name}, {writers} writers, batches of {size}: round {round} of {rounds}  ");
        for (target, costs) in targets.iter().zip(&mut costs) {
            let cost = play(target, sources, size).await;
            // The first one warms up.
            if round > 0 {
                costs.push(cost);
            }
        }
    }
    eprint!("\r{:60}\r", "");
    let [ours, plain] = costs.map(|costs| median(&costs));
    println!(
        "| {name} | {writers} | {size} | {:.0} | {:.0} | {:.2} | {:.0} | {:.2} | {:.2} | {:.2} |",
        ours.per_second,
        ours.commits,
        ours.processor,
        plain.per_second,
        plain.processor,
        plain.per_second / ours.per_second,
        ours.processor / plain.processor,
    );
}

async fn play(target: &Arc<Target>, sources: &mut Vec<Source>, size: usize) -> Cost {
    let (began, busy) = (Instant::now(), processor_time());
    let mut tasks = Vec::new();
    for mut source in sources.drain(..) {
        let target = target.clone();
        tasks.push(tokio::spawn(async move {
            let started = Instant::now();
            let mut batches = 0;
            while started.elapsed() < ROUND {
                target.write(source.batch(size)).await;
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
    let messages = f64::from(batches) * f64::from(u32::try_from(size).unwrap());
    let seconds = began.elapsed().as_secs_f64();
    Cost {
        per_second: messages / seconds,
        commits: f64::from(batches) / seconds,
        processor: (processor_time() - busy) * 1e6 / messages,
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
        processor: of(|cost| cost.processor),
    }
}

/// Makes a writer's messages.
struct Source {
    writer: i64,
    next: i64,
}

/// A source for each writer, and a message from each user.
fn sources(writers: i64) -> (Vec<Source>, Vec<Post>) {
    let mut sources: Vec<_> = (0..writers).map(|writer| Source { writer, next: 1 }).collect();
    let everybody = sources.iter_mut().flat_map(|source| {
        let posts: Vec<_> = (0..USERS).map(|n| source.between(n, (n + 1) % USERS)).collect();
        posts
    });
    let everybody = everybody.collect();
    (sources, everybody)
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

/// Seconds of processor time that the process took.
fn processor_time() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.try_into().unwrap(), now.tv_nsec.try_into().unwrap()).as_secs_f64()
}
