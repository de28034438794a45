//! Removes what belongs to buckets that are not here. What a message was to others stays, as a half: rows are as if the owners had always been elsewhere.

use std::collections::BTreeSet;

use im_core::message::TimelineId;
use im_core::storage::{Bucket, MoveId, Place};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::super::{Fault, append, lookup, read};
use super::copy_out::{places, stands};
use super::of_move;
use super::state::BucketRow;
use crate::sql::halves;

pub(super) async fn clear(
    connection: &mut SqliteConnection,
    id: MoveId,
    limit: usize,
) -> Result<bool, Fault> {
    let rows = of_move(connection, id).await?;
    if rows.is_empty() || !rows.iter().all(BucketRow::is_elsewhere) {
        return Ok(true);
    }
    super::index(connection, usize::MAX).await?;
    let (_, last) = append::last_numbers(connection).await?;
    sqlx::query("UPDATE bucket_map SET last_message = ?").bind(last).execute(&mut *connection).await?;
    let buckets = rows.iter().map(|row| row.bucket).collect();
    let limit = i64::try_from(limit.max(1)).unwrap_or(i64::MAX);
    let done =
        entries(connection, id, &buckets, limit).await? && keys(connection, id, &buckets, limit).await?;
    match done {
        true => rest(connection, id).await.map(|()| true),
        false => Ok(false),
    }
}

/// The columns of an export's, then the owner and version of the entry.
const ENTRIES: &str = "SELECT m.id, m.msgid, m.kind, s.name, t.name, m.send_key, m.content_type, m.content, m.sent_at, \
     m.withdrawn_at, m.digest, m.home, m.copy, o.message IS NOT NULL, h.name, c.name, e.owner, e.version \
     FROM buckets b CROSS JOIN owners w ON w.bucket = b.bucket CROSS JOIN entries e ON e.owner = w.id \
     CROSS JOIN messages m ON m.id = e.message JOIN owners s ON s.id = m.sender JOIN owners t ON t.id = m.target \
     LEFT JOIN odd_places o ON o.message = m.id LEFT JOIN owners h ON h.id = o.home_owner \
     LEFT JOIN owners c ON c.id = o.copy_owner WHERE b.id = ? LIMIT ?";

const KEYS: &str = "SELECT m.id, m.msgid, m.kind, s.name, t.name, m.send_key, m.content_type, m.content, m.sent_at, \
     m.withdrawn_at, m.digest, m.home, m.copy, o.message IS NOT NULL, h.name, c.name \
     FROM buckets b CROSS JOIN owners s ON s.bucket = b.bucket CROSS JOIN messages m ON m.sender = s.id \
     JOIN owners t ON t.id = m.target LEFT JOIN odd_places o ON o.message = m.id LEFT JOIN owners h ON h.id = o.home_owner \
     LEFT JOIN owners c ON c.id = o.copy_owner WHERE b.id = ? AND m.send_key < x'78' LIMIT ?";

/// Whether there were none.
async fn entries(
    connection: &mut SqliteConnection,
    id: MoveId,
    buckets: &BTreeSet<Bucket>,
    limit: i64,
) -> Result<bool, Fault> {
    let rows = sqlx::query(ENTRIES).bind(id.0).bind(limit).fetch_all(&mut *connection).await?;
    for row in &rows {
        let remove = sqlx::query("DELETE FROM entries WHERE owner = ? AND version = ?");
        let remove = remove.bind(row.try_get::<i64, _>(16)?).bind(row.try_get::<i64, _>(17)?);
        remove.execute(&mut *connection).await?;
        settle(connection, row, buckets).await?;
    }
    Ok(rows.is_empty())
}

/// Keys of senders who go, whose messages stand with others or nowhere.
async fn keys(
    connection: &mut SqliteConnection,
    id: MoveId,
    buckets: &BTreeSet<Bucket>,
    limit: i64,
) -> Result<bool, Fault> {
    let rows = sqlx::query(KEYS).bind(id.0).bind(limit).fetch_all(&mut *connection).await?;
    for row in &rows {
        settle(connection, row, buckets).await?;
    }
    Ok(rows.is_empty())
}

/// What becomes of a message, of which an entry was removed or whose sender goes.
async fn settle(
    connection: &mut SqliteConnection,
    row: &SqliteRow,
    buckets: &BTreeSet<Bucket>,
) -> Result<(), Fault> {
    let (message, id) = (read::message(row)?, row.try_get::<i64, _>(0)?);
    let (home, copy) = places(row, &message)?;
    let goes = |timeline: &TimelineId| buckets.contains(&Bucket::of(timeline));
    let mut left = Vec::new();
    for place in [Some(&home), copy.as_ref()].into_iter().flatten() {
        if stands(connection, place, id).await? {
            left.push(place.clone());
        }
    }
    let sender_stays = !goes(&TimelineId::User(message.from.clone()));
    let has_key = !halves::is_copy(row.try_get(5)?);
    match left.iter().find(|place| !goes(&place.timeline)) {
        // The sender's half, or somebody's whole message of which another entry went.
        Some(_) if sender_stays || !has_key => Ok(()),
        Some(place) => to_copy(connection, id, place, &message.key).await,
        None if !left.is_empty() => Ok(()),
        None if has_key && sender_stays => to_key(connection, row, id, &home).await,
        None => remove(connection, id).await,
    }
}

/// Makes a message the half of a receiver who stays.
async fn to_copy(
    connection: &mut SqliteConnection,
    id: i64,
    place: &Place,
    key: &im_core::message::SendKey,
) -> Result<(), Fault> {
    let owners = lookup::owners(connection, std::slice::from_ref(&place.timeline)).await?;
    let owner = owners.into_iter().flatten().next().ok_or(Fault::BadRow("owners.name"))?.id;
    let key = halves::copy_key(owner, place.version, key);
    let change = sqlx::query("UPDATE messages SET send_key = ?, home = ?, copy = NULL WHERE id = ?");
    change.bind(key).bind(place.version.0).bind(id).execute(&mut *connection).await?;
    let odd = "INSERT OR REPLACE INTO odd_places (message, home_owner, copy_owner) VALUES (?, ?, NULL)";
    sqlx::query(odd).bind(id).bind(owner).execute(connection).await?;
    Ok(())
}

/// Makes a message the key alone of a sender who stays; one that is a key, or whose home was removed by retention, stays what it is.
async fn to_key(
    connection: &mut SqliteConnection,
    row: &SqliteRow,
    id: i64,
    home: &Place,
) -> Result<(), Fault> {
    if row.try_get::<i64, _>(11)? <= 0 || matches!(home.timeline, TimelineId::User(_)) {
        return Ok(());
    }
    let change = "UPDATE messages SET copy = home, home = -msgid, content = x'' WHERE id = ?";
    sqlx::query(change).bind(id).execute(&mut *connection).await?;
    sqlx::query("DELETE FROM odd_places WHERE message = ?").bind(id).execute(connection).await?;
    Ok(())
}

async fn remove(connection: &mut SqliteConnection, id: i64) -> Result<(), Fault> {
    for remove in ["DELETE FROM messages WHERE id = ?", "DELETE FROM odd_places WHERE message = ?"] {
        sqlx::query(remove).bind(id).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Conversations, cursors, heads. Names stay: others' rows have their numbers.
async fn rest(connection: &mut SqliteConnection, id: MoveId) -> Result<(), Fault> {
    for remove in [
        "DELETE FROM conversations WHERE owner IN \
         (SELECT o.id FROM buckets b CROSS JOIN owners o ON o.bucket = b.bucket WHERE b.id = ?)",
        "DELETE FROM cursors WHERE timeline IN \
         (SELECT o.id FROM buckets b CROSS JOIN owners o ON o.bucket = b.bucket WHERE b.id = ?)",
        "UPDATE owners SET head = 0, floor = 0 WHERE id IN \
         (SELECT o.id FROM buckets b CROSS JOIN owners o ON o.bucket = b.bucket WHERE b.id = ?)",
    ] {
        sqlx::query(remove).bind(id.0).execute(&mut *connection).await?;
    }
    Ok(())
}
