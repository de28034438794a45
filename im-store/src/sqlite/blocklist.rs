use std::sync::LazyLock;

use async_trait::async_trait;
use im_core::id::Uid;
use im_core::storage::{Block, Blocklist, StoreError};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::rows::{Query, Rows};
use super::{Fault, SqliteStore, lookup};

static BLOCK: LazyLock<Rows> =
    LazyLock::new(|| Rows::new(2, "INSERT OR IGNORE INTO blocklist (owner, other)", ""));

pub(super) const UNBLOCK: &str = "DELETE FROM blocklist WHERE owner = ? AND other = ?";

pub(super) static BLOCKED: LazyLock<Rows> = LazyLock::new(|| {
    Rows::new(
        3,
        "WITH q(n, owner, other) AS (",
        ") SELECT q.n FROM q CROSS JOIN blocklist b ON b.owner = q.owner AND b.other = q.other",
    )
});

pub(super) const PAGE: &str =
    "SELECT other FROM blocklist WHERE owner = ? AND other > ? ORDER BY other LIMIT ?";

#[async_trait]
impl Blocklist for SqliteStore {
    async fn block(&self, blocks: Vec<Block>) -> Result<(), StoreError> {
        if blocks.is_empty() {
            return Ok(());
        }
        let block = self.writer.transact(|connection| Box::pin(block(connection, blocks)));
        self.within("block", block).await
    }

    async fn unblock(&self, blocks: Vec<Block>) -> Result<(), StoreError> {
        if blocks.is_empty() {
            return Ok(());
        }
        let unblock = self.writer.transact(|connection| Box::pin(unblock(connection, blocks)));
        self.within("unblock", unblock).await
    }

    async fn blocked(&self, blocks: Vec<Block>) -> Result<Vec<bool>, StoreError> {
        let there = async {
            let mut connection = self.readers.acquire().await?;
            let queries = BLOCKED.numbered(&blocks, bind);
            let found = lookup::answers(&mut connection, queries, blocks.len(), |_| Ok(())).await?;
            Ok(found.iter().map(Option::is_some).collect())
        };
        self.within("blocked", there).await
    }

    async fn list_blocked(
        &self,
        owner: &Uid,
        after: Option<&Uid>,
        limit: usize,
    ) -> Result<Vec<Uid>, StoreError> {
        let page = async {
            // No uid is empty.
            let after = after.map(bytes).unwrap_or_default();
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let query = sqlx::query(PAGE).bind(bytes(owner)).bind(after).bind(limit);
            query.fetch_all(&self.readers).await?.iter().map(other).collect()
        };
        self.within("list_blocked", page).await
    }
}

async fn block(connection: &mut SqliteConnection, blocks: Vec<Block>) -> Result<(), Fault> {
    for query in BLOCK.queries(&blocks, bind) {
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

async fn unblock(connection: &mut SqliteConnection, blocks: Vec<Block>) -> Result<(), Fault> {
    for block in &blocks {
        bind(sqlx::query(UNBLOCK), block).execute(&mut *connection).await?;
    }
    Ok(())
}

fn bind(query: Query, block: &Block) -> Query {
    query.bind(bytes(&block.owner)).bind(bytes(&block.other))
}

fn bytes(uid: &Uid) -> Vec<u8> {
    uid.as_str().as_bytes().to_vec()
}

fn other(row: &SqliteRow) -> Result<Uid, Fault> {
    let name = std::str::from_utf8(row.try_get(0)?).ok().and_then(|name| Uid::new(name).ok());
    name.ok_or(Fault::BadRow("blocklist.other"))
}
