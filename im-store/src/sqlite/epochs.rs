use async_trait::async_trait;
use im_core::id::StoreEpoch;
use im_core::storage::{Epochs, StoreError};
use im_core::time::Timestamp;
use sqlx::{SqliteConnection, SqliteExecutor};

use super::{Fault, SqliteStore, nodes};

#[async_trait]
impl Epochs for SqliteStore {
    async fn epoch(&self) -> Result<StoreEpoch, StoreError> {
        self.within("epoch", held(&self.readers)).await
    }

    async fn bump_epoch(&self, now: Timestamp) -> Result<StoreEpoch, StoreError> {
        let bumped = self.writer.transact(|connection| Box::pin(bump(connection, now)));
        self.within("bump_epoch", bumped).await
    }
}

async fn held(executor: impl SqliteExecutor<'_>) -> Result<StoreEpoch, Fault> {
    Ok(StoreEpoch(sqlx::query_scalar("SELECT epoch FROM store").fetch_one(executor).await?))
}

async fn bump(connection: &mut SqliteConnection, now: Timestamp) -> Result<StoreEpoch, Fault> {
    nodes::raise_floor(connection, now).await?;
    let next = held(&mut *connection).await?.after(now);
    sqlx::query("UPDATE store SET epoch = ?").bind(next.0).execute(connection).await?;
    Ok(next)
}
