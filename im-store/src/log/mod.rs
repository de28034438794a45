//! The fast embedded store: one log of messages, and an index made from it.
//!
//! # Durability
//! A message is one record in a log, which names both its timelines and its versions in them. What waits is written together, as a batch with checksums,
//! and synced with one `fdatasync` before any of it is shown to readers or answered: what was acknowledged outlives a crash of the process and of the machine, as
//! far as the disk tells the truth about syncs. The log is the store; everything else is made from it.
//!
//! # Index
//! Where the entries of a timeline are, what moved in its conversations, and the hashes of send keys are kept in memory for what is recent, and are moved
//! into tables on the disk now and then (a checkpoint), beside the appends. Tables are never changed, only merged. An opening loads them and
//! reads the log from where they end. If they are missing or damaged, that is logged and they are made anew from the whole log.
//!
//! # Memory
//! About 100 bytes for every user and group that there is, 2 for every message (a filter for send keys), and what was appended since the
//! last checkpoint: some 40 MiB, and more while large tables are merged. While no table can be written, eight times that is kept; then appends
//! are `Unavailable`.
//!
//! # One process
//! A lock file (`store.lock`) keeps a second server out. The operating system releases it when the process ends, however it ends.
//!
//! # Copies
//! [`Export`](im_core::storage::Export) reads messages in the order of the log. [`LogOptions::import`] begins a store that is unfinished, by a file of that
//! name in its directory, and is not opened until its [`LogImport`] is finished.
//!
//! # Failures
//! A full disk is [`Unavailable`](im_core::storage::StoreErrorKind::Unavailable), and appends go on when there is room. After a failed write or sync its segment is ended where
//! it was sound, and the log goes on in a new one. An opening believes what the disk has, not what the page cache still has of a write that failed. A batch that a crash cut off is removed then, with a warning; anything else that is not what was
//! written is [`OpenError::Damaged`]. Records and tables are checked whenever they are read: a wrong one is
//! [`Corrupt`](im_core::storage::StoreErrorKind::Corrupt).

mod batch;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod cached;
mod checkpoint;
mod codec;
mod disk;
mod epoch;
mod export;
mod fault;
mod fill;
mod found;
mod hash;
mod import;
mod index;
mod manifest;
mod nodes;
mod open;
mod options;
mod owners;
mod plan;
mod queue;
mod recent;
mod record;
mod refusal;
mod replay;
mod run;
mod segment;
mod segments;
mod shared;
mod state;
mod store;
mod tail;
mod unfinished;
mod view;
mod writer;

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::channel::oneshot;

pub use import::LogImport;
pub use open::OpenError;
pub use options::LogOptions;

use crate::lock::FileLock;
use epoch::EpochFile;
use fault::Fault;
use queue::Job;
use shared::Shared;

/// A [`Store`](im_core::storage::Store) in a directory of its own.
///
/// Needs a tokio runtime with time enabled. Share it as `Arc<LogStore>`. Dropping it waits for what is being written.
///
/// ```
/// use im_core::storage::Timelines;
/// use im_store::log::LogStore;
///
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let dir = tempfile::tempdir()?;
/// let store = LogStore::open(dir.path().join("store")).await?;
/// assert!(store.append(Vec::new()).await.is_empty());
/// store.close().await;
/// # Ok(()) }
/// ```
pub struct LogStore {
    shared: Arc<Shared>,
    epoch: Arc<EpochFile>,
    deadline: Duration,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Held until the store is closed or dropped, and by the writer until it has ended: who closes a store may not wait for that.
    lock: Mutex<Option<Arc<FileLock>>>,
}

impl LogStore {
    /// Opens the store in the directory `dir` with the default options, and creates it if there is none.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(dir: impl Into<std::path::PathBuf>) -> Result<Self, OpenError> {
        LogOptions::new(dir).open().await
    }

    /// Writes what waits, brings the index up to date, and lets another server have the store. Calls after it are `Unavailable`.
    ///
    /// # Cancel safety
    /// Dropping the future closes the store all the same. Another server can have it when what waited is written and this store is dropped.
    pub async fn close(&self) {
        self.shared.queue.close();
        let writer = take(&self.writer);
        if let Some(writer) = writer {
            let ended = tokio::task::spawn_blocking(move || writer.join()).await;
            if !matches!(ended, Ok(Ok(()))) {
                tracing::error!("the store's thread panicked; the next start makes up for it from the log");
            }
        }
        take(&self.lock);
    }

    /// Moves what is recent into the index on the disk now, and waits for it. Nothing needs it; it makes the next opening quick, and tests
    /// thorough.
    ///
    /// # Errors
    /// Text for a log: the store is closed, or its disk is full.
    pub async fn checkpoint(&self) -> Result<(), im_core::storage::StoreError> {
        let (answer, written) = oneshot::channel();
        let pushed = self.shared.queue.push(Job::Checkpoint(answer));
        pushed.map_err(|fault| fault.into_error("checkpoint"))?;
        written.await.map_err(|_| Fault::Closed.into_error("checkpoint"))
    }
}

impl fmt::Debug for LogStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogStore").field("index", &self.shared.index_dir).finish_non_exhaustive()
    }
}

impl Drop for LogStore {
    fn drop(&mut self) {
        self.shared.leaving.store(true, Ordering::Relaxed);
        self.shared.queue.close();
        if let Some(writer) = take(&self.writer) {
            // A panic was logged where it happened.
            let _ = writer.join();
        }
    }
}

fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}
