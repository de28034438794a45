use futures::future::BoxFuture;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::Mutex;

use super::Fault;

/// The one connection that writes. Callers get it in the order in which they asked.
#[derive(Debug)]
pub(super) struct Writer {
    slot: Mutex<Slot>,
    options: SqliteConnectOptions,
}

#[derive(Debug)]
enum Slot {
    Ready(SqliteConnection),
    /// In use, or its last transaction did not end well.
    Empty,
    Closed,
}

impl Writer {
    /// A writer that starts with `connection` and makes others with `options`.
    pub(super) fn new(connection: SqliteConnection, options: SqliteConnectOptions) -> Self {
        Self { slot: Mutex::new(Slot::Ready(connection)), options }
    }

    /// Does `work` in a transaction and commits it.
    ///
    /// If anything fails, or the future is dropped, the transaction is rolled back and its connection closed; the next call opens
    /// another. (SQLite ends a transaction by itself on some errors, behind the driver's back: such a connection could
    /// not be trusted to begin the next one.)
    pub(super) async fn transact<T, W>(&self, work: W) -> Result<T, Fault>
    where
        W: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, Fault>>,
    {
        let mut slot = self.slot.lock().await;
        let mut connection = match std::mem::replace(&mut *slot, Slot::Empty) {
            Slot::Ready(connection) => connection,
            Slot::Empty => self.options.connect().await?,
            Slot::Closed => {
                *slot = Slot::Closed;
                return Err(Fault::Closed);
            }
        };
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let done = work(&mut transaction).await?;
        transaction.commit().await?;
        *slot = Slot::Ready(connection);
        Ok(done)
    }

    /// Waits for the transaction that runs and closes the connection.
    pub(super) async fn close(&self) {
        let slot = std::mem::replace(&mut *self.slot.lock().await, Slot::Closed);
        if let Slot::Ready(connection) = slot
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the database did not close cleanly; the next start recovers it");
        }
    }
}
