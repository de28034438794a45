use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use im_core::message::TimelineId;
use im_core::storage::{Bucket, BucketState, MoveId, MovingBucket};

use super::super::driver::{Column, Row, Session, Value};
use super::super::statement::{Both, Insert, Keyed, Text};
use super::super::{Fault, lookup};
use crate::name;

pub(super) const GONE: BucketState = BucketState::Gone;

/// A row of `buckets`.
#[derive(Clone, Debug)]
pub(super) struct BucketRow {
    pub(super) bucket: i64,
    /// `None` if it is simply owned. A fence that is over is none.
    pub(super) state: Option<BucketState>,
    pub(super) id: MoveId,
    pub(super) dest: i64,
    /// Milliseconds until the fence ends, or since the bucket is gone, as a negative number.
    pub(super) remaining: i64,
    /// Whether a fence is over by the clock, and nobody has written that down.
    is_over: bool,
}

impl BucketRow {
    /// From the columns bucket, state, id, dest and the milliseconds to `until_ms`.
    fn of(row: &Row) -> Result<Self, Fault> {
        let remaining = row.int(4)?;
        let state = match row.int(1)? {
            0 => None,
            2 if remaining > 0 => Some(BucketState::Fenced),
            1 | 2 => Some(BucketState::Leaving),
            3 => Some(GONE),
            4 => Some(BucketState::Arriving),
            _ => return Err(Fault::BadRow("buckets.state")),
        };
        let (id, dest) = (MoveId(row.int(2)?), row.int(3)?);
        let is_over = row.int(1)? == 2 && remaining <= 0;
        Ok(Self { bucket: row.int(0)?, state, id, dest, remaining, is_over })
    }

    pub(super) fn moving(&self) -> Option<MovingBucket> {
        let bucket = Bucket::new(u16::try_from(self.bucket).ok()?)?;
        Some(MovingBucket { bucket, state: self.state?, id: self.id, to: u16::try_from(self.dest).ok()? })
    }

    fn leaves(&self) -> bool {
        matches!(self.state, Some(BucketState::Leaving | BucketState::Fenced))
    }
}

/// The bucket of an owner's name.
pub(in super::super) fn bucket_of(owner: &[u8]) -> Result<i64, Fault> {
    let owner = name::parse(owner).ok_or(Fault::BadRow("owners.name"))?;
    Ok(i64::from(Bucket::of(&name::timeline_of(&owner)).number()))
}

/// The columns of a [`BucketRow`], with the time of each dialect.
macro_rules! rows {
    ($condition:literal, $mysql_end:literal, $postgres_end:literal) => {
        Both {
            mysql: concat!(
                "SELECT b.bucket, b.state, b.id, b.dest, \
                 CAST(b.until_ms - CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED) AS SIGNED) FROM buckets b WHERE ",
                $condition,
                $mysql_end
            ),
            postgres: concat!(
                "SELECT b.bucket, b.state, b.id, b.dest, \
                 b.until_ms - CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) FROM buckets b WHERE ",
                $condition,
                $postgres_end
            ),
        }
    };
}

/// Rows of which nobody changes one until the transaction ends. They are locked in the order of their numbers.
pub(in super::super) static SHARED: Keyed = Keyed::new(
    rows!("{keys}", " ORDER BY b.bucket LOCK IN SHARE MODE", " ORDER BY b.bucket FOR SHARE"),
    &["b.bucket"],
);

/// The same where nobody changes any.
pub(in super::super) static STAYING: Keyed = Keyed::new(rows!("{keys}", "", ""), &["b.bucket"]);

static LOCKED: Keyed = Keyed::new(
    rows!("{keys}", " ORDER BY b.bucket FOR UPDATE", " ORDER BY b.bucket FOR UPDATE"),
    &["b.bucket"],
);

static OF_MOVE: Keyed = Keyed::new(rows!("{keys}", "", ""), &["b.id"]);

static BY_STATE: Keyed = Keyed::new(rows!("{keys}", "", ""), &["b.state"]);

/// Who may be written to.
#[derive(Debug, Default)]
pub(in super::super) struct Ownership {
    refused: BTreeSet<i64>,
    leaving: BTreeSet<i64>,
}

impl Ownership {
    /// Of the rows of the buckets that matter. `FencesOver` if fences have to be ended first.
    pub(in super::super) fn of(rows: &[Row]) -> Result<Self, Fault> {
        let (mut ownership, mut over) = (Self::default(), BTreeSet::new());
        for row in rows {
            let row = BucketRow::of(row)?;
            match row.state {
                _ if row.is_over => over.insert(row.bucket),
                None => false,
                Some(BucketState::Leaving) => ownership.leaving.insert(row.bucket),
                Some(_) => ownership.refused.insert(row.bucket),
            };
        }
        match over.is_empty() {
            true => Ok(ownership),
            false => Err(Fault::FencesOver(over)),
        }
    }

    pub(in super::super) fn refuses(&self, timeline: &TimelineId) -> bool {
        self.refused.contains(&number_of(timeline))
    }

    /// Whether it simply belongs here.
    pub(in super::super) fn is_simple(&self, timeline: &TimelineId) -> bool {
        !self.refuses(timeline) && !self.is_leaving(timeline)
    }

    /// Whether what changes has to be copied again.
    pub(in super::super) fn is_leaving(&self, timeline: &TimelineId) -> bool {
        self.leaving.contains(&number_of(timeline))
    }
}

/// The number of a timeline's bucket.
pub(in super::super) fn number_of(timeline: &TimelineId) -> i64 {
    i64::from(Bucket::of(timeline).number())
}

static END_FENCES: Keyed =
    Keyed::new(Both::same("UPDATE buckets SET state = 1, until_ms = 0 WHERE {keys}"), &["bucket"]);

/// Writes down that fences are over, before anybody writes behind one: were the clock set back later, they would hold again, and a mover would give away what it has
/// not copied.
pub(super) async fn end_fences(session: &mut Session, buckets: &BTreeSet<i64>) -> Result<(), Fault> {
    let rows = lock_out(session, buckets.clone()).await?;
    let over = rows.iter().filter(|row| row.is_over).map(|row| row.bucket);
    session.find(&END_FENCES, vec![Column::ints(over)]).await.map(drop)
}

/// Whether all these may be read here. (Rows of buckets that are gone stay for longer than a call takes.)
pub(in super::super) async fn check_owned<'a>(
    session: &mut Session,
    owners: &lookup::Owners,
    timelines: impl Iterator<Item = &'a TimelineId>,
) -> Result<(), Fault> {
    let mut unknown = BTreeSet::new();
    for timeline in timelines {
        match owners.get(&name::of(timeline)) {
            Some(owner) if owner.is_elsewhere => return Err(Fault::Moved),
            Some(_) => {}
            None => {
                unknown.insert(number_of(timeline));
            }
        }
    }
    let rows = session.find(&ELSEWHERE, vec![Column::ints(unknown.into_iter())]).await?;
    match rows.is_empty() {
        true => Ok(()),
        false => Err(Fault::Moved),
    }
}

static ELSEWHERE: Keyed =
    Keyed::new(Both::same("SELECT b.bucket FROM buckets b WHERE b.state >= 3 AND {keys}"), &["b.bucket"]);

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
