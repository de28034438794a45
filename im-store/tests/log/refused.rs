//! A real disk whose device refuses writes for a moment: what is acknowledged after the next start does not go with the page cache.

use bytes::Bytes;
use im_core::storage::{Post, Timelines};
use im_store::log::{LogStore, OpenError};
use im_test_servers::RefusingDisk;

use crate::posts::{direct, entries};

/// Posts of which no two pages of the disk are alike: the device takes pages of one and the same byte without asking for room.
fn batch(numbers: std::ops::Range<i64>, size: usize) -> Vec<Post> {
    let noise = |n: i64| {
        let mut state = n.unsigned_abs();
        let next = std::iter::repeat_with(move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        });
        next.take(size).collect::<Vec<u8>>()
    };
    let post = |n| {
        let mut post = direct("alice", "bob", n, 0);
        post.message.content = Bytes::from(noise(n));
        post
    };
    numbers.map(post).collect()
}

/// The first batch that the device refuses.
async fn until_refused(store: &LogStore, size: usize) -> (i64, Vec<Post>) {
    let mut next = 21;
    loop {
        let posts = batch(next..next + 12, size);
        if store.append(posts.clone()).await.iter().any(Result::is_err) {
            return (next, posts);
        }
        next += 12;
        assert!(next < 10_000, "the device refuses nothing");
    }
}

/// A file that reports a failed write fails the first opening.
async fn reopen(path: &std::path::Path) -> LogStore {
    match LogStore::open(path).await {
        Err(OpenError::Io { .. }) => LogStore::open(path).await.unwrap(),
        opened => opened.unwrap(),
    }
}

async fn append(store: &LogStore, posts: Vec<Post>) {
    for answer in store.append(posts).await {
        assert!(!answer.unwrap().repeated, "a refused batch is believed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_after_a_refused_write_and_a_start_outlives_the_page_cache() {
    // The larger ones make the log's file grow.
    for size in [40, 40_000] {
        let disk = match RefusingDisk::new() {
            Ok(disk) => disk,
            Err(why) => return println!("NOT TRIED on a real disk: {why}"),
        };
        let path = disk.path().join("store");
        let store = LogStore::open(&path).await.unwrap();
        append(&store, batch(1..21, 40)).await;
        disk.refuse_writes();
        let (first, refused) = until_refused(&store, size).await;
        drop(store);
        disk.take_writes();

        let store = reopen(&path).await;
        append(&store, refused).await;
        append(&store, batch(first + 12..first + 212, 40)).await;
        drop(store);
        disk.drop_cache();

        let store = LogStore::open(&path).await.unwrap();
        for name in ["alice", "bob"] {
            let found = entries(&store, name).await;
            let found: Vec<_> = found.iter().map(|entry| entry.message.msgid.0).collect();
            assert_eq!(found, (1..first + 212).collect::<Vec<_>>(), "{name}'s messages of {size} bytes");
        }
    }
}
