use std::time::Duration;

use im_core::storage::StoreError;

use super::driver::Pool;
use super::heads::Heads;
use super::{Fault, OpenError, SqlOptions, promise};

/// A [`Store`](im_core::storage::Store) in a MySQL, MariaDB or PostgreSQL database, which any number of servers may share.
///
/// Needs a tokio runtime with time enabled. Share it as `Arc<SqlStore>`.
#[derive(Debug)]
pub struct SqlStore {
    pub(super) pool: Pool,
    pub(super) deadline: Duration,
    pub(super) heads: Heads,
}

impl SqlStore {
    /// Opens the database at `url` with the default options; see [`SqlOptions::new`].
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(url: impl Into<String>) -> Result<Self, OpenError> {
        SqlOptions::new(url).open().await
    }

    /// Settings of the database's, in words, by which it may lose what it has committed when it crashes or fails over to a replica; none if it may not. Opening it
    /// logs them. What the database's user may not see counts as well set.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn weak_settings(&self) -> Result<Vec<String>, StoreError> {
        self.within("weak_settings", promise::weak_settings(&self.pool)).await
    }

    /// Waits for the calls that run, then closes all connections. Calls after it are `Unavailable`.
    ///
    /// # Cancel safety
    /// Dropping the future while calls run leaves the store open. Repeating is harmless.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Bounds a call in time and puts its failure into the store's words.
    pub(super) async fn within<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, StoreError> {
        let outcome = tokio::time::timeout(self.deadline, call).await;
        outcome.unwrap_or(Err(Fault::DeadlinePassed)).map_err(|fault| fault.into_error(operation))
    }
}
