//! How many statements a batch takes. Alone in its file, because it listens to the whole process's log.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "sqlite/posts.rs"]
#[allow(dead_code)]
mod posts;

use std::sync::atomic::{AtomicUsize, Ordering};

use im_core::storage::Timelines;
use im_store::sqlite::SqliteStore;
use tracing::span;

static STATEMENTS: AtomicUsize = AtomicUsize::new(0);

/// Counts what the driver logs once for each statement.
struct Counter;

impl tracing::Subscriber for Counter {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        STATEMENTS.fetch_add(1, Ordering::SeqCst);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// The statements of one append of `size` posts by as many senders to as many receivers.
async fn statements_of(store: &SqliteStore, first: i64, size: i64) -> usize {
    let post = |n: i64| posts::direct(&format!("from {}", n % 300), &format!("to {}", n % 200), n, 100);
    let batch = (first..first + size).map(post).collect();
    let before = STATEMENTS.load(Ordering::SeqCst);
    for answer in store.append(batch).await {
        answer.unwrap();
    }
    STATEMENTS.load(Ordering::SeqCst) - before
}

#[tokio::test]
async fn the_statements_of_a_batch_grow_with_its_rows_by_256() {
    tracing::subscriber::set_global_default(Counter).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path().join("im.db")).await.unwrap();
    let of_1 = statements_of(&store, 1, 1).await;
    let of_64 = statements_of(&store, 1_000, 64).await;
    let of_512 = statements_of(&store, 2_000, 512).await;
    assert!((5..=16).contains(&of_1), "1 post took {of_1} statements");
    assert!(of_64 <= of_1 + 8, "64 posts took {of_64} statements, 1 took {of_1}");
    assert!(of_512 <= of_1 + 30, "512 posts took {of_512} statements, 1 took {of_1}");
}
