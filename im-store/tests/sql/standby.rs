//! A standby that commits wait for, and that is away.

use std::time::{Duration, Instant};

use im_core::storage::{Placed, Post, StoreErrorKind, Timelines};
use im_store::sql::{SqlOptions, SqlStore};
use im_test_servers::Postgres;

use crate::posts::{assert_sound, direct, entries};

/// Short, so that the time is soon up several times over.
const DEADLINE: Duration = Duration::from_secs(1);

async fn append(store: &SqlStore, post: &Post) -> Option<Placed> {
    match store.append(vec![post.clone()]).await.remove(0) {
        Ok(placed) => Some(placed),
        Err(error) => {
            assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
            None
        }
    }
}

fn configure(server: &Postgres, change: &str) {
    server.execute(&format!("ALTER SYSTEM {change}"));
    server.execute("SELECT pg_reload_conf()");
}

/// The wait for a standby is not ended by a statement's time-out, nor by the client's going away: what was committed here alone would be found when it is
/// sent again, and acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_standby_of_postgresql_has_is_not_acknowledged_and_not_seen() {
    let server = Postgres::start();
    let options = SqlOptions::new(server.database("standby")).call_deadline(DEADLINE);
    let store = options.lock_timeout(DEADLINE / 2).open().await.unwrap();
    let post = |n| direct("alice", "bob", n, 100);
    append(&store, &post(1)).await.unwrap();

    configure(&server, "SET synchronous_standby_names = '*'");
    // The server takes a moment to take note.
    let mut acked = 1;
    while append(&store, &post(acked + 1)).await.is_some() {
        acked += 1;
    }
    let acked_entries = usize::try_from(acked).unwrap();
    let away = Instant::now();
    while away.elapsed() < DEADLINE * 4 {
        assert_eq!(append(&store, &post(acked + 1)).await, None, "it is sent again, and nobody has it");
        assert_eq!(entries(&store, "bob").await.len(), acked_entries, "nobody sees it");
    }

    configure(&server, "RESET synchronous_standby_names");
    let back = Instant::now();
    while append(&store, &post(acked + 1)).await.is_none() {
        assert!(back.elapsed() < Duration::from_secs(10), "it goes on by itself");
    }
    assert_eq!(entries(&store, "bob").await.len(), acked_entries + 1);
    assert_sound(&store, "bob").await;
}
