//! The SQLite local store against the contract, and what its file refuses.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use async_trait::async_trait;
use im_core::client::LocalStore;
use im_core::id::Uid;
use im_core::testing::conformance::{LocalStoreBench, run_local_store_suite};
use im_store::sqlite_local::{OpenLocalError, SqliteLocalStore};
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
