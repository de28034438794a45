//! Buckets that move to another database, or come from one.
//!
//! `buckets` has a row for each. Whoever writes [sees to it](super::writing) that the buckets to which it writes stay as they are until it ends, after the locks of owners and
//! before it inserts anything; whoever changes a row waits until these have ended. So nothing goes on behind a fence, and what has a number below the greatest at that moment is there.

mod clear;
mod copy_in;
mod copy_out;
mod member;
mod state;

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use im_core::message::TimelineId;
use im_core::storage::{
    Bucket, BucketState, Buckets, CopyLimits, CopyOut, CopyPage, Mark, Member, MoveId, MovedRow,
    MovingBucket, StoreError, StoredMap, Tally,
};

use super::driver::{Column, Session, Value};
use super::ownership::{BucketRow, GONE, bucket_of};
use super::statement::{Both, Insert, Text};
use super::{Fault, SqlStore};
use clear::Cleared;
pub(super) use member::place;
use state::of_move;

static MAP: Text = Text::new("SELECT m.version, m.map FROM bucket_map m WHERE m.id = 1");

static MAP_LOCKED: Text = Text::new("SELECT m.version, m.moves FROM bucket_map m WHERE m.id = 1 FOR UPDATE");

static PUT_MAP: Text = Text::new("UPDATE bucket_map SET version = ?, map = ? WHERE id = 1");

static PUT_MOVES: Text = Text::new("UPDATE bucket_map SET moves = ? WHERE id = 1");

#[async_trait]
impl Buckets for SqlStore {
    async fn bucket_map(&self) -> Result<Option<StoredMap>, StoreError> {
        let map = async {
            let mut session = self.pool.session().await?;
            let rows = session.select(&MAP, Vec::new()).await;
            let rows = session.settle(rows)?;
            let row = rows.first().ok_or(Fault::BadRow("bucket_map.id"))?;
            let (version, bytes) = (row.int(0)?, row.bytes(1)?.to_vec());
            Ok((version > 0).then_some(StoredMap { version, bytes }))
        };
        self.within("bucket_map", map).await
    }

    async fn put_bucket_map(&self, map: StoredMap) -> Result<bool, StoreError> {
        let put = self.transact(&map, |session, map| Box::pin(put_map(session, map)));
        self.within("put_bucket_map", put).await
    }

    async fn member(&self) -> Result<Option<Member>, StoreError> {
        let member = async {
            let mut session = self.pool.session().await?;
            let member = member::noted(&mut session).await;
            session.settle(member)
        };
        self.within("member", member).await
    }

    async fn join(&self, member: Member) -> Result<Member, StoreError> {
        let joined = self.transact(&member, |session, member| Box::pin(member::join(session, *member)));
        self.within("join", joined).await
    }

    async fn some_timelines(&self, limit: usize) -> Result<Vec<TimelineId>, StoreError> {
        let shown = self.transact(&limit, |session, limit| Box::pin(member::timelines(session, *limit)));
        self.within("some_timelines", shown).await
    }

    async fn next_move(&self) -> Result<MoveId, StoreError> {
        self.within("next_move", self.transact(&(), |session, ()| Box::pin(next_move(session)))).await
    }

    async fn moving_buckets(&self) -> Result<Vec<MovingBucket>, StoreError> {
        let rows = async {
            let mut session = self.pool.session().await?;
            let rows = state::all_moving(&mut session).await;
            session.settle(rows)
        };
        let rows = self.within("moving_buckets", rows).await?;
        Ok(rows.iter().filter_map(BucketRow::moving).collect())
    }

    async fn index_buckets(&self, limit: usize) -> Result<bool, StoreError> {
        let indexed = self.transact(&limit, |session, limit| Box::pin(index(session, *limit)));
        self.within("index_buckets", indexed).await
    }

    async fn depart(&self, id: MoveId, buckets: Vec<Bucket>, to: u16) -> Result<(), StoreError> {
        let departed =
            self.transact(&buckets, |session, buckets| Box::pin(state::depart(session, id, buckets, to)));
        self.within("depart", departed).await
    }

    async fn arrive(&self, id: MoveId, buckets: Vec<Bucket>, to: u16) -> Result<(), StoreError> {
        let arrived =
            self.transact(&buckets, |session, buckets| Box::pin(state::arrive(session, id, buckets, to)));
        self.within("arrive", arrived).await
    }

    async fn clear(&self, id: MoveId, limit: usize) -> Result<bool, StoreError> {
        // Reads that began before the buckets were gone have ended.
        let grace = self.deadline * 2;
        let cleared = async {
            let cleared =
                self.transact(&grace, |session, grace| Box::pin(clear::clear(session, id, limit, *grace)));
            let cleared = cleared.await?;
            if let Cleared::NotYet(left) = cleared {
                // Callers ask again at once, for as long as it takes: part of that time they wait here.
                tokio::time::sleep(left.min(self.deadline / 4)).await;
            }
            Ok(cleared == Cleared::All)
        };
        self.within("clear", cleared).await
    }

    async fn mark(&self, id: MoveId) -> Result<Mark, StoreError> {
        let marked = self.transact(&id, |session, _| {
            Box::pin(async move {
                state::lock_leaving(session, id).await?;
                copy_out::mark(session, id).await
            })
        });
        self.within("mark", marked).await
    }

    async fn copy_out(&self, id: MoveId, ask: CopyOut, limits: CopyLimits) -> Result<CopyPage, StoreError> {
        let page = self.transact(&ask, |session, ask| Box::pin(copy_out::page(session, id, ask, limits)));
        self.within("copy_out", page).await
    }

    async fn copy_in(&self, id: MoveId, rows: Vec<MovedRow>) -> Result<(), StoreError> {
        let stored = async {
            loop {
                let stored =
                    self.transact(&rows, |session, rows| Box::pin(copy_in::store(session, id, rows))).await;
                match stored {
                    Err(Fault::NewOwners(names)) => self.create_owners(names).await?,
                    outcome => return outcome,
                }
            }
        };
        self.within("copy_in", stored).await
    }

    async fn tally(&self, id: MoveId) -> Result<Tally, StoreError> {
        let tally = self.transact(&id, |session, id| Box::pin(tally(session, *id)));
        self.within("tally", tally).await
    }

    async fn fence(&self, id: MoveId, lease: Duration) -> Result<Mark, StoreError> {
        let fenced = self.transact(&id, |session, _| {
            Box::pin(async move {
                state::fence(session, id, lease).await?;
                copy_out::mark(session, id).await
            })
        });
        self.within("fence", fenced).await
    }

    async fn unfence(&self, id: MoveId) -> Result<(), StoreError> {
        self.within("unfence", self.transact(&id, |session, id| Box::pin(state::unfence(session, *id)))).await
    }

    async fn release(&self, id: MoveId) -> Result<(), StoreError> {
        self.within("release", self.transact(&id, |session, id| Box::pin(state::release(session, *id)))).await
    }

    async fn own(&self, id: MoveId) -> Result<(), StoreError> {
        self.within("own", self.transact(&id, |session, id| Box::pin(state::own(session, *id)))).await
    }
}

impl SqlStore {
    /// Ends fences whose time is over, in a transaction of its own: one that has locks already could wait for another in a circle.
    pub(super) async fn end_fences(&self, buckets: BTreeSet<i64>) -> Result<(), Fault> {
        self.transact(&buckets, |session, buckets| Box::pin(state::end_fences(session, buckets))).await
    }
}

async fn put_map(session: &mut Session, map: &StoredMap) -> Result<bool, Fault> {
    let rows = session.select(&MAP_LOCKED, Vec::new()).await?;
    let stored = rows.first().ok_or(Fault::BadRow("bucket_map.id"))?.int(0)?;
    let follows = map.version == stored + 1;
    if follows {
        session.execute(&PUT_MAP, vec![Value::Int(map.version), Value::Bytes(map.bytes.clone())]).await?;
    }
    Ok(follows)
}

async fn next_move(session: &mut Session) -> Result<MoveId, Fault> {
    let rows = session.select(&MAP_LOCKED, Vec::new()).await?;
    let next = rows.first().ok_or(Fault::BadRow("bucket_map.id"))?.int(1)? + 1;
    session.execute(&PUT_MOVES, vec![Value::Int(next)]).await?;
    Ok(MoveId(next))
}

static UNINDEXED: Text = Text::new("SELECT o.id, o.name FROM owners o WHERE o.bucket IS NULL LIMIT ?");

/// All of them are there: this notes their buckets.
static INDEX: Insert = Insert::new(
    "owners",
    &["id", "name", "bucket"],
    Both {
        mysql: "ON DUPLICATE KEY UPDATE bucket = VALUES(bucket)",
        postgres: "ON CONFLICT (id) DO UPDATE SET bucket = excluded.bucket",
    },
);

async fn index(session: &mut Session, limit: usize) -> Result<bool, Fault> {
    let limit = i64::try_from(limit.max(1)).unwrap_or(i64::MAX);
    let mut owners = Vec::new();
    for row in session.select(&UNINDEXED, vec![Value::Int(limit)]).await? {
        owners.push((row.bytes(1)?.to_vec(), row.int(0)?));
    }
    owners.sort_unstable();
    let buckets = owners.iter().map(|(name, _)| bucket_of(name)).collect::<Result<Vec<_>, _>>()?;
    let columns = vec![
        Column::ints(owners.iter().map(|(_, id)| *id)),
        Column::blobs(owners.iter().map(|(name, _)| name.clone())),
        Column::Ints(buckets),
    ];
    session.insert(&INDEX, columns).await?;
    Ok(i64::try_from(owners.len()).unwrap_or(i64::MAX) < limit)
}

static HEADS: Text = Text::new(
    "SELECT COUNT(o.id), MAX(o.id), o.head FROM buckets b JOIN owners o ON o.bucket = b.bucket \
     WHERE b.id = ? AND o.head > 0 GROUP BY o.head",
);

static ACKED: Text = Text::new(
    "SELECT /*! STRAIGHT_JOIN */ COUNT(c.device), c.version FROM buckets b JOIN owners t ON t.bucket = b.bucket \
     JOIN cursors c ON c.timeline = t.id WHERE b.id = ? GROUP BY c.version",
);

async fn tally(session: &mut Session, id: MoveId) -> Result<Tally, Fault> {
    session.join_as_written().await?;
    let mut tally = Tally::default();
    for row in session.select(&HEADS, vec![Value::Int(id.0)]).await? {
        let count = row.int(0)?;
        tally.timelines += count;
        tally.heads = tally.heads.saturating_add(count.saturating_mul(row.int(2)?));
    }
    for row in session.select(&ACKED, vec![Value::Int(id.0)]).await? {
        let count = row.int(0)?;
        tally.cursors += count;
        tally.acked = tally.acked.saturating_add(count.saturating_mul(row.int(1)?));
    }
    Ok(tally)
}

/// The buckets of a move that is not over, in one of these states.
async fn buckets_in(
    session: &mut Session,
    id: MoveId,
    states: &[BucketState],
) -> Result<BTreeSet<i64>, Fault> {
    let rows = of_move(session, id).await?;
    let rows = rows.iter().filter(|row| row.state.is_some_and(|state| states.contains(&state)));
    let buckets: BTreeSet<i64> = rows.map(|row| row.bucket).collect();
    match buckets.is_empty() {
        true => Err(Fault::LeaseLost),
        false => Ok(buckets),
    }
}

/// Whether a bucket was given away.
fn is_gone(row: &BucketRow) -> bool {
    row.state == Some(GONE)
}
