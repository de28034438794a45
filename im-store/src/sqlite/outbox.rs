use std::collections::BTreeMap;
use std::sync::LazyLock;

use async_trait::async_trait;
use futures::TryStreamExt;
use im_core::id::{Uid, Version};
use im_core::storage::{Intent, IntentId, Outbox, Part, Pending, Placed, StoreError};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::rows::{Query, Rows};
use super::{Fault, SqliteStore, read};
use crate::name;

#[async_trait]
impl Outbox for SqliteStore {
    async fn append_parts(&self, parts: Vec<Part>) -> Vec<Result<Placed, StoreError>> {
        let count = parts.len();
        if count == 0 {
            return Vec::new();
        }
        match self.within("append_parts", self.place(parts)).await {
            Ok(answers) => answers,
            Err(error) => vec![Err(error); count],
        }
    }

    async fn intents(&self, pending: Pending, limit: usize) -> Result<Vec<Intent>, StoreError> {
        let intents = async {
            let mut connection = self.readers.acquire().await?;
            match pending {
                Pending::Of(senders) => of(&mut connection, &senders, limit).await,
                Pending::After(id) => list(&mut connection, vec![after(id, limit)], limit).await,
            }
        };
        self.within("intents", intents).await
    }

    async fn settle(&self, settled: Vec<(IntentId, Version)>) -> Result<(), StoreError> {
        if settled.is_empty() {
            return Ok(());
        }
        let settle = self.writer.transact(|connection| Box::pin(settle(connection, settled)));
        self.within("settle", settle).await
    }
}

pub(super) static OF: LazyLock<Rows> = LazyLock::new(|| {
    Rows::new(
        2,
        "WITH q(n, name) AS (",
        ") SELECT x.id, m.msgid, m.kind, s.name, t.name, m.send_key, m.content_type, m.content, m.sent_at, i.name \
         FROM q CROSS JOIN owners s ON s.name = q.name CROSS JOIN outbox x ON x.sender = s.id \
         CROSS JOIN messages m ON m.id = x.message CROSS JOIN owners t ON t.id = m.target \
         CROSS JOIN owners i ON i.id = x.into_owner",
    )
});

pub(super) const AFTER: &str = "SELECT x.id, m.msgid, m.kind, s.name, t.name, m.send_key, m.content_type, m.content, m.sent_at, \
     i.name FROM outbox x JOIN messages m ON m.id = x.message JOIN owners s ON s.id = m.sender \
     JOIN owners t ON t.id = m.target JOIN owners i ON i.id = x.into_owner \
     WHERE x.id > ? ORDER BY x.id LIMIT ?";

fn after(id: IntentId, limit: usize) -> Query {
    sqlx::query(AFTER).bind(id.0).bind(i64::try_from(limit).unwrap_or(i64::MAX))
}

async fn of(connection: &mut SqliteConnection, senders: &[Uid], limit: usize) -> Result<Vec<Intent>, Fault> {
    let queries = OF.numbered(senders, |query, sender| query.bind(name::of_user(sender)));
    list(connection, queries, limit).await
}

/// The first of them, by number.
async fn list(
    connection: &mut SqliteConnection,
    queries: Vec<Query>,
    limit: usize,
) -> Result<Vec<Intent>, Fault> {
    let mut first = BTreeMap::new();
    for query in queries {
        let mut rows = query.fetch(&mut *connection);
        while let Some(row) = rows.try_next().await? {
            first.insert(row.try_get::<i64, _>(0)?, intent(&row)?);
            if first.len() > limit {
                first.pop_last();
            }
        }
    }
    Ok(first.into_values().collect())
}

fn intent(row: &SqliteRow) -> Result<Intent, Fault> {
    let into = name::parse(row.try_get(9)?).ok_or(Fault::BadRow("outbox.into_owner"))?;
    Ok(Intent { id: IntentId(row.try_get(0)?), message: read::message(row)?, into: name::timeline_of(&into) })
}

/// One at a time: no statement over many rows finds all of them by an index. A key alone needs its content no more.
pub(super) const SETTLE: &str = "UPDATE messages SET copy = ?, content = iif(home > 0, content, x'') \
     WHERE id = (SELECT message FROM outbox WHERE id = ?)";

pub(super) static REMOVE: LazyLock<Rows> =
    LazyLock::new(|| Rows::new(1, "DELETE FROM outbox WHERE id IN (", ")"));

async fn settle(connection: &mut SqliteConnection, settled: Vec<(IntentId, Version)>) -> Result<(), Fault> {
    // Of one that is named twice, the first counts.
    let mut first = BTreeMap::new();
    for (id, version) in settled {
        first.entry(id).or_insert(version);
    }
    let first: Vec<_> = first.into_iter().collect();
    for (id, version) in &first {
        sqlx::query(SETTLE).bind(version.0).bind(id.0).execute(&mut *connection).await?;
    }
    for query in REMOVE.queries(&first, |query, (id, _)| query.bind(id.0)) {
        query.execute(&mut *connection).await?;
    }
    Ok(())
}
