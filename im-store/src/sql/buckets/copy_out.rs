use im_core::id::Version;
use im_core::message::{Digest, Target, TimelineId};
use im_core::storage::{
    BucketState, CopyLimits, CopyOut, CopyPage, CursorAck, Head, Mark, MoveId, MovedPost, MovedRow, Place,
    Position,
};
use im_core::time::Timestamp;

use super::super::driver::{Row, Session, Value};
use super::super::statement::Text;
use super::super::{Fault, cursors, halves, timelines};
use super::buckets_in;
use crate::name;

/// Numbers of messages that are looked through at once: most of them are other buckets'.
const WINDOW: i64 = 8_192;

static LAST: Text = Text::new("SELECT MAX(m.seq) FROM messages m");

static FIRST_PENDING: Text = Text::new(
    "SELECT MIN(m.seq) FROM buckets b JOIN owners o ON o.bucket = b.bucket JOIN outbox x ON x.sender = o.id \
     JOIN messages m ON m.home_owner = x.home_owner AND m.home = x.home WHERE b.id = ?",
);

/// Everything up to the last message, or to the first that is pending. The buckets are locked: nobody is storing one with a number below these.
pub(super) async fn mark(session: &mut Session, id: MoveId) -> Result<Mark, Fault> {
    let last = session.select(&LAST, Vec::new()).await?;
    let last = last.first().map(|row| row.maybe_int(0)).transpose()?.flatten().unwrap_or(0);
    let pending = session.select(&FIRST_PENDING, vec![Value::Int(id.0)]).await?;
    let pending = pending.first().map(|row| row.maybe_int(0)).transpose()?.flatten();
    Ok(Mark(pending.map_or(last, |first| first - 1)))
}

pub(super) async fn page(
    session: &mut Session,
    id: MoveId,
    ask: &CopyOut,
    limits: CopyLimits,
) -> Result<CopyPage, Fault> {
    session.join_as_written().await?;
    buckets_in(session, id, &[BucketState::Leaving, BucketState::Fenced]).await?;
    match ask.clone() {
        CopyOut::Floors { after } => floors(session, id, after, limits).await,
        CopyOut::Posts { after, until } => posts(session, id, after, until, limits).await,
        CopyOut::Cursors { changed, after } => moved_cursors(session, id, changed, after, limits).await,
    }
}

static FLOORS: Text = Text::new(
    "SELECT /*! STRAIGHT_JOIN */ o.id, o.name, o.floor, o.head FROM buckets b JOIN owners o ON o.bucket = b.bucket \
     WHERE b.id = ? AND o.floor > 0 AND o.id > ? ORDER BY o.id LIMIT ?",
);

async fn floors(
    session: &mut Session,
    id: MoveId,
    after: Option<Position>,
    limits: CopyLimits,
) -> Result<CopyPage, Fault> {
    let (owner, ..) = parse(after)?;
    let limit = limit(limits);
    let found = session.select(&FLOORS, [id.0, owner, limit].map(Value::Int).into()).await?;
    let mut rows = Vec::with_capacity(found.len());
    for row in &found {
        let head = Head { floor: Version(row.int(2)?), head: Version(row.int(3)?) };
        rows.push(MovedRow::Floor(timeline(row.bytes(1)?)?, head));
    }
    let next = match found.last() {
        Some(last) if is_full(&found, limit) => {
            Some(CopyOut::Floors { after: Some(position(last.int(0)?, 0, &[])) })
        }
        _ => None,
    };
    Ok(CopyPage { rows, next })
}

/// The message in the columns 1 to 8. What moves with it follows from the buckets of its sender and of its places, and from whether entries name this row.
static POSTS: Text = Text::new(
    "SELECT /*! STRAIGHT_JOIN */ m.seq, m.msgid, m.kind, s.name, t.name, m.send_key, m.content_type, m.content, \
     m.sent_at, m.withdrawn_at, m.digest, m.home, m.copy, h.name, c.name, sb.id, hb.id, cb.id, he.version, ce.version \
     FROM messages m JOIN owners s ON s.id = m.sender JOIN owners t ON t.id = m.target \
     JOIN owners h ON h.id = m.home_owner LEFT JOIN owners c ON c.id = m.copy_owner \
     LEFT JOIN buckets sb ON sb.bucket = s.bucket AND sb.id = ? \
     LEFT JOIN buckets hb ON hb.bucket = h.bucket AND hb.id = ? \
     LEFT JOIN buckets cb ON cb.bucket = c.bucket AND cb.id = ? \
     LEFT JOIN entries he ON he.owner = m.home_owner AND he.version = m.home \
     AND he.home_owner = m.home_owner AND he.home = m.home \
     LEFT JOIN entries ce ON ce.owner = m.copy_owner AND ce.version = m.copy \
     AND ce.home_owner = m.home_owner AND ce.home = m.home \
     WHERE m.seq > ? AND m.seq <= ? AND (sb.id IS NOT NULL OR hb.id IS NOT NULL OR cb.id IS NOT NULL) \
     ORDER BY m.seq LIMIT ?",
);

static NEXT: Text = Text::new("SELECT MIN(m.seq) FROM messages m WHERE m.seq > ?");

async fn posts(
    session: &mut Session,
    id: MoveId,
    after: Mark,
    until: Mark,
    limits: CopyLimits,
) -> Result<CopyPage, Fault> {
    let limit = limit(limits);
    let end = after.0.saturating_add(WINDOW).min(until.0);
    let values = [id.0, id.0, id.0, after.0, end, limit].map(Value::Int).into();
    let found = session.select(&POSTS, values).await?;
    let (mut rows, mut bytes, mut at) = (Vec::new(), 0_usize, after.0);
    for row in &found {
        let seq = row.int(0)?;
        if let Some(post) = post(row)? {
            let post = MovedRow::Post(Box::new(post));
            bytes = bytes.saturating_add(post.size());
            if bytes > limits.bytes && !rows.is_empty() {
                return Ok(CopyPage { rows, next: Some(CopyOut::Posts { after: Mark(at), until }) });
            }
            rows.push(post);
        }
        at = seq;
    }
    if !is_full(&found, limit) {
        at = end;
    }
    if found.is_empty() && end < until.0 {
        // Numbers that nobody got: the next window begins where there is something.
        let next = session.select(&NEXT, vec![Value::Int(end)]).await?;
        let next = next.first().map(|row| row.maybe_int(0)).transpose()?.flatten();
        at = next.map_or(until.0, |next| (next - 1).min(until.0));
    }
    let next = (at < until.0).then_some(CopyOut::Posts { after: Mark(at), until });
    Ok(CopyPage { rows, next })
}

fn post(row: &Row) -> Result<Option<MovedPost>, Fault> {
    let message = timelines::message(row)?;
    let home = Place { timeline: timeline(row.bytes(13)?)?, version: Version(row.int(11)?) };
    let copy = match (row.maybe_bytes(14)?, row.maybe_int(12)?) {
        (Some(name), Some(version)) if version > 0 => {
            Some(Place { timeline: timeline(name)?, version: Version(version) })
        }
        _ => None,
    };
    let (sent_from, home_moves, copy_moves) =
        (row.maybe_int(15)?.is_some(), row.maybe_int(16)?.is_some(), row.maybe_int(17)?.is_some());
    let is_home = home_moves && row.maybe_int(18)?.is_some();
    let is_copy = copy_moves && row.maybe_int(19)?.is_some();
    let entries = [Some(&home).filter(|_| is_home), copy.as_ref().filter(|_| is_copy)];
    let entries: Vec<Place> = entries.into_iter().flatten().cloned().collect();
    let has_key = sent_from && !halves::is_copy(row.bytes(5)?);
    let key = match (has_key, home.version > Version::ZERO) {
        (false, _) => None,
        (true, true) => Some((home, copy)),
        (true, false) => copy.map(|home| (home, None)),
    };
    if key.is_none() && entries.is_empty() {
        return Ok(None);
    }
    let digest = row.bytes(10)?.try_into().map_err(|_| Fault::BadRow("messages.digest"))?;
    let withdrawn_at = row.maybe_int(9)?.map(Timestamp);
    Ok(Some(MovedPost { message, digest: Digest(digest), withdrawn_at, key, entries }))
}

macro_rules! cursors {
    ($changed:literal) => {
        concat!(
            "SELECT /*! STRAIGHT_JOIN */ c.timeline, c.uid, c.device, c.version, u.name, t.name FROM buckets b \
             JOIN owners t ON t.bucket = b.bucket JOIN cursors c ON c.timeline = t.id JOIN owners u ON u.id = c.uid ",
            $changed,
            "WHERE b.id = ? AND (c.timeline > ? OR (c.timeline = ? AND (c.uid > ? OR (c.uid = ? AND c.device > ?)))) \
             ORDER BY c.timeline, c.uid, c.device LIMIT ?"
        )
    };
}

static CURSORS: Text = Text::new(cursors!(""));

static CHANGED: Text = Text::new(cursors!(
    "JOIN bucket_changes j ON j.timeline = c.timeline AND j.uid = c.uid AND j.device = c.device "
));

async fn moved_cursors(
    session: &mut Session,
    id: MoveId,
    changed: bool,
    after: Option<Position>,
    limits: CopyLimits,
) -> Result<CopyPage, Fault> {
    let (timeline_id, uid, device) = parse(after)?;
    let limit = limit(limits);
    let mut values: Vec<Value> = [id.0, timeline_id, timeline_id, uid, uid].map(Value::Int).into();
    values.extend([Value::Bytes(device), Value::Int(limit)]);
    let found = session.select(if changed { &CHANGED } else { &CURSORS }, values).await?;
    let mut rows = Vec::with_capacity(found.len());
    for row in &found {
        let Some(Target::User(uid)) = name::parse(row.bytes(4)?) else {
            return Err(Fault::BadRow("cursors.uid"));
        };
        let (device, version) = (cursors::device(row.bytes(2)?)?, Version(row.int(3)?));
        rows.push(MovedRow::Cursor(CursorAck { uid, device, timeline: timeline(row.bytes(5)?)?, version }));
    }
    let next = match found.last() {
        Some(last) if is_full(&found, limit) => {
            let after = Some(position(last.int(0)?, last.int(1)?, last.bytes(2)?));
            Some(CopyOut::Cursors { changed, after })
        }
        _ => None,
    };
    Ok(CopyPage { rows, next })
}

fn timeline(owner: &[u8]) -> Result<TimelineId, Fault> {
    let owner = name::parse(owner).ok_or(Fault::BadRow("owners.name"))?;
    Ok(name::timeline_of(&owner))
}

fn limit(limits: CopyLimits) -> i64 {
    i64::try_from(limits.rows.max(1)).unwrap_or(i64::MAX)
}

fn is_full(rows: &[Row], limit: i64) -> bool {
    i64::try_from(rows.len()).unwrap_or(i64::MAX) >= limit
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
