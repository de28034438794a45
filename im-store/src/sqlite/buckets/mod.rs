//! Buckets that move to another database, or come from one. One connection writes: what a transaction sees of them stays so until it ends.

mod clear;
mod copy_in;
mod copy_out;
mod member;
mod state;

use std::time::Duration;

use async_trait::async_trait;
use im_core::message::TimelineId;
use im_core::storage::{
    Bucket, BucketState, Buckets, CopyLimits, CopyOut, CopyPage, Mark, Member, MoveId, MovedRow,
    MovingBucket, StoreError, StoredMap, Tally,
};
use sqlx::{Row, SqliteConnection};

use super::{Fault, SqliteStore};
use crate::name;
pub(super) use member::place;
pub(super) use state::{check_owned, ownership};
use state::{leaving, of_move};

#[async_trait]
impl Buckets for SqliteStore {
    async fn bucket_map(&self) -> Result<Option<StoredMap>, StoreError> {
        let map = async {
            let row = sqlx::query("SELECT version, map FROM bucket_map").fetch_one(&self.readers).await?;
            let (version, bytes) = (row.try_get(0)?, row.try_get(1)?);
            Ok((version > 0).then_some(StoredMap { version, bytes }))
        };
        self.within("bucket_map", map).await
    }

    async fn put_bucket_map(&self, map: StoredMap) -> Result<bool, StoreError> {
        let put = self.writer.transact(|connection| Box::pin(put_map(connection, map)));
        self.within("put_bucket_map", put).await
    }

    async fn member(&self) -> Result<Option<Member>, StoreError> {
        let member = async { Ok(member::noted(&mut *self.readers.acquire().await?).await?) };
        self.within("member", member).await
    }

    async fn join(&self, member: Member) -> Result<Member, StoreError> {
        let joined = self.writer.transact(move |connection| Box::pin(member::join(connection, member)));
        self.within("join", joined).await
    }

    async fn some_timelines(&self, limit: usize) -> Result<Vec<TimelineId>, StoreError> {
        let shown = self.writer.transact(move |connection| Box::pin(member::timelines(connection, limit)));
        self.within("some_timelines", shown).await
    }

    async fn next_move(&self) -> Result<MoveId, StoreError> {
        self.within("next_move", self.writer.transact(|connection| Box::pin(next_move(connection)))).await
    }

    async fn moving_buckets(&self) -> Result<Vec<MovingBucket>, StoreError> {
        let rows = async { state::all(&mut *self.readers.acquire().await?).await };
        let rows = self.within("moving_buckets", rows).await?;
        Ok(rows.iter().filter_map(state::BucketRow::moving).collect())
    }

    async fn index_buckets(&self, limit: usize) -> Result<bool, StoreError> {
        let indexed = self.writer.transact(|connection| Box::pin(index(connection, limit)));
        self.within("index_buckets", indexed).await
    }

    async fn depart(&self, id: MoveId, buckets: Vec<Bucket>, to: u16) -> Result<(), StoreError> {
        let departed =
            self.writer.transact(move |connection| Box::pin(state::depart(connection, id, buckets, to)));
        self.within("depart", departed).await
    }

    async fn arrive(&self, id: MoveId, buckets: Vec<Bucket>, to: u16) -> Result<(), StoreError> {
        let arrived =
            self.writer.transact(move |connection| Box::pin(state::arrive(connection, id, buckets, to)));
        self.within("arrive", arrived).await
    }

    async fn clear(&self, id: MoveId, limit: usize) -> Result<bool, StoreError> {
        let cleared = self.writer.transact(move |connection| Box::pin(clear::clear(connection, id, limit)));
        self.within("clear", cleared).await
    }

    async fn mark(&self, id: MoveId) -> Result<Mark, StoreError> {
        let marked = self.writer.transact(move |connection| {
            Box::pin(async move {
                let buckets = leaving(connection, id).await?;
                copy_out::mark(connection, &buckets).await
            })
        });
        self.within("mark", marked).await
    }

    async fn copy_out(&self, id: MoveId, ask: CopyOut, limits: CopyLimits) -> Result<CopyPage, StoreError> {
        let page = async {
            let mut transaction = self.readers.begin().await?;
            let page = copy_out::page(&mut transaction, id, ask, limits).await?;
            transaction.commit().await?;
            Ok(page)
        };
        self.within("copy_out", page).await
    }

    async fn copy_in(&self, id: MoveId, rows: Vec<MovedRow>) -> Result<(), StoreError> {
        let stored = self.writer.transact(move |connection| Box::pin(copy_in::store(connection, id, rows)));
        self.within("copy_in", stored).await
    }

    async fn tally(&self, id: MoveId) -> Result<Tally, StoreError> {
        self.within("tally", self.writer.transact(move |connection| Box::pin(tally(connection, id)))).await
    }

    async fn fence(&self, id: MoveId, lease: Duration) -> Result<Mark, StoreError> {
        let fenced = self.writer.transact(move |connection| {
            Box::pin(async move {
                let buckets = leaving(connection, id).await?;
                state::fence(connection, id, lease).await?;
                copy_out::mark(connection, &buckets).await
            })
        });
        self.within("fence", fenced).await
    }

    async fn unfence(&self, id: MoveId) -> Result<(), StoreError> {
        let unfenced = self.writer.transact(move |connection| {
            Box::pin(async move {
                leaving(connection, id).await?;
                state::set_state(connection, id, 1, 0).await
            })
        });
        self.within("unfence", unfenced).await
    }

    async fn release(&self, id: MoveId) -> Result<(), StoreError> {
        let released = self.writer.transact(move |connection| Box::pin(state::release(connection, id)));
        self.within("release", released).await
    }

    async fn own(&self, id: MoveId) -> Result<(), StoreError> {
        self.within("own", self.writer.transact(move |connection| Box::pin(state::own(connection, id)))).await
    }
}

async fn put_map(connection: &mut SqliteConnection, map: StoredMap) -> Result<bool, Fault> {
    let put = "UPDATE bucket_map SET version = ?, map = ? WHERE version = ?";
    let put = sqlx::query(put).bind(map.version).bind(map.bytes).bind(map.version - 1);
    Ok(put.execute(connection).await?.rows_affected() > 0)
}

async fn next_move(connection: &mut SqliteConnection) -> Result<MoveId, Fault> {
    let next = "UPDATE bucket_map SET moves = moves + 1 RETURNING moves";
    Ok(MoveId(sqlx::query(next).fetch_one(connection).await?.try_get(0)?))
}

/// Notes the buckets of owners that came since this was done last.
async fn index(connection: &mut SqliteConnection, limit: usize) -> Result<bool, Fault> {
    let limit = i64::try_from(limit.max(1)).unwrap_or(i64::MAX);
    let rows = sqlx::query("SELECT id, name FROM owners WHERE bucket IS NULL LIMIT ?");
    let rows = rows.bind(limit).fetch_all(&mut *connection).await?;
    for row in &rows {
        let bucket = Bucket::of(&timeline(row.try_get(1)?)?).number();
        let note = sqlx::query("UPDATE owners SET bucket = ? WHERE id = ?").bind(i64::from(bucket));
        note.bind(row.try_get::<i64, _>(0)?).execute(&mut *connection).await?;
    }
    Ok(i64::try_from(rows.len()).unwrap_or(i64::MAX) < limit)
}

async fn tally(connection: &mut SqliteConnection, id: MoveId) -> Result<Tally, Fault> {
    index(connection, usize::MAX).await?;
    let sum = "SELECT count(*), coalesce(sum(o.head), 0) FROM buckets b CROSS JOIN owners o ON o.bucket = b.bucket \
               WHERE b.id = ? AND o.head > 0";
    let owners = sqlx::query(sum).bind(id.0).fetch_one(&mut *connection).await?;
    let sum = "SELECT count(*), coalesce(sum(c.version), 0) FROM buckets b CROSS JOIN owners t ON t.bucket = b.bucket \
               CROSS JOIN cursors c ON c.timeline = t.id WHERE b.id = ?";
    let cursors = sqlx::query(sum).bind(id.0).fetch_one(connection).await?;
    Ok(Tally {
        timelines: owners.try_get(0)?,
        heads: owners.try_get(1)?,
        cursors: cursors.try_get(0)?,
        acked: cursors.try_get(1)?,
    })
}

/// Whose a name is.
fn timeline(owner: &[u8]) -> Result<TimelineId, Fault> {
    let owner = name::parse(owner).ok_or(Fault::BadRow("owners.name"))?;
    Ok(name::timeline_of(&owner))
}

/// Whether a bucket was given away.
fn is_gone(row: &state::BucketRow) -> bool {
    row.state == Some(BucketState::Gone)
}
