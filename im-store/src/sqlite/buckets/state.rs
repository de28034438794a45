use std::collections::BTreeSet;
use std::time::Duration;

use im_core::message::TimelineId;
use im_core::storage::{Bucket, BucketState, MoveId, MovingBucket};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::super::Fault;

/// A row of `buckets`.
#[derive(Clone, Debug)]
pub(super) struct BucketRow {
    pub(super) bucket: Bucket,
    /// `None` if it is simply owned. A fence that is over is none.
    pub(super) state: Option<BucketState>,
    pub(super) id: MoveId,
    dest: i64,
    /// Whether a fence is over by the clock, and nobody has written that down.
    is_over: bool,
}

impl BucketRow {
    fn of(row: &SqliteRow) -> Result<Self, Fault> {
        let remaining: i64 = row.try_get(4)?;
        let number: i64 = row.try_get(1)?;
        let state = match number {
            0 => None,
            2 if remaining > 0 => Some(BucketState::Fenced),
            1 | 2 => Some(BucketState::Leaving),
            3 => Some(BucketState::Gone),
            4 => Some(BucketState::Arriving),
            _ => return Err(Fault::BadRow("buckets.state")),
        };
        let bucket = u16::try_from(row.try_get::<i64, _>(0)?).ok().and_then(Bucket::new);
        let bucket = bucket.ok_or(Fault::BadRow("buckets.bucket"))?;
        let is_over = number == 2 && remaining <= 0;
        Ok(Self { bucket, state, id: MoveId(row.try_get(2)?), dest: row.try_get(3)?, is_over })
    }

    pub(super) fn moving(&self) -> Option<MovingBucket> {
        let (bucket, state, id) = (self.bucket, self.state?, self.id);
        Some(MovingBucket { bucket, state, id, to: u16::try_from(self.dest).ok()? })
    }

    fn leaves(&self) -> bool {
        matches!(self.state, Some(BucketState::Leaving | BucketState::Fenced))
    }

    pub(super) fn is_elsewhere(&self) -> bool {
        matches!(self.state, Some(BucketState::Gone | BucketState::Arriving))
    }
}

/// Milliseconds since 1970.
macro_rules! now {
    () => {
        "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
    };
}

/// Every row, in the order of their numbers. A database that has no part in moves has none.
pub(super) async fn all(connection: &mut SqliteConnection) -> Result<Vec<BucketRow>, Fault> {
    const ALL: &str =
        concat!("SELECT bucket, state, id, dest, until_ms - ", now!(), " FROM buckets ORDER BY bucket");
    let rows = sqlx::query(ALL).fetch_all(connection).await?;
    rows.iter().map(BucketRow::of).collect()
}

pub(super) async fn of_move(connection: &mut SqliteConnection, id: MoveId) -> Result<Vec<BucketRow>, Fault> {
    let mut rows = all(connection).await?;
    rows.retain(|row| row.id == id);
    Ok(rows)
}

/// The buckets that leave by a move.
pub(super) async fn leaving(
    connection: &mut SqliteConnection,
    id: MoveId,
) -> Result<BTreeSet<Bucket>, Fault> {
    let rows = of_move(connection, id).await?;
    match !rows.is_empty() && rows.iter().all(BucketRow::leaves) {
        true => Ok(rows.iter().map(|row| row.bucket).collect()),
        false => Err(Fault::LeaseLost),
    }
}

/// Who may be written to.
#[derive(Debug, Default)]
pub(in super::super) struct Ownership {
    refused: BTreeSet<Bucket>,
    leaving: BTreeSet<Bucket>,
}

impl Ownership {
    /// Whether one of these may not be written to. They are asked for only if there is such a bucket.
    pub(in super::super) fn refuses_any(&self, timelines: impl FnOnce() -> Vec<TimelineId>) -> bool {
        !self.refused.is_empty() && timelines().iter().any(|timeline| self.refuses(timeline))
    }

    pub(in super::super) fn refuses(&self, timeline: &TimelineId) -> bool {
        self.refused.contains(&Bucket::of(timeline))
    }

    /// Whether what changes has to be copied again.
    pub(in super::super) fn is_leaving(&self, timeline: &TimelineId) -> bool {
        self.leaving.contains(&Bucket::of(timeline))
    }
}

/// Who may be written to. A fence that is over is ended for good: were the clock set back later, it would hold again, and a mover would give away what is written now.
pub(in super::super) async fn ownership(connection: &mut SqliteConnection) -> Result<Ownership, Fault> {
    const END: &str = concat!("UPDATE buckets SET state = 1 WHERE state = 2 AND until_ms <= ", now!());
    let mut ownership = Ownership::default();
    let rows = all(connection).await?;
    if rows.iter().any(|row| row.is_over) {
        sqlx::query(END).execute(&mut *connection).await?;
    }
    for row in rows {
        match row.state {
            None => false,
            Some(BucketState::Leaving) => ownership.leaving.insert(row.bucket),
            Some(_) => ownership.refused.insert(row.bucket),
        };
    }
    Ok(ownership)
}

/// Whether all these may be read here. To be asked in the transaction of the read.
pub(in super::super) async fn check_owned<'a>(
    connection: &mut SqliteConnection,
    timelines: impl Iterator<Item = &'a TimelineId>,
) -> Result<(), Fault> {
    let rows = all(connection).await?;
    let elsewhere: BTreeSet<Bucket> =
        rows.iter().filter(|row| row.is_elsewhere()).map(|row| row.bucket).collect();
    let mut timelines = timelines.take_while(|_| !elsewhere.is_empty());
    match timelines.any(|timeline| elsewhere.contains(&Bucket::of(timeline))) {
        true => Err(Fault::Moved),
        false => Ok(()),
    }
}

async fn set(
    connection: &mut SqliteConnection,
    buckets: &[Bucket],
    state: i64,
    id: MoveId,
    to: u16,
) -> Result<(), Fault> {
    let set = "INSERT OR REPLACE INTO buckets (bucket, state, id, dest, until_ms) VALUES (?, ?, ?, ?, 0)";
    for bucket in buckets {
        let set = sqlx::query(set).bind(i64::from(bucket.number())).bind(state).bind(id.0);
        set.bind(i64::from(to)).execute(&mut *connection).await?;
    }
    Ok(())
}

pub(super) async fn depart(
    connection: &mut SqliteConnection,
    id: MoveId,
    buckets: Vec<Bucket>,
    to: u16,
) -> Result<(), Fault> {
    let mut rows = all(connection).await?;
    rows.retain(|row| buckets.contains(&row.bucket));
    if rows.iter().any(BucketRow::is_elsewhere) {
        return Err(Fault::Moved);
    }
    if rows.iter().any(|row| row.id > id) {
        return Err(Fault::LeaseLost);
    }
    let left_by: BTreeSet<MoveId> = rows.iter().filter(|row| row.leaves()).map(|row| row.id).collect();
    for earlier in left_by.into_iter().filter(|earlier| *earlier != id) {
        let over = "UPDATE buckets SET state = 0, until_ms = 0 WHERE id = ? AND state IN (1, 2)";
        sqlx::query(over).bind(earlier.0).execute(&mut *connection).await?;
    }
    set(connection, &buckets, 1, id, to).await?;
    super::index(connection, usize::MAX).await?;
    let forget = "DELETE FROM bucket_changes WHERE timeline IN \
                  (SELECT o.id FROM buckets b CROSS JOIN owners o ON o.bucket = b.bucket WHERE b.id = ?)";
    sqlx::query(forget).bind(id.0).execute(connection).await?;
    Ok(())
}

pub(super) async fn arrive(
    connection: &mut SqliteConnection,
    id: MoveId,
    buckets: Vec<Bucket>,
    to: u16,
) -> Result<(), Fault> {
    let mut rows = all(connection).await?;
    rows.retain(|row| buckets.contains(&row.bucket));
    let is_taken =
        |row: &BucketRow| row.id > id || (row.id == id && row.state != Some(BucketState::Arriving));
    match rows.iter().any(is_taken) {
        true => Err(Fault::LeaseLost),
        false => set(connection, &buckets, 4, id, to).await,
    }
}

pub(super) async fn set_state(
    connection: &mut SqliteConnection,
    id: MoveId,
    state: i64,
    until: i64,
) -> Result<(), Fault> {
    let set = sqlx::query("UPDATE buckets SET state = ?, until_ms = ? WHERE id = ?").bind(state);
    set.bind(until).bind(id.0).execute(connection).await?;
    Ok(())
}

pub(super) async fn fence(
    connection: &mut SqliteConnection,
    id: MoveId,
    lease: Duration,
) -> Result<(), Fault> {
    const NOW: &str = concat!("SELECT ", now!());
    let now: i64 = sqlx::query(NOW).fetch_one(&mut *connection).await?.try_get(0)?;
    let lease = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
    set_state(connection, id, 2, now.saturating_add(lease)).await
}

pub(super) async fn release(connection: &mut SqliteConnection, id: MoveId) -> Result<(), Fault> {
    let rows = of_move(connection, id).await?;
    if !rows.is_empty() && rows.iter().all(super::is_gone) {
        return Ok(());
    }
    if rows.is_empty() || rows.iter().any(|row| row.state != Some(BucketState::Fenced)) {
        return Err(Fault::LeaseLost);
    }
    super::index(connection, usize::MAX).await?;
    let pending = "SELECT x.id FROM buckets b CROSS JOIN owners o ON o.bucket = b.bucket \
                   CROSS JOIN outbox x ON x.sender = o.id WHERE b.id = ? LIMIT 1";
    if sqlx::query(pending).bind(id.0).fetch_optional(&mut *connection).await?.is_some() {
        return Err(Fault::Pending);
    }
    set_state(connection, id, 3, 0).await
}

pub(super) async fn own(connection: &mut SqliteConnection, id: MoveId) -> Result<(), Fault> {
    sqlx::query("UPDATE buckets SET state = 0 WHERE id = ? AND state = 4")
        .bind(id.0)
        .execute(connection)
        .await?;
    Ok(())
}
