//! Which owners belong here: a bucket may leave for another database, be gone, or be on its way here. Whoever reads or writes asks
//! here; who moves buckets is in [`buckets`](super::buckets).

use std::collections::BTreeSet;

use im_core::message::TimelineId;
use im_core::storage::{Bucket, BucketState, MoveId, MovingBucket};

use super::driver::{Column, Row, Session};
use super::statement::{Both, Keyed};
use super::{Fault, lookup};
use crate::name;

/// Of buckets that another database has.
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
    pub(super) is_over: bool,
}

impl BucketRow {
    /// From the columns bucket, state, id, dest and the milliseconds to `until_ms`.
    pub(super) fn of(row: &Row) -> Result<Self, Fault> {
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

    pub(super) fn leaves(&self) -> bool {
        matches!(self.state, Some(BucketState::Leaving | BucketState::Fenced))
    }
}

/// The columns of a [`BucketRow`], with the time of each dialect.
macro_rules! bucket_rows {
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
pub(super) use bucket_rows;

/// Rows of which nobody changes one until the transaction ends. They are locked in the order of their numbers.
pub(super) static SHARED: Keyed = Keyed::new(
    bucket_rows!("{keys}", " ORDER BY b.bucket LOCK IN SHARE MODE", " ORDER BY b.bucket FOR SHARE"),
    &["b.bucket"],
);

/// The same where nobody changes any.
pub(super) static STAYING: Keyed = Keyed::new(bucket_rows!("{keys}", "", ""), &["b.bucket"]);

/// Who may be written to.
#[derive(Debug, Default)]
pub(super) struct Ownership {
    refused: BTreeSet<i64>,
    leaving: BTreeSet<i64>,
}

impl Ownership {
    /// Of the rows of the buckets that matter. `FencesOver` if fences have to be ended first.
    pub(super) fn of(rows: &[Row]) -> Result<Self, Fault> {
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

    pub(super) fn refuses(&self, timeline: &TimelineId) -> bool {
        self.refused.contains(&number_of(timeline))
    }

    /// Whether it simply belongs here.
    pub(super) fn is_simple(&self, timeline: &TimelineId) -> bool {
        !self.refuses(timeline) && !self.is_leaving(timeline)
    }

    /// Whether what changes has to be copied again.
    pub(super) fn is_leaving(&self, timeline: &TimelineId) -> bool {
        self.leaving.contains(&number_of(timeline))
    }
}

/// The number of a timeline's bucket.
pub(super) fn number_of(timeline: &TimelineId) -> i64 {
    i64::from(Bucket::of(timeline).number())
}

/// The bucket of an owner's name.
pub(super) fn bucket_of(owner: &[u8]) -> Result<i64, Fault> {
    let owner = name::parse(owner).ok_or(Fault::BadRow("owners.name"))?;
    Ok(i64::from(Bucket::of(&name::timeline_of(&owner)).number()))
}

/// Whether all these may be read here. (Rows of buckets that are gone stay for longer than a call takes.)
pub(super) async fn check_owned<'a>(
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
