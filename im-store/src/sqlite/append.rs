use std::sync::LazyLock;

use im_core::storage::{Part, Placed, StoreError};
use sqlx::{Row, SqliteConnection};

use super::rows::{Query, Rows};
use super::{Fault, SqliteStore, buckets, lookup};
use crate::sql::halves::{Sent, Standing};
use crate::sql::plan::{
    self, ConversationRow, EntryRow, Known, MessageRow, OddPlaceRow, OutboxRow, OwnerRow, Plan,
};

impl SqliteStore {
    /// Stores a batch in one transaction: look up, decide, insert, commit.
    pub(super) async fn place(&self, parts: Vec<Part>) -> Result<Vec<Result<Placed, StoreError>>, Fault> {
        self.writer.transact(|connection| Box::pin(place(connection, parts))).await
    }
}

async fn place(
    connection: &mut SqliteConnection,
    parts: Vec<Part>,
) -> Result<Vec<Result<Placed, StoreError>>, Fault> {
    let known = known(&mut *connection, &parts).await?;
    let plan = plan::plan(parts, known);
    store(connection, &plan).await?;
    Ok(plan.answers)
}

/// What the database has that concerns a batch.
async fn known(connection: &mut SqliteConnection, parts: &[Part]) -> Result<Known, Fault> {
    let timelines = plan::owners_of(parts);
    let rows = lookup::owners(&mut *connection, &timelines).await?;
    let owners = timelines.into_iter().zip(rows).filter_map(|(timeline, row)| {
        let row = row?;
        Some((timeline, row.known(true)))
    });
    let owners = owners.collect();
    let sends = sends(&mut *connection, parts).await?;
    let standing = standing(&mut *connection, parts).await?;
    let (last_owner, last_message) = last_numbers(&mut *connection).await?;
    let refused = refused(connection, parts).await?;
    Ok(Known { owners, sends, standing, refused, last_owner, last_message })
}

/// For each part, whether a bucket that it writes to is not here, or is fenced.
async fn refused(connection: &mut SqliteConnection, parts: &[Part]) -> Result<Vec<bool>, Fault> {
    let ownership = buckets::ownership(connection).await?;
    Ok(parts.iter().map(|part| ownership.refuses_any(|| plan::concerned(part))).collect())
}

/// For each part, what is stored under its key.
async fn sends(connection: &mut SqliteConnection, parts: &[Part]) -> Result<Vec<Option<Sent>>, Fault> {
    let keys = plan::keys_of(parts);
    let asked: Vec<_> = keys.iter().flatten().cloned().collect();
    let mut sends = lookup::sends(connection, &asked).await?.into_iter();
    Ok(keys.into_iter().map(|key| key.and_then(|_| sends.next().flatten())).collect())
}

/// For each part, what stands under its msgid in one of the timelines that it writes.
async fn standing(connection: &mut SqliteConnection, parts: &[Part]) -> Result<Vec<Option<Standing>>, Fault> {
    let (places, of) = plan::places_of(parts);
    let found = lookup::standing(connection, &places).await?;
    let mut standing = vec![None; parts.len()];
    for (number, found) in of.into_iter().zip(found) {
        standing[number] = found.or_else(|| standing[number].take());
    }
    Ok(standing)
}

/// The greatest numbers of an owner and of a message, also of one that was removed.
pub(super) async fn last_numbers(connection: &mut SqliteConnection) -> Result<(i64, i64), Fault> {
    let last = "SELECT (SELECT max(id) FROM owners), \
                max(coalesce((SELECT max(id) FROM messages), 0), (SELECT last_message FROM bucket_map))";
    let last = sqlx::query(last).fetch_one(connection).await?;
    let (owner, message) = (last.try_get::<Option<i64>, _>(0)?, last.try_get::<Option<i64>, _>(1)?);
    Ok((owner.unwrap_or(0), message.unwrap_or(0)))
}

/// Inserts a plan's rows.
pub(super) async fn store(connection: &mut SqliteConnection, plan: &Plan) -> Result<(), Fault> {
    let mut queries = MESSAGES.queries(&plan.messages, bind_message);
    queries.extend(ODD_PLACES.queries(&plan.odd_places, bind_odd_place));
    queries.extend(OWNERS.queries(&plan.owners, bind_owner));
    queries.extend(ENTRIES.queries(&plan.entries, bind_entry));
    queries.extend(CONVERSATIONS.queries(&plan.conversations, bind_conversation));
    queries.extend(OUTBOX.queries(&plan.outbox, bind_outbox));
    for query in queries {
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

static MESSAGES: LazyLock<Rows> = LazyLock::new(|| {
    Rows::new(
        13,
        "INSERT INTO messages (id, msgid, kind, sender, target, send_key, digest, content_type, content, \
         sent_at, withdrawn_at, home, copy) SELECT * FROM (",
        ") WHERE column1 IS NOT NULL",
    )
});

fn bind_message(query: Query, row: &MessageRow) -> Query {
    query
        .bind(row.id)
        .bind(row.msgid.0)
        .bind(i64::from(row.kind))
        .bind(row.sender)
        .bind(row.target)
        .bind(row.send_key.clone())
        .bind(row.digest.to_vec())
        .bind(row.content_type)
        .bind(row.content.to_vec())
        .bind(row.sent_at)
        .bind(row.withdrawn_at)
        .bind(row.home.0)
        .bind(row.copy.map(|version| version.0))
}

static ODD_PLACES: LazyLock<Rows> = LazyLock::new(|| {
    Rows::new(
        3,
        "INSERT INTO odd_places (message, home_owner, copy_owner) SELECT * FROM (",
        ") WHERE column1 IS NOT NULL",
    )
});

fn bind_odd_place(query: Query, row: &OddPlaceRow) -> Query {
    query.bind(row.message).bind(row.home).bind(row.copy)
}

/// New owners, and new heads of old ones.
static OWNERS: LazyLock<Rows> = LazyLock::new(|| {
    Rows::new(
        3,
        "INSERT INTO owners (id, name, head) SELECT * FROM (",
        ") WHERE column1 IS NOT NULL ON CONFLICT DO UPDATE SET head = excluded.head",
    )
});

fn bind_owner(query: Query, row: &OwnerRow) -> Query {
    query.bind(row.id).bind(row.name.clone()).bind(row.head.0)
}

static ENTRIES: LazyLock<Rows> = LazyLock::new(|| {
    Rows::new(
        4,
        "INSERT INTO entries (owner, version, msgid, message) SELECT * FROM (",
        ") WHERE column1 IS NOT NULL",
    )
});

fn bind_entry(query: Query, row: &EntryRow) -> Query {
    query.bind(row.owner).bind(row.version.0).bind(row.msgid.0).bind(row.message)
}

/// A batch with an own entry (`read_version` above 0) starts the count anew after it; one without adds to it.
static CONVERSATIONS: LazyLock<Rows> = LazyLock::new(|| {
    Rows::new(
        7,
        "INSERT INTO conversations (owner, peer, last_version, last_msgid, last_at, read_version, unread) \
         SELECT * FROM (",
        ") WHERE column1 IS NOT NULL ON CONFLICT DO UPDATE SET last_version = excluded.last_version, \
         last_msgid = excluded.last_msgid, last_at = excluded.last_at, \
         unread = excluded.unread + iif(excluded.read_version > 0, 0, unread), \
         read_version = max(read_version, excluded.read_version)",
    )
});

fn bind_conversation(query: Query, row: &ConversationRow) -> Query {
    query
        .bind(row.owner)
        .bind(row.peer)
        .bind(row.last_version.0)
        .bind(row.last_msgid.0)
        .bind(row.last_at)
        .bind(row.read_version.0)
        .bind(row.unread)
}

static OUTBOX: LazyLock<Rows> = LazyLock::new(|| {
    Rows::new(
        3,
        "INSERT INTO outbox (message, sender, into_owner) SELECT * FROM (",
        ") WHERE column1 IS NOT NULL",
    )
});

fn bind_outbox(query: Query, row: &OutboxRow) -> Query {
    query.bind(row.message).bind(row.sender).bind(row.into)
}
