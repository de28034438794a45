use std::fmt;
use std::time::Duration;

use super::{OpenError, SqlImport, SqlStore, import, open};

/// How to open a [`SqlStore`].
#[derive(Clone)]
pub struct SqlOptions {
    pub(super) url: String,
    pub(super) deadline: Duration,
    pub(super) lock_timeout: Duration,
    pub(super) connections: u32,
    pub(super) one_of_several: bool,
}

/// A URL has a password.
impl fmt::Debug for SqlOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, deadline, lock_timeout, connections, one_of_several } = self;
        f.debug_struct("SqlOptions")
            .field("deadline", deadline)
            .field("lock_timeout", lock_timeout)
            .field("connections", connections)
            .field("one_of_several", one_of_several)
            .finish_non_exhaustive()
    }
}

impl SqlOptions {
    /// The defaults, for the database at `url`: `mysql://USER:PASSWORD@HOST:PORT/DATABASE` (MariaDB too), or
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE`. The database has to exist; its tables are made.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            deadline: Duration::from_secs(5),
            lock_timeout: Duration::from_secs(2),
            connections: 8,
            one_of_several: false,
        }
    }

    /// How long any call may take, its wait for a connection included; then it is `Unavailable`, and its connection is cut. 5 s: as long as a client
    /// waits for an ack before it resends.
    #[must_use]
    pub fn call_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long a statement waits for a row that another transaction has locked, in whole seconds where the database is MySQL; then the call is
    /// `Unavailable`. 2 s: less than the deadline, so that the error names the cause.
    #[must_use]
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// How many connections are open at most, at least 1. 8: a batch keeps one busy, and a database with so few processors as connections does not
    /// gain by more. The database's own limit has to allow for all servers together.
    #[must_use]
    pub fn connections(mut self, connections: u32) -> Self {
        self.connections = connections.max(1);
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

    /// Opens the database: makes or migrates its tables, which several servers may do at the same time, and warns if a setting of the database's lets
    /// it lose what it has committed. Its server has to take writes, also later: reads and writes are `Unavailable` while it is read-only.
    ///
    /// # Cancel safety
    /// Dropping the future, and a crash, leave the tables made or not, each step of theirs whole. Repeating is harmless.
    ///
    /// # Errors
    /// [`OpenError`], with [`OpenError::ReadOnly`] for a server that took no writes for ten seconds.
    pub async fn open(self) -> Result<SqlStore, OpenError> {
        open::open(self).await
    }

    /// Opens a replica of a database, for a [`ReplicatedStore`](crate::layer::replica::ReplicatedStore) to read from: nothing is made, migrated or written, the
    /// database and its user may be read-only, and whatever would write is `Unavailable`. The tables have to be those of this version of the library.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// [`OpenError`], with [`OpenError::Older`] for tables that are not there yet: migrate the primary, and wait until the replica has followed.
    pub async fn open_replica(self) -> Result<SqlStore, OpenError> {
        open::open_replica(self).await
    }

    /// Begins an import into the database, and makes its tables. One that holds nothing will do; of an earlier import that was not finished, everything
    /// is removed. No server may have it open. Only the URL of the options is used.
    ///
    /// # Cancel safety
    /// Dropping the future, and a crash, leave the database empty, or an unfinished copy. Repeating is harmless.
    ///
    /// # Errors
    /// [`OpenError`], with [`OpenError::NotEmpty`] for a store that holds something, and [`OpenError::OneOfSeveral`] for one of several databases, also if that is empty.
    pub async fn import(self) -> Result<SqlImport, OpenError> {
        import::begin(self).await
    }
}
