//! The embedded store: one SQLite database in WAL mode.
//!
//! # Durability
//! Every append is one transaction, and its `COMMIT` is fsynced (`synchronous=FULL`) before the answer: what was
//! acknowledged outlives a crash of the process and of the machine, as far as the disk tells the truth about fsync. Appends wait for one writer in
//! the order of their calls; a bigger batch makes better use of each fsync (see
//! [`GroupCommit`](im_core::logic::group_commit)). Readers never wait for the writer.
//!
//! # Cost
//! A batch takes the same dozen statements whether it has 1 post or 64, and grows by a few for every 256 rows: lookups and inserts
//! are multi-row, with five fixed sizes so that every statement is prepared once.
//!
//! # One process
//! A lock file beside the database (`<path>.lock`) keeps a second server out. The operating system releases it when the process ends,
//! however it ends.
//!
//! # Rows
//! A message is stored once, in `messages`, under its send key; `entries` says at which version of whose timeline it stands.
//! `owners` gives users and groups their numbers and holds the heads. The schema, commented, is in `migrations/sqlite/`.
//!
//! # One of several databases
//! It can be one database of a [sharded store](crate::layer::sharding): halves of messages are rows of `messages` too, and `outbox` says which of them have
//! to be delivered.
//!
//! Buckets of owners can be moved from it and to it: `buckets` says which it owns.
//!
//! # Copies
//! [`Export`](im_core::storage::Export) reads messages in the order of storing. [`SqliteOptions::import`] begins a database that is unfinished, and is
//! not opened as a store, until its [`SqliteImport`] is finished.
//!
//! # Failures
//! A full disk, an I/O error, a busy database and a passed deadline are
//! [`Unavailable`](im_core::storage::StoreErrorKind::Unavailable), which is retryable; the connection that saw it is
//! closed and the next call opens another. Rows that this adapter does not write are [`Corrupt`](im_core::storage::StoreErrorKind::Corrupt).

mod append;
mod blocklist;
mod buckets;
mod conversations;
mod cursors;
mod epochs;
mod export;
mod fault;
mod import;
mod lookup;
mod nodes;
mod open;
mod options;
mod outbox;
mod read;
mod rows;
mod timelines;
mod writer;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use im_core::storage::StoreError;
use sqlx::SqlitePool;

pub use import::SqliteImport;
pub use open::OpenError;
pub use options::SqliteOptions;

use crate::lock::FileLock;
use fault::Fault;
use writer::Writer;

/// A [`Store`](im_core::storage::Store) in one SQLite database.
///
/// Needs a tokio runtime with time enabled. Share it as `Arc<SqliteStore>`.
///
/// ```
/// use im_core::storage::Timelines;
/// use im_store::sqlite::SqliteStore;
///
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let dir = tempfile::tempdir()?;
/// let store = SqliteStore::open(dir.path().join("im.db")).await?;
/// assert!(store.append(Vec::new()).await.is_empty());
/// store.close().await;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct SqliteStore {
    writer: Writer,
    readers: SqlitePool,
    deadline: Duration,
    /// Held until the store is closed or dropped. Fields drop in order: the connections go first.
    lock: Mutex<Option<FileLock>>,
}

impl SqliteStore {
    /// Opens the database at `path` with the default options, and creates it if there is none.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(path: impl Into<std::path::PathBuf>) -> Result<Self, OpenError> {
        SqliteOptions::new(path).open().await
    }

    /// Waits for the calls that run, then closes the database and lets another server have it. Calls after it are `Unavailable`.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the store open, or some of its calls `Unavailable`. Repeating goes on; another server can have the database after that, or when the
    /// store is dropped.
    pub async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Bounds a call in time and puts its failure into the store's words.
    async fn within<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, StoreError> {
        let outcome = tokio::time::timeout(self.deadline, call).await;
        outcome.unwrap_or(Err(Fault::DeadlinePassed)).map_err(|fault| fault.into_error(operation))
    }
}
