//! The SQLite local store against the contract, and what its file refuses.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use async_trait::async_trait;
use im_core::client::{EarlierPlace, LocalStore, Saved};
use im_core::id::{StoreEpoch, Uid, Version};
use im_core::testing::conformance::{LocalStoreBench, run_local_store_suite};
use im_store::sqlite_local::{OpenLocalError, SqliteLocalStore};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{SqlSafeStr, SqlitePool};
use tempfile::TempDir;

struct Bench {
    dir: TempDir,
}

#[async_trait]
impl LocalStoreBench for Bench {
    async fn open(&self) -> Arc<dyn LocalStore> {
        Arc::new(open(&self.dir, "alice").await.unwrap())
    }

    async fn reopen(&self, store: Arc<dyn LocalStore>) -> Arc<dyn LocalStore> {
        // The connection's thread gives the lock back a moment after the drop; opening waits for it.
        drop(store);
        self.open().await
    }
}

async fn open(dir: &TempDir, user: &str) -> Result<SqliteLocalStore, OpenLocalError> {
    SqliteLocalStore::open(&dir.path().join("local.db"), &Uid::new(user).unwrap()).await
}

#[tokio::test]
async fn sqlite_keeps_the_contract() {
    let report = run_local_store_suite(|| Bench { dir: tempfile::tempdir().unwrap() }).await;
    report.record("SQLite", "local store");
    assert!(report.passed(), "{report}");
}

#[tokio::test]
async fn a_second_client_is_kept_out() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(&dir, "alice").await.unwrap();
    assert!(matches!(open(&dir, "alice").await, Err(OpenLocalError::InUse { .. })));
    first.close().await;
    assert!(open(&dir, "alice").await.is_ok());
}

#[tokio::test]
async fn another_user_is_kept_out() {
    let dir = tempfile::tempdir().unwrap();
    open(&dir, "alice").await.unwrap().close().await;
    assert!(
        matches!(open(&dir, "bob").await, Err(OpenLocalError::OtherUser { owner, .. }) if owner == "alice")
    );
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = vec![b'x'; 8192];
    std::fs::write(dir.path().join("local.db"), &bytes).unwrap();
    assert!(matches!(open(&dir, "alice").await, Err(OpenLocalError::Damaged { .. })));
    assert_eq!(std::fs::read(dir.path().join("local.db")).unwrap(), bytes);
}

/// A file as the first version of the schema left it: alice holds one entry, of three that there were, and has a message to send.
async fn make_first_version(dir: &TempDir) {
    let file = dir.path().join("local.db");
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    let sql = include_str!("../migrations/sqlite_local/0001_local.sql");
    let first = Migration::new(1, "local".into(), MigrationType::Simple, sql.into_sql_str(), false);
    Migrator::with_migrations(vec![first]).run(&pool).await.unwrap();
    for statement in [
        "INSERT INTO state VALUES (1, CAST('alice' AS BLOB), 3)",
        "INSERT INTO entries VALUES (3, 7, 1006, CAST('bob' AS BLOB), CAST('ualice' AS BLOB), NULL, 0, x'00', 5, NULL)",
        "INSERT INTO outgoing VALUES (1, CAST('id' AS BLOB), CAST('bob' AS BLOB), 0, x'00')",
    ] {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    pool.close().await;
}

#[tokio::test]
async fn a_file_from_before_there_were_epochs_is_of_epoch_0() {
    let dir = tempfile::tempdir().unwrap();
    make_first_version(&dir).await;
    let store = open(&dir, "alice").await.unwrap();
    let Saved { epoch, cursor, has_earlier, outgoing } = store.load().await.unwrap();
    assert_eq!((epoch, cursor, has_earlier, outgoing.len()), (StoreEpoch(0), Version(3), false, 1));
    let held = store.read(Version::ZERO, 9).await.unwrap();
    assert_eq!(held.len(), 1);
    store.begin_epoch(StoreEpoch(5)).await.unwrap();
    assert_eq!(store.recognise(&held).await.unwrap(), [true]);
    assert_eq!(store.earlier(EarlierPlace::END, 9).await.unwrap()[0].entry, held[0]);
    assert_eq!(store.load().await.unwrap().outgoing.len(), 1);
    store.close().await;
}
