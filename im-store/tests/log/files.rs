//! Stores as files: as a crash leaves them, cut, changed, and opened again.

use std::fs;
use std::path::{Path, PathBuf};

use im_core::storage::{Post, Timelines};
use im_store::log::{LogOptions, LogStore, OpenError};
use tempfile::TempDir;

use crate::posts::{assert_sound, direct, entries};

/// A directory for stores, each a copy of one that was made here.
pub(crate) struct Files {
    dir: TempDir,
    copies: usize,
}

impl Files {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), copies: 0 }
    }

    /// The store that the copies are of.
    pub(crate) fn original(&self) -> PathBuf {
        self.dir.path().join("original")
    }

    /// A copy as it would be found after a crash now: an open store's files without its lock.
    pub(crate) fn copy(&mut self) -> PathBuf {
        self.copies += 1;
        let copy = self.dir.path().join(format!("copy {}", self.copies));
        copy_dir(&self.original(), &copy);
        copy
    }
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            match fs::copy(entry.path(), target) {
                // Tables go beside the calls, when they are merged.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                copied => drop(copied.unwrap()),
            }
        }
    }
}

pub(crate) fn segment(store: &Path, number: u32) -> PathBuf {
    store.join(format!("log/{number:08}.log"))
}

/// Where the written part of a segment ends.
pub(crate) fn end(store: &Path, number: u32) -> usize {
    let bytes = fs::read(segment(store, number)).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

/// Changes a file's bytes.
pub(crate) fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// A store whose files are of 64 KiB.
pub(crate) fn options(path: impl Into<PathBuf>) -> LogOptions {
    LogOptions::new(path).segment_bytes(64 << 10)
}

pub(crate) async fn open(path: impl Into<PathBuf>) -> LogStore {
    options(path).open().await.unwrap()
}

/// Messages from alice to bob with these numbers.
pub(crate) fn batch(first: i64, count: i64) -> Vec<Post> {
    (first..first + count).map(|n| direct("alice", "bob", n, 100)).collect()
}

pub(crate) async fn append(store: &LogStore, posts: Vec<Post>) {
    for answer in store.append(posts).await {
        answer.unwrap();
    }
}

/// Asserts that alice and bob have the messages from 1 to `count` and nothing else, and that the store takes more.
pub(crate) async fn assert_has(store: &LogStore, count: i64) {
    for name in ["alice", "bob"] {
        assert_sound(store, name).await;
        let found: Vec<_> = entries(store, name).await.iter().map(|entry| entry.message.msgid.0).collect();
        assert_eq!(found, (1..=count).collect::<Vec<_>>(), "{name}'s messages");
    }
    append(store, batch(count + 1, 1)).await;
}

/// Asserts that a store is not opened, because of damage.
pub(crate) async fn assert_damaged(path: &Path, why: &str) {
    match options(path).open().await {
        Err(OpenError::Damaged { .. }) => {}
        other => panic!("{why}: {other:?}"),
    }
}
