//! What fails is said to have failed, nothing that was acknowledged goes with it, and the store works again afterwards.

use std::path::Path;
use std::time::{Duration, Instant};

use im_core::storage::{Bucket, Buckets as _, StoreErrorKind, Timelines};
use im_store::sqlite::{SqliteOptions, SqliteStore};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use crate::posts::{assert_sound, direct, entries, fill, ten, user};

/// Another program that holds the database's write lock.
async fn intruder(path: &Path) -> SqliteConnection {
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
    connection
}

#[tokio::test]
async fn a_full_disk_is_a_retryable_error_that_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("im.db");
    let small = SqliteOptions::new(&path).max_bytes(400_000).open().await.unwrap();
    let acked = fill(&small).await;
    assert!(acked > 50, "only {acked} posts fit");
    assert_eq!(entries(&small, "bob").await.len(), usize::try_from(acked).unwrap());
    assert!(small.append(ten(acked + 1)).await[0].is_err(), "it is still full");
    small.close().await;

    let large = SqliteStore::open(&path).await.unwrap();
    for answer in large.append(ten(acked + 1)).await {
        answer.unwrap();
    }
    assert_eq!(large.heads(vec![user("bob")]).await.unwrap()[0].head.0, acked + 10);
    assert_sound(&large, "alice").await;
    assert_sound(&large, "bob").await;
}

#[tokio::test]
async fn a_full_disk_with_room_again_takes_appends_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("im.db");
    let store = SqliteOptions::new(&path).max_bytes(400_000).open().await.unwrap();
    // Somebody else's data takes room and then gives it back.
    let mut other = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    for statement in ["CREATE TABLE ballast (bytes BLOB)", "INSERT INTO ballast VALUES (zeroblob(150000))"] {
        sqlx::query(statement).execute(&mut other).await.unwrap();
    }
    let acked = fill(&store).await;
    sqlx::query("DROP TABLE ballast").execute(&mut other).await.unwrap();
    for answer in store.append(ten(acked + 1)).await {
        answer.unwrap();
    }
    assert_sound(&store, "bob").await;
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_and_the_next_one_works() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("im.db");
    let options = SqliteOptions::new(&path).busy_timeout(Duration::from_secs(30));
    let store = options.call_deadline(Duration::from_millis(200)).open().await.unwrap();
    let intruder = intruder(&path).await;

    let start = Instant::now();
    let answer = store.append(ten(1)).await.remove(0);
    assert_eq!(answer.unwrap_err().kind(), StoreErrorKind::Unavailable);
    assert!(start.elapsed() < Duration::from_secs(3), "it took {:?}", start.elapsed());

    intruder.close().await.unwrap();
    let mut answer = store.append(ten(1)).await.remove(0);
    // The write lock may pass through the call that was given up.
    for _ in 0..20 {
        if answer.is_err() {
            answer = store.append(ten(1)).await.remove(0);
        }
    }
    answer.unwrap();
    assert_sound(&store, "bob").await;
}

#[tokio::test]
async fn reads_go_on_while_another_program_holds_the_write_lock() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("im.db");
    let store = SqliteStore::open(&path).await.unwrap();
    store.append(ten(1)).await.remove(0).unwrap();
    let _intruder = intruder(&path).await;
    assert_eq!(entries(&store, "bob").await.len(), 10);
}

#[tokio::test]
async fn a_closed_store_is_unavailable() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path().join("im.db")).await.unwrap();
    store.close().await;
    let answer = store.append(ten(1)).await.remove(0);
    assert_eq!(answer.unwrap_err().kind(), StoreErrorKind::Unavailable);
    let answer = store.heads(vec![user("bob")]).await;
    assert_eq!(answer.unwrap_err().kind(), StoreErrorKind::Unavailable);
}

/// A fence that ended, behind which somebody wrote, and that a clock set back makes hold again.
#[tokio::test]
async fn a_fence_that_was_over_does_not_hold_again_when_the_clock_is_set_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("im.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let id = store.next_move().await.unwrap();
    store.depart(id, vec![Bucket::of(&user("alice"))], 1).await.unwrap();
    let lease = Duration::from_millis(200);
    store.fence(id, lease).await.unwrap();
    tokio::time::sleep(lease * 2).await;
    store.append(vec![direct("alice", "alice", 1, 50)]).await.remove(0).unwrap();
    let mut clock = intruder(&path).await;
    sqlx::query("UPDATE buckets SET until_ms = until_ms + 3600000").execute(&mut clock).await.unwrap();
    sqlx::query("COMMIT").execute(&mut clock).await.unwrap();
    clock.close().await.unwrap();
    let released = store.release(id).await;
    assert_eq!(released.map_err(|error| error.kind()), Err(StoreErrorKind::LeaseLost));
    store.append(vec![direct("alice", "alice", 2, 50)]).await.remove(0).unwrap();
}
