//! Openings where the page cache has more than the disk: nothing of it is believed, and nothing acknowledged goes with it.

#[path = "../../tests/sqlite/posts.rs"]
#[allow(dead_code)]
mod posts;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use im_core::id::StoreEpoch;
use im_core::storage::{Epochs as _, Post, Timelines as _};
use im_core::time::Timestamp;

use self::posts::{assert_sound, direct, entries, ten};
use super::disk::{Disk, RealDisk};
use super::segment;
use super::{LogOptions, LogStore, OpenError};

/// A cache in front of the disk. A file itself is what the cache has of it.
#[derive(Debug, Default)]
struct Cache {
    /// What the disk has of the files of which the cache has something else.
    disk: Mutex<BTreeMap<PathBuf, Vec<u8>>>,
    /// How many files report that they could not be written.
    failing: Mutex<usize>,
    names_synced: Mutex<BTreeSet<PathBuf>>,
}

impl Cache {
    fn over(files: impl IntoIterator<Item = (PathBuf, Vec<u8>)>) -> Arc<Self> {
        Arc::new(Self { disk: Mutex::new(files.into_iter().collect()), ..Self::default() })
    }

    fn drop_all(&self) {
        let files = std::mem::take(&mut *self.disk.lock().unwrap());
        files.into_iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    }
}

impl Disk for Cache {
    fn open(&self, path: &Path) -> io::Result<File> {
        let mut failing = self.failing.lock().unwrap();
        if let Some(fewer) = failing.checked_sub(1) {
            *failing = fewer;
            return Err(io::Error::other("the device refused a write"));
        }
        if let Some(bytes) = self.disk.lock().unwrap().remove(path) {
            fs::write(path, bytes)?;
        }
        RealDisk.open(path)
    }

    fn sync_names(&self, dir: &Path) -> io::Result<()> {
        self.names_synced.lock().unwrap().insert(dir.to_owned());
        RealDisk.sync_names(dir)
    }
}

fn options(dir: &Path) -> LogOptions {
    LogOptions::new(dir.join("store")).segment_bytes(64 << 10)
}

async fn open_over(cache: &Arc<Cache>, dir: &Path) -> Result<LogStore, OpenError> {
    LogOptions { disk: cache.clone(), ..options(dir) }.open().await
}

fn segment_of(dir: &Path, number: u32) -> PathBuf {
    segment::path(&dir.join("store/log"), number)
}

/// Messages from alice to bob with these numbers.
fn batch(numbers: std::ops::RangeInclusive<i64>, size: usize) -> Vec<Post> {
    numbers.map(|n| direct("alice", "bob", n, size)).collect()
}

/// How many of the posts the store had already.
async fn append(store: &LogStore, posts: Vec<Post>) -> usize {
    let answers = store.append(posts).await;
    answers.into_iter().filter(|answer| answer.as_ref().unwrap().repeated).count()
}

async fn assert_has(store: &LogStore, count: i64) {
    for name in ["alice", "bob"] {
        assert_sound(store, name).await;
        let found: Vec<_> = entries(store, name).await.iter().map(|entry| entry.message.msgid.0).collect();
        assert_eq!(found, (1..=count).collect::<Vec<_>>(), "{name}'s messages");
    }
}

/// Sends the last messages again after a start, and one more. All of that is there when the cache is gone.
async fn assert_keeps_what_it_acks(dir: &Path, cache: &Arc<Cache>, has: i64, again: Vec<Post>) {
    let store = open_over(cache, dir).await.unwrap();
    assert_has(&store, has).await;
    let count = has + i64::try_from(again.len()).unwrap();
    assert_eq!(append(&store, again).await, 0, "a repeat is answered from what the disk lacks");
    append(&store, batch(count + 1..=count + 1, 100)).await;
    drop(store);
    cache.drop_all();
    assert_has(&options(dir).open().await.unwrap(), count + 1).await;
}

#[tokio::test]
async fn a_batch_that_only_the_cache_has_is_sent_again_and_stays() {
    // The second one makes the file grow.
    for size in [100, 40_000] {
        let dir = tempfile::tempdir().unwrap();
        let store = options(dir.path()).open().await.unwrap();
        append(&store, batch(1..=3, 100)).await;
        let disk = fs::read(segment_of(dir.path(), 1)).unwrap();
        append(&store, batch(4..=4, size)).await;
        drop(store);
        let cache = Cache::over([(segment_of(dir.path(), 1), disk)]);
        assert_keeps_what_it_acks(dir.path(), &cache, 3, batch(4..=4, size)).await;
    }
}

#[tokio::test]
async fn a_seal_that_only_the_cache_has_does_not_end_its_segment() {
    let dir = tempfile::tempdir().unwrap();
    let store = options(dir.path()).open().await.unwrap();
    let mut count = 0;
    while !segment_of(dir.path(), 2).exists() {
        append(&store, ten(count + 1)).await;
        count += 10;
    }
    drop(store);
    // The device failed when the seal was to be written, and the process was killed.
    let [sealed, next] = [1, 2].map(|number| segment_of(dir.path(), number));
    File::options().write(true).open(next).unwrap().set_len(segment::HEADER).unwrap();
    let mut disk = fs::read(&sealed).unwrap();
    let end = disk.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    disk[end - 40..].fill(0);
    let cache = Cache::over([(sealed, disk)]);
    assert_keeps_what_it_acks(dir.path(), &cache, count - 10, ten(count - 9)).await;
}

#[tokio::test]
async fn an_index_and_an_epoch_that_only_the_cache_has_are_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join("store").join(name);
    let store = options(dir.path()).open().await.unwrap();
    append(&store, batch(1..=3, 100)).await;
    store.bump_epoch(Timestamp(0)).await.unwrap();
    store.checkpoint().await.unwrap();
    let files = ["index/manifest", "epoch", "log/00000001.log"].map(path);
    let files = files.map(|path| (path.clone(), fs::read(path).unwrap()));
    append(&store, batch(4..=6, 100)).await;
    store.bump_epoch(Timestamp(0)).await.unwrap();
    store.checkpoint().await.unwrap();
    drop(store);
    let cache = Cache::over(files);
    let store = open_over(&cache, dir.path()).await.unwrap();
    assert_eq!(store.epoch().await.unwrap(), StoreEpoch(1));
    drop(store);
    assert_keeps_what_it_acks(dir.path(), &cache, 3, batch(4..=6, 100)).await;
}

#[tokio::test]
async fn a_file_that_could_not_be_written_fails_the_opening_and_not_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = options(dir.path()).open().await.unwrap();
    append(&store, batch(1..=3, 100)).await;
    drop(store);
    let cache = Cache::over([]);
    *cache.failing.lock().unwrap() = 1;
    let refused = open_over(&cache, dir.path()).await;
    assert!(matches!(refused, Err(OpenError::Io { .. })), "{refused:?}");
    assert_has(&open_over(&cache, dir.path()).await.unwrap(), 3).await;
}

#[tokio::test]
async fn the_names_of_all_files_are_synced_before_anything_is_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::over([]);
    let _store = open_over(&cache, dir.path()).await.unwrap();
    let expected = ["store", "store/index", "store/log"].map(|name| dir.path().join(name));
    assert_eq!(cache.names_synced.lock().unwrap().iter().collect::<Vec<_>>(), expected.each_ref());
}
