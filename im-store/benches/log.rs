//! What a direct message costs the log store: `cargo bench -p im-store --features log --bench log`.
//!
//! For each batch size, with every batch one durable commit: messages a second, and microseconds of processor time a message, of the whole
//! process and of the writing thread's part. Then pages of a timeline whose entries lie scattered over the log, and the bytes on disk. A message has
//! 100 bytes; users and keys are named as a server names them. With an argument (`-- 10000000 100000`), that many messages among that many
//! users, with a line for every tenth, to see what grows.
#![allow(clippy::unwrap_used, missing_docs, clippy::print_stdout)]

#[path = "../tests/sqlite/posts.rs"]
#[allow(dead_code)]
mod posts;

use std::path::Path;
use std::time::Instant;

use im_core::id::Version;
use im_core::storage::{Post, Read, Timelines};
use im_store::log::LogStore;
use tokio::runtime::Runtime;

fn main() {
    let numbers: Vec<i64> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [messages, users] => grow(messages, users),
        _ => sizes(),
    }
}

fn sizes() {
    println!("| posts a batch | posts a second | µs of processor time a post |\n|---|---|---|");
    for size in [1, 16, 64, 512, 4096] {
        let (_dir, runtime, store) = open();
        let mut users = Users { users: 200, next: 1 };
        run(&runtime, &store, &mut users, size, 0.3);
        let (rate, cost) = run(&runtime, &store, &mut users, size, 2.0);
        println!("| {size} | {rate:.0} | {cost:.2} |");
        runtime.block_on(store.close());
    }
    pages();
}

fn pages() {
    println!("\n| entries a page | pages a second | µs of processor time an entry |\n|---|---|---|");
    let (_dir, runtime, store) = open();
    let mut users = Users { users: 200, next: 1 };
    for _ in 0..400 {
        runtime.block_on(store.append(users.batch(500)));
    }
    for (stored, limit) in [("recent", 20), ("recent", 1_000), ("in the index", 20), ("in the index", 1_000)]
    {
        if stored == "in the index" {
            runtime.block_on(store.checkpoint()).unwrap();
        }
        let (start, busy, mut count) = (Instant::now(), processor_time(), 0);
        while start.elapsed().as_secs_f64() < 1.0 {
            let after = Version(i64::try_from(count % 7).unwrap() * 100);
            let timeline = posts::user(&format!("user-{:06}", count % 100));
            let read = Read { timeline, after, until: None, limit, max_bytes: 1 << 20, least: None };
            let page = runtime.block_on(store.read(vec![read])).remove(0).unwrap();
            assert!(page.entries.len() >= limit.min(300), "{}", page.entries.len());
            count += 1;
        }
        let rate = f64::from(u32::try_from(count).unwrap()) / start.elapsed().as_secs_f64();
        let entries = f64::from(u32::try_from(count * limit).unwrap());
        println!("| {limit}, {stored} | {rate:.0} | {:.2} |", (processor_time() - busy) * 1e6 / entries);
    }
}

fn grow(messages: i64, user_count: i64) {
    println!(
        "| messages | µs of processor time a post, since the line above | resident MiB | bytes on disk a post |\n|---|---|---|---|"
    );
    let (dir, runtime, store) = open();
    let mut users = Users { users: user_count, next: 1 };
    let mut busy = processor_time();
    for step in 1..=10 {
        while users.next <= messages / 10 * step {
            for answer in runtime.block_on(store.append(users.batch(512))) {
                answer.unwrap();
            }
        }
        let (now, stored) = (processor_time(), float(users.next));
        let bytes = float(i64::try_from(bytes_in(dir.path())).unwrap());
        println!(
            "| {} | {:.2} | {:.0} | {:.0} |",
            users.next - 1,
            (now - busy) * 1e6 / float(messages / 10),
            resident(),
            bytes / stored
        );
        busy = now;
    }
    let start = Instant::now();
    runtime.block_on(store.close());
    println!("closed in {:.1} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let store = runtime.block_on(LogStore::open(dir.path().join("store"))).unwrap();
    println!("opened in {:.1} s", start.elapsed().as_secs_f64());
    drop(store);
    let start = Instant::now();
    std::fs::remove_dir_all(dir.path().join("store/index")).unwrap();
    let _store = runtime.block_on(LogStore::open(dir.path().join("store"))).unwrap();
    println!("opened without an index in {:.1} s", start.elapsed().as_secs_f64());
}

/// Appends for so many seconds. Messages a second, and microseconds of processor time a message.
fn run(runtime: &Runtime, store: &LogStore, users: &mut Users, size: usize, seconds: f64) -> (f64, f64) {
    let (start, mut spent, mut stored) = (Instant::now(), (0.0, 0.0), 0_u32);
    while start.elapsed().as_secs_f64() < seconds {
        // Making posts is not the store's cost.
        let batch = users.batch(size);
        let (busy, begin) = (processor_time(), Instant::now());
        assert!(runtime.block_on(store.append(batch)).iter().all(Result::is_ok));
        spent = (spent.0 + processor_time() - busy, spent.1 + begin.elapsed().as_secs_f64());
        stored += u32::try_from(size).unwrap();
    }
    (f64::from(stored) / spent.1, spent.0 * 1e6 / f64::from(stored))
}

struct Users {
    users: i64,
    next: i64,
}

impl Users {
    fn batch(&mut self, size: usize) -> Vec<Post> {
        let first = self.next;
        self.next += i64::try_from(size).unwrap();
        (first..self.next)
            .map(|n| {
                let (from, to) = (n * 7_919 % self.users, n * 104_729 % self.users);
                posts::direct(&format!("user-{from:06}"), &format!("user-{to:06}"), n << 11, 100)
            })
            .collect()
    }
}

fn open() -> (tempfile::TempDir, Runtime, LogStore) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let runtime = Runtime::new().unwrap();
    let store = runtime.block_on(LogStore::open(dir.path().join("store"))).unwrap();
    (dir, runtime, store)
}

/// Seconds of processor time that the process took.
fn processor_time() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    float(now.tv_sec) + float(now.tv_nsec) * 1e-9
}

/// Resident memory in MiB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    let kib: u32 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    f64::from(kib) / 1024.0
}

fn bytes_in(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let size = |entry: std::fs::DirEntry| match entry.file_type().unwrap().is_dir() {
        true => bytes_in(&entry.path()),
        false => entry.metadata().unwrap().blocks() * 512,
    };
    entries.map(size).sum()
}

#[allow(clippy::cast_precision_loss)]
fn float(number: i64) -> f64 {
    number as f64
}
