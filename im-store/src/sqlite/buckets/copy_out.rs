use std::collections::BTreeSet;

use im_core::id::{DeviceId, Version};
use im_core::message::{Digest, Message, Target, TimelineId};
use im_core::storage::{
    Bucket, CopyLimits, CopyOut, CopyPage, CursorAck, Head, Mark, MoveId, MovedPost, MovedRow, Place,
    Position,
};
use im_core::time::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::super::{Fault, append, export, read};
use super::{leaving, timeline};
use crate::name;
use crate::sql::halves;

/// Everything up to the last message, or to the first that is pending.
pub(super) async fn mark(
    connection: &mut SqliteConnection,
    buckets: &BTreeSet<Bucket>,
) -> Result<Mark, Fault> {
    let (_, last) = append::last_numbers(connection).await?;
    let pending =
        "SELECT x.message, s.name FROM outbox x CROSS JOIN owners s ON s.id = x.sender ORDER BY x.message";
    for row in sqlx::query(pending).fetch_all(connection).await? {
        if buckets.contains(&Bucket::of(&timeline(row.try_get(1)?)?)) {
            return Ok(Mark(row.try_get::<i64, _>(0)? - 1));
        }
    }
    Ok(Mark(last))
}

pub(super) async fn page(
    connection: &mut SqliteConnection,
    id: MoveId,
    ask: CopyOut,
    limits: CopyLimits,
) -> Result<CopyPage, Fault> {
    let buckets = leaving(connection, id).await?;
    match ask {
        CopyOut::Floors { after } => floors(connection, id, after, limits).await,
        CopyOut::Posts { after, until } => posts(connection, &buckets, after, until, limits).await,
        CopyOut::Cursors { changed, after } => cursors(connection, id, changed, after, limits).await,
    }
}

async fn floors(
    connection: &mut SqliteConnection,
    id: MoveId,
    after: Option<Position>,
    limits: CopyLimits,
) -> Result<CopyPage, Fault> {
    let (owner, ..) = parse(after)?;
    let floors = "SELECT o.id, o.name, o.floor, o.head FROM buckets b CROSS JOIN owners o ON o.bucket = b.bucket \
                  WHERE b.id = ? AND o.floor > 0 AND o.id > ? ORDER BY o.id LIMIT ?";
    let found = sqlx::query(floors).bind(id.0).bind(owner).bind(limit(limits)).fetch_all(connection).await?;
    let mut rows = Vec::with_capacity(found.len());
    for row in &found {
        let head = Head { floor: Version(row.try_get(2)?), head: Version(row.try_get(3)?) };
        rows.push(MovedRow::Floor(timeline(row.try_get(1)?)?, head));
    }
    let next = match found.last().filter(|_| is_full(&found, limits)) {
        Some(last) => Some(CopyOut::Floors { after: Some(position(last.try_get(0)?, 0, &[])) }),
        None => None,
    };
    Ok(CopyPage { rows, next })
}

/// Reads messages in the order of storing, and passes over other buckets'.
async fn posts(
    connection: &mut SqliteConnection,
    buckets: &BTreeSet<Bucket>,
    after: Mark,
    until: Mark,
    limits: CopyLimits,
) -> Result<CopyPage, Fault> {
    let found = sqlx::query(MESSAGES).bind(after.0).bind(until.0).bind(limit(limits));
    let found = found.fetch_all(&mut *connection).await?;
    let (mut rows, mut bytes, mut at) = (Vec::new(), 0_usize, after.0);
    for row in &found {
        if let Some(post) = post(connection, buckets, row).await? {
            let post = MovedRow::Post(Box::new(post));
            bytes = bytes.saturating_add(post.size());
            if bytes > limits.bytes && !rows.is_empty() {
                return Ok(CopyPage { rows, next: Some(CopyOut::Posts { after: Mark(at), until }) });
            }
            rows.push(post);
        }
        at = row.try_get(0)?;
    }
    let next = is_full(&found, limits).then_some(CopyOut::Posts { after: Mark(at), until });
    Ok(CopyPage { rows, next })
}

/// The columns of an export's, from and up to given numbers.
const MESSAGES: &str = "SELECT m.id, m.msgid, m.kind, s.name, t.name, m.send_key, m.content_type, m.content, m.sent_at, \
     m.withdrawn_at, m.digest, m.home, m.copy, o.message IS NOT NULL, h.name, c.name \
     FROM messages m JOIN owners s ON s.id = m.sender JOIN owners t ON t.id = m.target \
     LEFT JOIN odd_places o ON o.message = m.id LEFT JOIN owners h ON h.id = o.home_owner \
     LEFT JOIN owners c ON c.id = o.copy_owner WHERE m.id > ? AND m.id <= ? ORDER BY m.id LIMIT ?";

/// Where a message's row says that it stands: home, and the copy if there is one. Of a key alone, home is the group.
pub(super) fn places(row: &SqliteRow, message: &Message) -> Result<(Place, Option<Place>), Fault> {
    let (home_owner, copy_owner) = match row.try_get(13)? {
        true => {
            let copy = row.try_get::<Option<&[u8]>, _>(15)?.map(timeline).transpose()?;
            (timeline(row.try_get(14)?)?, copy)
        }
        false => export::usual_places(message),
    };
    let (home, copy) = (Version(row.try_get(11)?), row.try_get::<Option<i64>, _>(12)?.map(Version));
    if home <= Version::ZERO {
        return Ok((Place { timeline: home_owner, version: copy.unwrap_or_default() }, None));
    }
    let copy = copy.filter(|copy| *copy > Version::ZERO).zip(copy_owner);
    let copy = copy.map(|(version, timeline)| Place { timeline, version });
    Ok((Place { timeline: home_owner, version: home }, copy))
}

async fn post(
    connection: &mut SqliteConnection,
    buckets: &BTreeSet<Bucket>,
    row: &SqliteRow,
) -> Result<Option<MovedPost>, Fault> {
    let message = read::message(row)?;
    let (home, copy) = places(row, &message)?;
    let moves = |timeline: &TimelineId| buckets.contains(&Bucket::of(timeline));
    let mut entries = Vec::new();
    for place in [Some(&home), copy.as_ref()].into_iter().flatten().filter(|place| moves(&place.timeline)) {
        if stands(connection, place, row.try_get(0)?).await? {
            entries.push(place.clone());
        }
    }
    let has_key = moves(&TimelineId::User(message.from.clone())) && !halves::is_copy(row.try_get(5)?);
    let key = has_key.then_some((home, copy));
    if key.is_none() && entries.is_empty() {
        return Ok(None);
    }
    let digest = row.try_get::<&[u8], _>(10)?.try_into().map_err(|_| Fault::BadRow("messages.digest"))?;
    let withdrawn_at = row.try_get::<Option<i64>, _>(9)?.map(Timestamp);
    Ok(Some(MovedPost { message, digest: Digest(digest), withdrawn_at, key, entries }))
}

/// Whether the entry in a place names a message.
pub(super) async fn stands(
    connection: &mut SqliteConnection,
    place: &Place,
    message: i64,
) -> Result<bool, Fault> {
    let entry = "SELECT 1 FROM owners o CROSS JOIN entries e ON e.owner = o.id \
                 WHERE o.name = ? AND e.version = ? AND e.message = ?";
    let entry = sqlx::query(entry).bind(name::of(&place.timeline)).bind(place.version.0).bind(message);
    Ok(entry.fetch_optional(connection).await?.is_some())
}

macro_rules! cursors {
    ($changed:literal) => {
        concat!(
            "SELECT c.timeline, c.uid, c.device, c.version, u.name, t.name FROM buckets b \
             CROSS JOIN owners t ON t.bucket = b.bucket CROSS JOIN cursors c ON c.timeline = t.id \
             CROSS JOIN owners u ON u.id = c.uid ",
            $changed,
            "WHERE b.id = ? AND (c.timeline, c.uid, c.device) > (?, ?, ?) \
             ORDER BY c.timeline, c.uid, c.device LIMIT ?"
        )
    };
}

const CURSORS: &str = cursors!("");

const CHANGED: &str = cursors!(
    "CROSS JOIN bucket_changes j ON j.timeline = c.timeline AND j.uid = c.uid AND j.device = c.device "
);

async fn cursors(
    connection: &mut SqliteConnection,
    id: MoveId,
    changed: bool,
    after: Option<Position>,
    limits: CopyLimits,
) -> Result<CopyPage, Fault> {
    let (timeline_id, uid, device) = parse(after)?;
    let query = sqlx::query(if changed { CHANGED } else { CURSORS }).bind(id.0);
    let query = query.bind(timeline_id).bind(uid).bind(device).bind(limit(limits));
    let found = query.fetch_all(connection).await?;
    let mut rows = Vec::with_capacity(found.len());
    for row in &found {
        let Some(Target::User(uid)) = name::parse(row.try_get(4)?) else {
            return Err(Fault::BadRow("cursors.uid"));
        };
        let device = std::str::from_utf8(row.try_get(2)?).ok().and_then(|text| DeviceId::new(text).ok());
        let device = device.ok_or(Fault::BadRow("cursors.device"))?;
        let (timeline, version) = (timeline(row.try_get(5)?)?, Version(row.try_get(3)?));
        rows.push(MovedRow::Cursor(CursorAck { uid, device, timeline, version }));
    }
    let next = match found.last().filter(|_| is_full(&found, limits)) {
        Some(last) => {
            let after = position(last.try_get(0)?, last.try_get(1)?, last.try_get(2)?);
            Some(CopyOut::Cursors { changed, after: Some(after) })
        }
        None => None,
    };
    Ok(CopyPage { rows, next })
}

fn limit(limits: CopyLimits) -> i64 {
    i64::try_from(limits.rows.max(1)).unwrap_or(i64::MAX)
}

fn is_full(rows: &[SqliteRow], limits: CopyLimits) -> bool {
    rows.len() >= limits.rows.max(1)
}

fn position(first: i64, second: i64, device: &[u8]) -> Position {
    Position([&first.to_be_bytes()[..], &second.to_be_bytes(), device].concat())
}

fn parse(position: Option<Position>) -> Result<(i64, i64, Vec<u8>), Fault> {
    let Some(Position(bytes)) = position else { return Ok((0, 0, Vec::new())) };
    let parts = bytes.split_first_chunk().and_then(|(first, rest)| {
        let (second, device) = rest.split_first_chunk()?;
        Some((i64::from_be_bytes(*first), i64::from_be_bytes(*second), device.to_vec()))
    });
    parts.ok_or(Fault::BadRow("position"))
}
