//! What fails is said to have failed, nothing that was acknowledged goes with it, and the store works again afterwards.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use im_core::storage::{Export, ExportPage, Row, StoreErrorKind, Timelines};
use im_store::log::{LogOptions, LogStore, OpenError};

use crate::files::{Files, append, assert_has, batch, open, options, segment};
use crate::posts::{assert_sound, direct, entries, fill, ten, user};

#[tokio::test]
async fn a_full_store_is_a_retryable_error_that_loses_nothing() {
    let files = Files::new();
    let small = options(files.original()).max_bytes(300_000).open().await.unwrap();
    let acked = fill(&small).await;
    assert!(acked > 100, "only {acked} posts fit");
    assert_eq!(entries(&small, "bob").await.len(), usize::try_from(acked).unwrap());
    assert!(small.append(ten(acked + 1)).await[0].is_err(), "it is still full");
    small.close().await;

    let larger = open(files.original()).await;
    append(&larger, ten(acked + 1)).await;
    assert_eq!(larger.heads(vec![user("bob")]).await.unwrap()[0].head.0, acked + 10);
    assert_sound(&larger, "alice").await;
    assert_sound(&larger, "bob").await;
}

#[tokio::test]
async fn a_closed_store_is_unavailable() {
    let files = Files::new();
    let store = open(files.original()).await;
    store.close().await;
    let answer = store.append(batch(1, 1)).await.remove(0);
    assert_eq!(answer.unwrap_err().kind(), StoreErrorKind::Unavailable);
    let answer = store.heads(vec![user("bob")]).await;
    assert_eq!(answer.unwrap_err().kind(), StoreErrorKind::Unavailable);
    assert!(store.checkpoint().await.is_err());
    store.close().await;
}

#[tokio::test]
async fn more_than_may_wait_is_unavailable_at_once_and_the_rest_is_written() {
    let files = Files::new();
    let store = options(files.original()).queue_bytes(10_000).open().await.unwrap();
    let calls = (0..200).map(|n| store.append(ten(n * 10 + 1)));
    let answers = futures::future::join_all(calls).await;
    let failed = answers.iter().filter(|answers| answers[0].is_err()).count();
    assert!(failed > 0 && failed < 200, "{failed}");
    let stored = (200 - failed) * 10;
    assert_eq!(entries(&store, "bob").await.len(), stored);
    assert_sound(&store, "alice").await;
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_and_is_written_all_the_same_or_not() {
    let files = Files::new();
    let store = options(files.original()).call_deadline(Duration::ZERO).open().await.unwrap();
    let answer = store.append(batch(1, 1)).await.remove(0);
    assert!(answer.is_ok() || answer.unwrap_err().kind() == StoreErrorKind::Unavailable);
    drop(store);
    let store = open(files.original()).await;
    append(&store, batch(1, 1)).await;
    assert_has(&store, 1).await;
}

#[tokio::test]
async fn a_second_server_on_the_same_store_is_refused() {
    let files = Files::new();
    let first = open(files.original()).await;
    let error = LogStore::open(files.original()).await.unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("another server is running on {}", files.original().display()));
    drop(first);
    LogStore::open(files.original()).await.unwrap();
}

#[tokio::test]
async fn a_new_store_is_for_its_owner_alone() {
    let files = Files::new();
    let store = open(files.original()).await;
    append(&store, batch(1, 1)).await;
    store.close().await;
    let mut seen = 0;
    for dir in ["", "log", "index"] {
        let dir = files.original().join(dir);
        for path in fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).chain([dir.clone()]) {
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            let is_lock = path.extension().is_some_and(|kind| kind == "lock");
            assert!(mode & 0o077 == 0 || is_lock, "{} has mode {mode:o}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 8, "{seen}");
}

#[tokio::test]
async fn a_directory_whose_parent_is_not_there_is_an_io_error() {
    let dir = tempfile::tempdir().unwrap();
    let error = LogOptions::new(dir.path().join("nowhere/store")).open().await.unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
}

/// A store that moves every message into the index, and that cannot write the index.
async fn without_an_index(files: &Files) -> LogStore {
    let store = options(files.original()).checkpoint_messages(1).open().await.unwrap();
    fs::create_dir(files.original().join("index/manifest.new")).unwrap();
    append(&store, batch(1, 1)).await;
    store
}

#[tokio::test]
async fn a_store_that_cannot_write_its_index_can_be_closed() {
    let files = Files::new();
    let store = without_an_index(&files).await;
    tokio::time::timeout(Duration::from_secs(20), store.close()).await.unwrap();
    fs::remove_dir(files.original().join("index/manifest.new")).unwrap();
    assert_has(&open(files.original()).await, 1).await;
}

#[tokio::test]
async fn tries_to_write_the_index_leave_nothing_on_the_disk() {
    let files = Files::new();
    let store = without_an_index(&files).await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let names = fs::read_dir(files.original().join("index")).unwrap().map(|file| file.unwrap().file_name());
    let tables = names.filter(|name| name.to_string_lossy().ends_with(".table")).count();
    assert!(tables <= 1, "{tables} tables that are of no use");
    drop(store);
}

#[tokio::test]
async fn while_the_index_cannot_be_written_memory_is_bounded_and_appends_go_on_afterwards() {
    let files = Files::new();
    let store = without_an_index(&files).await;
    let mut acked = 1;
    let refused = loop {
        match &store.append(batch(acked + 1, 1)).await[0] {
            Ok(_) => acked += 1,
            Err(error) => break error.kind(),
        }
        assert!(acked < 1_000, "as much as comes is kept in memory");
    };
    assert_eq!(refused, StoreErrorKind::Unavailable);
    fs::remove_dir(files.original().join("index/manifest.new")).unwrap();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_has(&store, acked).await;
}

#[tokio::test]
async fn an_import_that_does_not_get_far_leaves_nothing_that_a_server_takes_for_its_store() {
    let files = Files::new();
    fs::create_dir(files.original()).unwrap();
    // What makes the import fail when its log is there already.
    fs::write(files.original().join("index"), "").unwrap();
    assert!(options(files.original()).import().await.is_err());
    assert!(files.original().join("log").is_dir());
    fs::remove_file(files.original().join("index")).unwrap();
    let opened = options(files.original()).open().await;
    assert!(matches!(opened, Err(OpenError::Unfinished { .. })), "{opened:?}");
    assert!(options(files.original()).import().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_close_is_not_waited_for_is_in_use_until_all_is_written() {
    let files = Files::new();
    let store = std::sync::Arc::new(open(files.original()).await);
    let writing = store.clone();
    let write =
        async move { writing.append((1..=3_000).map(|n| direct("alice", "bob", n, 10_000)).collect()).await };
    tokio::time::timeout(Duration::from_millis(1), write).await.unwrap_err();
    tokio::time::timeout(Duration::from_millis(1), store.close()).await.unwrap_err();
    drop(store);
    let next = loop {
        match options(files.original()).open().await {
            Err(OpenError::InUse { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
            opened => break opened.unwrap(),
        }
    };
    assert_eq!(entries(&next, "bob").await.len(), 3_000);
}

#[tokio::test]
async fn who_asks_for_an_index_that_cannot_be_written_does_not_hold_up_appends() {
    let files = Files::new();
    let store = without_an_index(&files).await;
    let asked = tokio::time::timeout(Duration::from_secs(3), store.checkpoint()).await;
    assert!(!matches!(asked, Ok(Ok(()))), "{asked:?}");
    append(&store, batch(2, 1)).await;
}

#[tokio::test]
async fn a_batch_behind_the_last_acknowledged_one_is_not_read_out() {
    let mut files = Files::new();
    let store = open(files.original()).await;
    append(&store, batch(1, 3)).await;
    // What a batch leaves whose sync fails: it is all there, and was never acknowledged.
    let other = files.copy();
    let ahead = open(&other).await;
    append(&ahead, batch(4, 1)).await;
    fs::copy(segment(&other, 1), segment(&files.original(), 1)).unwrap();
    let page = ExportPage { after: None, limit: 1_000, max_bytes: usize::MAX };
    let rows = store.export(page).await.unwrap().rows;
    assert_eq!(rows.iter().filter(|row| matches!(row, Row::Post(_))).count(), 3);
}
