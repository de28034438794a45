//! Batched lookups, inside and outside of transactions.

use std::sync::LazyLock;

use futures::TryStreamExt;
use im_core::id::{MsgId, Uid, Version};
use im_core::message::{SendKey, Target, TimelineId};
use im_core::storage::Head;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::Fault;
use super::rows::{Query, Rows};
use crate::name;
use crate::sql::halves::{self, Sent, Standing};
use crate::sql::plan::KnownOwner;

/// An owner's row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) id: i64,
    pub(super) head: Head,
}

impl Owner {
    pub(super) fn known(self, has_timeline: bool) -> KnownOwner {
        let Head { floor, head } = self.head;
        KnownOwner { id: self.id, floor, head, has_timeline }
    }
}

static OWNERS: LazyLock<Rows> = LazyLock::new(|| {
    Rows::new(
        2,
        "WITH q(n, name) AS (",
        ") SELECT q.n, o.id, o.floor, o.head FROM q CROSS JOIN owners o ON o.name = q.name",
    )
});

static SENDS: LazyLock<Rows> = LazyLock::new(|| {
    Rows::new(
        3,
        "WITH q(n, name, send_key) AS (",
        ") SELECT q.n, m.digest, m.msgid, m.sent_at, m.home, m.copy \
         FROM q CROSS JOIN owners o ON o.name = q.name \
         CROSS JOIN messages m ON m.sender = o.id AND m.send_key = q.send_key",
    )
});

static PLACES: LazyLock<Rows> = LazyLock::new(|| {
    Rows::new(
        3,
        "WITH q(n, name, msgid) AS (",
        ") SELECT q.n, e.version FROM q CROSS JOIN owners o ON o.name = q.name \
         CROSS JOIN entries e ON e.owner = o.id AND e.msgid = q.msgid",
    )
});

static STANDING: LazyLock<Rows> = LazyLock::new(|| {
    Rows::new(
        3,
        "WITH q(n, name, msgid) AS (",
        ") SELECT q.n, e.version, s.name, m.send_key FROM q CROSS JOIN owners o ON o.name = q.name \
         CROSS JOIN entries e ON e.owner = o.id AND e.msgid = q.msgid \
         CROSS JOIN messages m ON m.id = e.message CROSS JOIN owners s ON s.id = m.sender",
    )
});

/// The rows of owners, in the order asked.
pub(super) async fn owners(
    connection: &mut SqliteConnection,
    timelines: &[TimelineId],
) -> Result<Vec<Option<Owner>>, Fault> {
    let queries = OWNERS.numbered(timelines, |query, timeline| query.bind(name::of(timeline)));
    answers(connection, queries, timelines.len(), owner).await
}

/// The owner in the columns 1 to 3.
pub(super) fn owner(row: &SqliteRow) -> Result<Owner, Fault> {
    let head = Head { floor: Version(row.try_get(2)?), head: Version(row.try_get(3)?) };
    Ok(Owner { id: row.try_get(1)?, head })
}

/// What is stored under send keys, in the order asked.
pub(super) async fn sends(
    connection: &mut SqliteConnection,
    keys: &[(Uid, SendKey)],
) -> Result<Vec<Option<Sent>>, Fault> {
    let queries =
        SENDS.numbered(keys, |query, (uid, key)| query.bind(name::of_user(uid)).bind(key.to_bytes()));
    answers(connection, queries, keys.len(), |row| {
        let numbers = [row.try_get(2)?, row.try_get(3)?, row.try_get(4)?];
        Sent::of_row(row.try_get(1)?, numbers, row.try_get(5)?).ok_or(Fault::BadRow("messages.digest"))
    })
    .await
}

/// What stands under msgids in timelines, in the order asked.
pub(super) async fn standing(
    connection: &mut SqliteConnection,
    messages: &[(TimelineId, MsgId)],
) -> Result<Vec<Option<Standing>>, Fault> {
    let queries =
        STANDING.numbered(messages, |query, (timeline, msgid)| query.bind(name::of(timeline)).bind(msgid.0));
    answers(connection, queries, messages.len(), |row| {
        let Some(Target::User(from)) = name::parse(row.try_get(2)?) else {
            return Err(Fault::BadRow("messages.sender"));
        };
        let key = halves::send_key(row.try_get(3)?).ok_or(Fault::BadRow("messages.send_key"))?;
        Ok(Standing { version: Version(row.try_get(1)?), from, key })
    })
    .await
}

/// The versions of messages in timelines, in the order asked.
pub(super) async fn places(
    connection: &mut SqliteConnection,
    messages: &[(TimelineId, MsgId)],
) -> Result<Vec<Option<Version>>, Fault> {
    let queries =
        PLACES.numbered(messages, |query, (timeline, msgid)| query.bind(name::of(timeline)).bind(msgid.0));
    answers(connection, queries, messages.len(), |row| Ok(Version(row.try_get(1)?))).await
}

/// Runs numbered queries and puts each row where its first column says.
pub(super) async fn answers<T>(
    connection: &mut SqliteConnection,
    queries: Vec<Query>,
    count: usize,
    read: impl Fn(&SqliteRow) -> Result<T, Fault>,
) -> Result<Vec<Option<T>>, Fault> {
    let mut answers: Vec<Option<T>> = Vec::new();
    answers.resize_with(count, || None);
    for query in queries {
        let mut rows = query.fetch(&mut *connection);
        while let Some(row) = rows.try_next().await? {
            let number = usize::try_from(row.try_get::<i64, _>(0)?).ok();
            let answer = number.and_then(|number| answers.get_mut(number));
            *answer.ok_or(Fault::BadRow("the number of a question"))? = Some(read(&row)?);
        }
    }
    Ok(answers)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sqlite::{SqliteStore, blocklist, conversations, cursors, export, outbox, read};

    /// Every statement that looks something up.
    fn statements() -> Vec<&'static str> {
        let mut statements = vec![read::ENTRIES, conversations::PAGE];
        statements.extend([&OWNERS, &SENDS, &STANDING, &PLACES, &cursors::LISTS].map(|rows| rows.text()));
        statements.extend([&outbox::OF, &outbox::REMOVE].map(|rows| rows.text()));
        statements.extend([outbox::AFTER, outbox::SETTLE, blocklist::UNBLOCK, blocklist::PAGE]);
        statements.push(blocklist::BLOCKED.text());
        statements.extend([export::TIMELINES, export::POSTS, export::CURSORS, export::NODES]);
        statements
    }

    #[tokio::test]
    async fn every_lookup_goes_by_an_index() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(dir.path().join("im.db")).await.unwrap();
        for statement in statements() {
            let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
            let plan = sqlx::query(explain).fetch_all(&store.readers).await.unwrap();
            let steps: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
            let searches = steps.iter().filter(|step| step.starts_with("SEARCH")).count();
            let scans = steps.iter().filter(|step| step.starts_with("SCAN"));
            assert!(searches > 0, "{statement}: {steps:?}");
            // Only the questions themselves are walked through.
            let small = |step: &String| step == "SCAN q" || step.ends_with("ROW");
            assert!(scans.into_iter().all(small), "{statement}: {steps:?}");
        }
    }
}
