use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use im_core::storage::{Bucket, BucketState, MoveId};

use super::super::Fault;
use super::super::driver::{Column, Session, Value};
use super::super::ownership::{BucketRow, GONE, SHARED, bucket_rows};
use super::super::statement::{Both, Insert, Keyed, Text};

static LOCKED: Keyed = Keyed::new(
    bucket_rows!("{keys}", " ORDER BY b.bucket FOR UPDATE", " ORDER BY b.bucket FOR UPDATE"),
    &["b.bucket"],
);

static OF_MOVE: Keyed = Keyed::new(bucket_rows!("{keys}", "", ""), &["b.id"]);

static BY_STATE: Keyed = Keyed::new(bucket_rows!("{keys}", "", ""), &["b.state"]);

static END_FENCES: Keyed =
    Keyed::new(Both::same("UPDATE buckets SET state = 1, until_ms = 0 WHERE {keys}"), &["bucket"]);

/// Writes down that fences are over, before anybody writes behind one: were the clock set back later, they would hold again, and a mover would give away what it has
/// not copied.
pub(super) async fn end_fences(session: &mut Session, buckets: &BTreeSet<i64>) -> Result<(), Fault> {
    let rows = lock_out(session, buckets.clone()).await?;
    let over = rows.iter().filter(|row| row.is_over).map(|row| row.bucket);
    session.find(&END_FENCES, vec![Column::ints(over)]).await.map(drop)
}

/// Rows that are not simply owned.
pub(super) async fn all_moving(session: &mut Session) -> Result<Vec<BucketRow>, Fault> {
    let rows = session.find(&BY_STATE, vec![Column::Ints(vec![1, 2, 3, 4])]).await?;
    let mut rows = rows.iter().map(BucketRow::of).collect::<Result<Vec<_>, _>>()?;
    rows.sort_unstable_by_key(|row| row.bucket);
    Ok(rows)
}

pub(super) async fn of_move(session: &mut Session, id: MoveId) -> Result<Vec<BucketRow>, Fault> {
    let rows = session.find(&OF_MOVE, vec![Column::Ints(vec![id.0])]).await?;
    rows.iter().map(BucketRow::of).collect()
}

/// The same, which nobody changes until the transaction ends.
pub(super) async fn hold_move(session: &mut Session, id: MoveId) -> Result<Vec<BucketRow>, Fault> {
    let buckets: BTreeSet<i64> = of_move(session, id).await?.iter().map(|row| row.bucket).collect();
    let rows = session.find(&SHARED, vec![Column::ints(buckets.into_iter())]).await?;
    let mut rows = rows.iter().map(BucketRow::of).collect::<Result<Vec<_>, _>>()?;
    // Another move may have taken some since they were found.
    rows.retain(|row| row.id == id);
    Ok(rows)
}

/// Locks rows: no other move changes them.
async fn lock(session: &mut Session, buckets: BTreeSet<i64>) -> Result<Vec<BucketRow>, Fault> {
    let rows = session.find(&LOCKED, vec![Column::ints(buckets.into_iter())]).await?;
    rows.iter().map(BucketRow::of).collect()
}

/// The same, and nobody writes to any bucket.
async fn lock_out(session: &mut Session, buckets: BTreeSet<i64>) -> Result<Vec<BucketRow>, Fault> {
    let rows = lock(session, buckets).await?;
    session.stop_sharing().await?;
    Ok(rows)
}

/// The rows of a move, locked. `LeaseLost` if there are none, or another move has one.
pub(super) async fn lock_move(session: &mut Session, id: MoveId) -> Result<Vec<BucketRow>, Fault> {
    let buckets = of_move(session, id).await?.iter().map(|row| row.bucket).collect();
    let rows = lock(session, buckets).await?;
    match rows.is_empty() || rows.iter().any(|row| row.id != id) {
        true => Err(Fault::LeaseLost),
        false => Ok(rows),
    }
}

/// The same, and nobody writes to any bucket.
async fn lock_out_move(session: &mut Session, id: MoveId) -> Result<Vec<BucketRow>, Fault> {
    let rows = lock_move(session, id).await?;
    session.stop_sharing().await?;
    Ok(rows)
}

/// The same of buckets that all leave.
pub(super) async fn lock_leaving(session: &mut Session, id: MoveId) -> Result<Vec<BucketRow>, Fault> {
    let rows = lock_out_move(session, id).await?;
    match rows.iter().all(BucketRow::leaves) {
        true => Ok(rows),
        false => Err(Fault::LeaseLost),
    }
}

/// All of them are there.
static SET: Insert = Insert::new(
    "buckets",
    &["bucket", "state", "id", "dest", "until_ms"],
    Both {
        mysql: "ON DUPLICATE KEY UPDATE state = VALUES(state), id = VALUES(id), dest = VALUES(dest)",
        postgres: "ON CONFLICT (bucket) DO UPDATE SET state = excluded.state, id = excluded.id, dest = excluded.dest",
    },
);

fn numbers(buckets: &[Bucket]) -> BTreeSet<i64> {
    buckets.iter().map(|bucket| i64::from(bucket.number())).collect()
}

async fn set(
    session: &mut Session,
    buckets: BTreeSet<i64>,
    state: i64,
    id: MoveId,
    to: u16,
) -> Result<(), Fault> {
    let same = |value| Column::ints(std::iter::repeat_n(value, buckets.len()));
    let columns =
        vec![Column::ints(buckets.iter().copied()), same(state), same(id.0), same(i64::from(to)), same(0)];
    session.insert(&SET, columns).await
}

static FORGET_CHANGES: Text = Text::new(
    "DELETE FROM bucket_changes WHERE timeline IN \
     (SELECT o.id FROM buckets b JOIN owners o ON o.bucket = b.bucket WHERE b.id = ?)",
);

/// An earlier move that loses a bucket is over: the others that leave by it are simply owned.
static END_MOVES: Keyed = Keyed::new(
    Both::same("UPDATE buckets SET state = 0, until_ms = 0 WHERE state IN (1, 2) AND {keys}"),
    &["id"],
);

/// The buckets that leave by the same moves as some of these, to be locked together with them.
async fn leaving_with(session: &mut Session, buckets: &BTreeSet<i64>) -> Result<BTreeSet<i64>, Fault> {
    let leaving: Vec<_> = all_moving(session).await?.into_iter().filter(BucketRow::leaves).collect();
    let of_these = leaving.iter().filter(|row| buckets.contains(&row.bucket));
    let moves: BTreeSet<MoveId> = of_these.map(|row| row.id).collect();
    Ok(leaving.iter().filter(|row| moves.contains(&row.id)).map(|row| row.bucket).collect())
}

pub(super) async fn depart(
    session: &mut Session,
    id: MoveId,
    buckets: &[Bucket],
    to: u16,
) -> Result<(), Fault> {
    let taken = numbers(buckets);
    let mut locked = taken.clone();
    locked.extend(leaving_with(session, &taken).await?);
    let mut rows = lock_out(session, locked).await?;
    rows.retain(|row| taken.contains(&row.bucket));
    if rows.iter().any(|row| matches!(row.state, Some(GONE | BucketState::Arriving))) {
        return Err(Fault::Moved);
    }
    if rows.iter().any(|row| row.id > id) {
        return Err(Fault::LeaseLost);
    }
    let earlier = rows.iter().filter(|row| row.leaves() && row.id != id).map(|row| row.id.0);
    session.find(&END_MOVES, vec![Column::ints(earlier.collect::<BTreeSet<_>>().into_iter())]).await?;
    set(session, taken, 1, id, to).await?;
    session.execute(&FORGET_CHANGES, vec![Value::Int(id.0)]).await
}

pub(super) async fn arrive(
    session: &mut Session,
    id: MoveId,
    buckets: &[Bucket],
    to: u16,
) -> Result<(), Fault> {
    let rows = lock_out(session, numbers(buckets)).await?;
    let is_taken =
        |row: &BucketRow| row.id > id || (row.id == id && row.state != Some(BucketState::Arriving));
    match rows.iter().any(is_taken) {
        true => Err(Fault::LeaseLost),
        false => set(session, numbers(buckets), 4, id, to).await,
    }
}

static SET_STATE: Text = Text::new("UPDATE buckets SET state = ?, until_ms = ? WHERE id = ?");

static NOW: Keyed = Keyed::new(
    Both {
        mysql: "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED) FROM bucket_map m WHERE {keys}",
        postgres: "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) FROM bucket_map m WHERE {keys}",
    },
    &["m.id"],
);

/// The time of the database, now: not when it began to wait for a lock.
async fn now(session: &mut Session) -> Result<i64, Fault> {
    let rows = session.find(&NOW, vec![Column::Ints(vec![1])]).await?;
    rows.first().ok_or(Fault::BadRow("bucket_map.id"))?.int(0)
}

async fn set_state(session: &mut Session, id: MoveId, state: i64, until: i64) -> Result<(), Fault> {
    session.execute(&SET_STATE, [state, until, id.0].map(Value::Int).into()).await
}

pub(super) async fn fence(session: &mut Session, id: MoveId, lease: Duration) -> Result<(), Fault> {
    lock_leaving(session, id).await?;
    let lease = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
    let until = now(session).await?.saturating_add(lease);
    set_state(session, id, 2, until).await
}

pub(super) async fn unfence(session: &mut Session, id: MoveId) -> Result<(), Fault> {
    lock_leaving(session, id).await?;
    set_state(session, id, 1, 0).await
}

static PENDING: Text = Text::new(
    "SELECT x.id FROM buckets b JOIN owners o ON o.bucket = b.bucket JOIN outbox x ON x.sender = o.id \
     WHERE b.id = ? LIMIT 1",
);

static UNINDEXED: Text = Text::new("SELECT o.id FROM owners o WHERE o.bucket IS NULL LIMIT 1");

static FENCES: Text = Text::new("SELECT b.until_ms FROM buckets b WHERE b.id = ? AND b.state = 2");

pub(super) async fn release(session: &mut Session, id: MoveId) -> Result<(), Fault> {
    let rows = lock_out_move(session, id).await?;
    if rows.iter().all(super::is_gone) {
        return Ok(());
    }
    // Whoever found the fence at its end and wrote has ended: only now the time is looked at.
    let fences = session.select(&FENCES, vec![Value::Int(id.0)]).await?;
    let now = now(session).await?;
    let until = fences.iter().map(|row| row.int(0)).collect::<Result<Vec<_>, _>>()?;
    if until.len() != rows.len() || until.iter().any(|until| *until <= now) {
        return Err(Fault::LeaseLost);
    }
    if !session.select(&PENDING, vec![Value::Int(id.0)]).await?.is_empty() {
        return Err(Fault::Pending);
    }
    // A server from before there were buckets still runs. What its owners have was not copied.
    if !session.select(&UNINDEXED, Vec::new()).await?.is_empty() {
        return Err(Fault::Unindexed);
    }
    set_state(session, id, 3, now).await
}

static OWN: Text = Text::new("UPDATE buckets SET state = 0 WHERE id = ? AND state = 4");

pub(super) async fn own(session: &mut Session, id: MoveId) -> Result<(), Fault> {
    let buckets = of_move(session, id).await?.iter().map(|row| row.bucket).collect();
    lock_out(session, buckets).await?;
    session.execute(&OWN, vec![Value::Int(id.0)]).await
}

/// Groups rows by what keeps them from being cleared: how long the move's buckets are gone, in milliseconds, the shortest time.
pub(super) fn gone_for(rows: &[BucketRow]) -> i64 {
    let by_bucket: BTreeMap<i64, i64> = rows.iter().map(|row| (row.bucket, -row.remaining)).collect();
    by_bucket.into_values().min().unwrap_or(i64::MAX)
}
