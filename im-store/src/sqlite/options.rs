use std::path::PathBuf;
use std::time::Duration;

use super::{OpenError, SqliteImport, SqliteStore, import, open};

/// How to open a [`SqliteStore`].
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    pub(super) path: PathBuf,
    pub(super) busy_timeout: Duration,
    pub(super) deadline: Duration,
    pub(super) readers: u32,
    pub(super) max_bytes: Option<u64>,
    pub(super) one_of_several: bool,
}

impl SqliteOptions {
    /// The defaults, for the database file at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            busy_timeout: Duration::from_secs(2),
            deadline: Duration::from_secs(5),
            readers: 4,
            max_bytes: None,
            one_of_several: false,
        }
    }

    /// How long to wait for the lock of another program, a backup say, that uses the database. 2 s: less than the deadline, so
    /// that the error names the cause.
    #[must_use]
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// How long any call may take, its wait for the writer included; then it is `Unavailable`. 5 s: as long as a
    /// client waits for an ack before it resends.
    #[must_use]
    pub fn call_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How many calls read at a time, at least 1. 4: reads come from the page cache, more would only compete for the processors.
    #[must_use]
    pub fn readers(mut self, readers: u32) -> Self {
        self.readers = readers.max(1);
        self
    }

    /// The most that the database file may take; appends are `Unavailable` beyond. None: the disk is the limit.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Opens a database also if it is one of several: for a [`ShardedStore`](crate::layer::sharding::ShardedStore), which looks whether all are there and each at its place, and
    /// for programs that look at one alone. Without this such a database does not open, because it would be served as if it were all: users who are kept in another would
    /// seem to be new.
    #[must_use]
    pub fn one_of_several(mut self) -> Self {
        self.one_of_several = true;
        self
    }

    /// Opens the database, and creates it if there is none. Its directory has to exist.
    ///
    /// # Cancel safety
    /// Dropping the future, and a crash, leave the tables made or not, each step of theirs whole. Repeating is harmless.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(self) -> Result<SqliteStore, OpenError> {
        open::open(self).await
    }

    /// Begins an import into the database, and creates it if there is none. One that holds nothing will do; of an earlier import
    /// that was not finished, everything is removed. The deadline and the readers are not used.
    ///
    /// # Cancel safety
    /// Dropping the future, and a crash, leave the database empty, or an unfinished copy. Repeating is harmless.
    ///
    /// # Errors
    /// [`OpenError`], with [`OpenError::NotEmpty`] for a store that holds something, and [`OpenError::OneOfSeveral`] for one of several databases, also if that is empty.
    pub async fn import(self) -> Result<SqliteImport, OpenError> {
        import::begin(self).await
    }
}
