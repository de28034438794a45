//! Posts stored a second, by batch size, each batch one durable commit: `cargo bench -p im-store --features sqlite`.
//!
//! A post is a direct message of 200 bytes: one message, two timeline entries, two conversations. Databases lie in cargo's
//! target directory, so that the disk is a disk.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../tests/sqlite/posts.rs"]
#[allow(dead_code)]
mod posts;

use std::sync::atomic::{AtomicI64, Ordering};

use divan::counter::ItemsCount;
use im_core::id::Version;
use im_core::storage::{Post, Read, Timelines};
use im_store::sqlite::SqliteStore;
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

const USERS: i64 = 1_000;

fn batch(first: i64, size: usize) -> Vec<Post> {
    let post = |n: i64| {
        let (from, to) = (n * 7_919 % USERS, n * 104_729 % USERS + USERS);
        posts::direct(&format!("user {from}"), &format!("user {to}"), n, 200)
    };
    (first..).take(size).map(post).collect()
}

fn database() -> (tempfile::TempDir, Runtime, SqliteStore) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let runtime = Runtime::new().unwrap();
    let store = runtime.block_on(SqliteStore::open(dir.path().join("im.db"))).unwrap();
    (dir, runtime, store)
}

#[divan::bench(args = [1, 64, 512], sample_count = 60)]
fn append(bencher: divan::Bencher<'_, '_>, size: usize) {
    let (_dir, runtime, store) = database();
    let next = AtomicI64::new(1);
    let fresh = || batch(next.fetch_add(i64::try_from(size).unwrap(), Ordering::Relaxed), size);
    bencher.counter(ItemsCount::new(size)).with_inputs(fresh).bench_local_values(|posts| {
        assert!(runtime.block_on(store.append(posts)).iter().all(Result::is_ok));
    });
}

#[divan::bench(args = [1, 20, 200])]
fn read_newest(bencher: divan::Bencher<'_, '_>, limit: usize) {
    let (_dir, runtime, store) = database();
    for first in 0..20 {
        runtime.block_on(store.append(batch(first * 1_000 + 1, 1_000)));
    }
    runtime.block_on(store.append((100_001..100_301).map(|n| posts::direct("a", "b", n, 200)).collect()));
    let after = Version(300 - i64::try_from(limit).unwrap());
    let read = || {
        vec![Read { timeline: posts::user("b"), after, until: None, limit, max_bytes: 1 << 20, least: None }]
    };
    bencher.counter(ItemsCount::new(limit)).with_inputs(read).bench_local_values(|read| {
        assert_eq!(runtime.block_on(store.read(read)).remove(0).unwrap().entries.len(), limit);
    });
}
