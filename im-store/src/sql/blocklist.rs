use std::collections::HashSet;

use async_trait::async_trait;
use im_core::id::Uid;
use im_core::storage::{Block, Blocklist, StoreError};

use super::driver::{Column, Row, Session, Value};
use super::statement::{Both, Insert, Keyed, Text};
use super::tries::Tries;
use super::{Fault, SqlStore};

static BLOCK: Insert = Insert::new(
    "blocklist",
    &["owner", "other"],
    Both { mysql: "ON DUPLICATE KEY UPDATE owner = VALUES(owner)", postgres: "ON CONFLICT DO NOTHING" },
);

static UNBLOCK: Keyed = Keyed::new(Both::same("DELETE FROM blocklist WHERE {keys}"), &["owner", "other"]);

static BLOCKED: Keyed =
    Keyed::new(Both::same("SELECT b.owner, b.other FROM blocklist b WHERE {keys}"), &["b.owner", "b.other"]);

static PAGE: Text =
    Text::new("SELECT b.other FROM blocklist b WHERE b.owner = ? AND b.other > ? ORDER BY b.other LIMIT ?");

#[async_trait]
impl Blocklist for SqlStore {
    async fn block(&self, blocks: Vec<Block>) -> Result<(), StoreError> {
        self.within("block", self.change_blocks(blocks, Change::Block)).await
    }

    async fn unblock(&self, blocks: Vec<Block>) -> Result<(), StoreError> {
        self.within("unblock", self.change_blocks(blocks, Change::Unblock)).await
    }

    async fn blocked(&self, blocks: Vec<Block>) -> Result<Vec<bool>, StoreError> {
        let there = async {
            let mut session = self.pool.session().await?;
            let rows = session.find(&BLOCKED, columns(&blocks)).await;
            let rows = session.settle(rows)?;
            let found = rows.iter().map(|row| Ok((row.bytes(0)?, row.bytes(1)?)));
            let found = found.collect::<Result<HashSet<_>, Fault>>()?;
            Ok(blocks
                .iter()
                .map(|block| found.contains(&(bytes(&block.owner), bytes(&block.other))))
                .collect())
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
            let after = after.map(|after| bytes(after).to_vec()).unwrap_or_default();
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let values = vec![Value::Bytes(bytes(owner).to_vec()), Value::Bytes(after), Value::Int(limit)];
            let mut session = self.pool.session().await?;
            let rows = session.select(&PAGE, values).await;
            session.settle(rows)?.iter().map(other).collect()
        };
        self.within("list_blocked", page).await
    }
}

#[derive(Clone, Copy)]
enum Change {
    Block,
    Unblock,
}

impl SqlStore {
    async fn change_blocks(&self, mut blocks: Vec<Block>, change: Change) -> Result<(), Fault> {
        // All in one order, so that nobody waits in a circle; what MySQL locks beside the rows may bring that about all the same.
        blocks.sort_unstable();
        blocks.dedup();
        let mut tries = Tries::default();
        loop {
            let mut session = self.pool.begin().await?;
            let changed = change_blocks(&mut session, &blocks, change).await;
            match session.end(changed).await {
                Err(fault) if fault.is_conflict() => tries.wait(fault).await?,
                outcome => return outcome,
            }
        }
    }
}

async fn change_blocks(session: &mut Session, blocks: &[Block], change: Change) -> Result<(), Fault> {
    match change {
        Change::Block => session.insert(&BLOCK, columns(blocks)).await,
        Change::Unblock => session.find(&UNBLOCK, columns(blocks)).await.map(drop),
    }
}

fn columns(blocks: &[Block]) -> Vec<Column> {
    vec![
        Column::blobs(blocks.iter().map(|block| bytes(&block.owner).to_vec())),
        Column::blobs(blocks.iter().map(|block| bytes(&block.other).to_vec())),
    ]
}

fn bytes(uid: &Uid) -> &[u8] {
    uid.as_str().as_bytes()
}

fn other(row: &Row) -> Result<Uid, Fault> {
    let name = std::str::from_utf8(row.bytes(0)?).ok().and_then(|name| Uid::new(name).ok());
    name.ok_or(Fault::BadRow("blocklist.other"))
}
