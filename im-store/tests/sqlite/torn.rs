//! A machine that loses power leaves the write-ahead log cut anywhere after what was synced. Whole batches remain.

use std::fs;
use std::path::Path;

use im_core::storage::Timelines;
use im_store::sqlite::SqliteStore;

use crate::posts::{assert_sound, direct, user};

const BATCHES: i64 = 12;
const SIZE: i64 = 7;

/// A database whose batches are all in its log still, as after a crash. Gives the log.
async fn crashed(dir: &Path) -> Vec<u8> {
    let path = dir.join("im.db");
    let store = SqliteStore::open(&path).await.unwrap();
    for batch in 0..BATCHES {
        let posts = (1..=SIZE).map(|n| direct("alice", "bob", batch * SIZE + n, 100)).collect();
        store.append(posts).await.remove(0).unwrap();
    }
    fs::copy(&path, dir.join("crashed.db")).unwrap();
    fs::read(dir.join("im.db-wal")).unwrap()
}

#[tokio::test]
async fn a_log_cut_anywhere_leaves_whole_batches() {
    let dir = tempfile::tempdir().unwrap();
    let log = crashed(dir.path()).await;
    let mut seen = Vec::new();
    for part in 0..=40 {
        let cut = log.len() * part / 40;
        let path = dir.path().join(format!("cut {part}.db"));
        fs::copy(dir.path().join("crashed.db"), &path).unwrap();
        fs::write(dir.path().join(format!("cut {part}.db-wal")), &log[..cut]).unwrap();

        let store = SqliteStore::open(&path).await.unwrap();
        assert_sound(&store, "alice").await;
        assert_sound(&store, "bob").await;
        let heads = store.heads(vec![user("alice"), user("bob")]).await.unwrap();
        assert_eq!(heads[0], heads[1], "a post stands in both timelines or in none");
        assert_eq!(heads[0].head.0 % SIZE, 0, "a batch is stored whole");
        seen.push(heads[0].head.0 / SIZE);
        store.close().await;
    }
    assert!(seen.is_sorted(), "{seen:?}");
    assert_eq!(seen.last(), Some(&BATCHES));
    seen.dedup();
    assert!(seen.len() > 5, "the cuts hit only {seen:?}");
}
