//! A client's local store in one SQLite file: WAL mode, fsynced at every commit.
//!
//! What [`LocalStore::enqueue`] and [`LocalStore::apply`] answered outlives a crash of the process and of the machine. The file belongs to one
//! user and is open in one process at a time: SQLite's own lock keeps a second one out, and goes when the process ends, however it ends.
//!
//! ```
//! use im_core::client::LocalStore;
//! use im_core::id::Uid;
//! use im_store::sqlite_local::SqliteLocalStore;
//!
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = tempfile::tempdir()?;
//! let store = SqliteLocalStore::open(&dir.path().join("alice.db"), &Uid::new("alice")?).await?;
//! assert!(store.load().await?.outgoing.is_empty());
//! store.close().await;
//! # Ok(()) }
//! ```

mod epochs;
mod fault;
mod open;
mod rows;

use async_trait::async_trait;
use im_core::client::{EarlierEntry, EarlierPlace, LocalEntry, LocalStore, Outgoing, Saved};
use im_core::id::{ClientMsgId, StoreEpoch, Version};
use im_core::storage::StoreError;
use sqlx::SqlitePool;

pub use open::OpenLocalError;

use fault::Fault;

/// A [`LocalStore`] in SQLite. Needs a tokio runtime with time enabled.
#[derive(Clone, Debug)]
pub struct SqliteLocalStore {
    /// One connection, which holds the file's lock.
    pool: SqlitePool,
}

impl SqliteLocalStore {
    /// Waits for the calls that run, then closes the file. Calls after it are `Unavailable`.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn try_load(&self) -> Result<Saved, Fault> {
        let mut transaction = self.pool.begin().await?;
        let (epoch, cursor, has_earlier) =
            sqlx::query_as("SELECT epoch, cursor, EXISTS (SELECT 1 FROM earlier) FROM state")
                .fetch_one(&mut *transaction)
                .await?;
        let rows: Vec<rows::OutgoingRow> = sqlx::query_as(
            "SELECT client_msg_id, receiver, content_type, content FROM outgoing ORDER BY place",
        )
        .fetch_all(&mut *transaction)
        .await?;
        let outgoing = rows.into_iter().map(rows::outgoing).collect::<Result<_, _>>()?;
        Ok(Saved { epoch: StoreEpoch(epoch), cursor: Version(cursor), has_earlier, outgoing })
    }

    async fn try_enqueue(&self, messages: Vec<Outgoing>) -> Result<(), Fault> {
        let mut transaction = self.pool.begin().await?;
        for message in messages {
            sqlx::query(
                "INSERT INTO outgoing (client_msg_id, receiver, content_type, content) VALUES (?, ?, ?, ?) \
                 ON CONFLICT (client_msg_id) DO NOTHING",
            )
            .bind(message.client_msg_id.as_str().as_bytes())
            .bind(message.to.as_str().as_bytes())
            .bind(message.content_type.0)
            .bind(&message.content[..])
            .execute(&mut *transaction)
            .await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn try_settle(&self, messages: Vec<ClientMsgId>) -> Result<(), Fault> {
        let mut transaction = self.pool.begin().await?;
        for message in messages {
            sqlx::query("DELETE FROM outgoing WHERE client_msg_id = ?")
                .bind(message.as_str().as_bytes())
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn try_apply(&self, entries: Vec<LocalEntry>, cursor: Version) -> Result<(), Fault> {
        let mut transaction = self.pool.begin().await?;
        let has_earlier: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM earlier)").fetch_one(&mut *transaction).await?;
        for entry in entries {
            if has_earlier {
                rows::take_earlier(&entry).execute(&mut *transaction).await?;
            }
            rows::insert(&entry).execute(&mut *transaction).await?;
        }
        sqlx::query("UPDATE state SET cursor = max(cursor, ?)")
            .bind(cursor.0)
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    async fn try_read(&self, after: Version, limit: usize) -> Result<Vec<LocalEntry>, Fault> {
        let rows: Vec<rows::EntryRow> = sqlx::query_as(
            "SELECT version, msgid, kind, sender, target, client_msg_id, content_type, content, sent_at, withdrawn_at \
             FROM entries WHERE version > ? ORDER BY version LIMIT ?",
        )
        .bind(after.0)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(rows::entry).collect()
    }
}

#[async_trait]
impl LocalStore for SqliteLocalStore {
    async fn load(&self) -> Result<Saved, StoreError> {
        self.try_load().await.map_err(|fault| fault.into_error("load"))
    }

    async fn enqueue(&self, messages: Vec<Outgoing>) -> Result<(), StoreError> {
        self.try_enqueue(messages).await.map_err(|fault| fault.into_error("enqueue"))
    }

    async fn settle(&self, messages: Vec<ClientMsgId>) -> Result<(), StoreError> {
        self.try_settle(messages).await.map_err(|fault| fault.into_error("settle"))
    }

    async fn begin_epoch(&self, epoch: StoreEpoch) -> Result<(), StoreError> {
        self.try_begin_epoch(epoch).await.map_err(|fault| fault.into_error("begin_epoch"))
    }

    async fn recognise(&self, entries: &[LocalEntry]) -> Result<Vec<bool>, StoreError> {
        self.try_recognise(entries).await.map_err(|fault| fault.into_error("recognise"))
    }

    async fn apply(&self, entries: Vec<LocalEntry>, cursor: Version) -> Result<(), StoreError> {
        self.try_apply(entries, cursor).await.map_err(|fault| fault.into_error("apply"))
    }

    async fn read(&self, after: Version, limit: usize) -> Result<Vec<LocalEntry>, StoreError> {
        self.try_read(after, limit).await.map_err(|fault| fault.into_error("read"))
    }

    async fn earlier(&self, before: EarlierPlace, limit: usize) -> Result<Vec<EarlierEntry>, StoreError> {
        self.try_earlier(before, limit).await.map_err(|fault| fault.into_error("earlier"))
    }
}
