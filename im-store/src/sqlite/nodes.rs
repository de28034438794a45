use std::time::Duration;

use async_trait::async_trait;
use im_core::id::NodeId;
use im_core::storage::{HeldNode, NodeLease, Nodes, StoreError, StoreErrorKind};
use im_core::time::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{Fault, SqliteStore};

#[async_trait]
impl Nodes for SqliteStore {
    async fn lease_node(&self, holder: &str, now: Timestamp, ttl: Duration) -> Result<NodeLease, StoreError> {
        let holder = holder.as_bytes().to_vec();
        let taken = self.writer.transact(|connection| Box::pin(lease(connection, holder, now, ttl)));
        let lease = self.within("lease_node", taken).await?;
        lease.ok_or_else(|| StoreError::new(StoreErrorKind::LeaseLost, "lease_node"))
    }

    async fn renew_node(
        &self,
        lease: &NodeLease,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<NodeLease, StoreError> {
        let (node, epoch) = (i64::from(lease.node.0), lease.epoch);
        let moved = self.writer.transact(|connection| Box::pin(renew(connection, node, epoch, now + ttl)));
        let until = self.within("renew_node", moved).await?;
        let until = until.ok_or_else(|| StoreError::new(StoreErrorKind::LeaseLost, "renew_node"))?;
        Ok(NodeLease { until, ..lease.clone() })
    }

    async fn held_nodes(&self) -> Result<Vec<HeldNode>, StoreError> {
        let held = async {
            let rows = sqlx::query(ALL).fetch_all(&self.readers).await?;
            let held = rows.iter().map(|row| taken(row)?.held()).collect::<Result<Vec<_>, Fault>>()?;
            Ok(held.into_iter().filter(|held| !held.is_floor()).collect())
        };
        self.within("held_nodes", held).await
    }

    async fn release_node(&self, lease: &NodeLease, until: Timestamp) -> Result<(), StoreError> {
        let (node, epoch, until) = (i64::from(lease.node.0), lease.epoch, until.max(lease.from));
        let moved = self.writer.transact(|connection| Box::pin(release(connection, node, epoch, until)));
        let held = self.within("release_node", moved).await?;
        held.then_some(()).ok_or_else(|| StoreError::new(StoreErrorKind::LeaseLost, "release_node"))
    }
}

const ALL: &str = "SELECT node, holder, epoch, until_ms FROM nodes ORDER BY node";

struct Taken {
    node: u16,
    holder: Vec<u8>,
    epoch: i64,
    until: Timestamp,
}

impl Taken {
    fn held(self) -> Result<HeldNode, Fault> {
        let holder = String::from_utf8(self.holder).map_err(|_| Fault::BadRow("nodes.holder"))?;
        Ok(HeldNode { node: NodeId(self.node), holder, epoch: self.epoch, until: self.until })
    }
}

/// Takes a number; `None` if all are held.
async fn lease(
    connection: &mut SqliteConnection,
    holder: Vec<u8>,
    now: Timestamp,
    ttl: Duration,
) -> Result<Option<NodeLease>, Fault> {
    let taken = all(connection).await?;
    let Some(node) = choose(&taken, &holder, now) else { return Ok(None) };
    let last = taken.iter().find(|taken| taken.node == node);
    let floor = taken.iter().find(|taken| taken.node == NodeId::FLOOR.0);
    let from = last.into_iter().chain(floor).map(|taken| taken.until).fold(now, Timestamp::max);
    let lease = NodeLease {
        node: NodeId(node),
        epoch: NodeLease::next_epoch(last.map(|last| last.epoch), now),
        from,
        until: from + ttl,
    };
    put(connection, Taken { node, holder, epoch: lease.epoch, until: lease.until }).await?;
    Ok(Some(lease))
}

/// Moves the floor of all leases.
pub(super) async fn raise_floor(connection: &mut SqliteConnection, now: Timestamp) -> Result<(), Fault> {
    let taken = all(connection).await?;
    let HeldNode { node, holder, epoch, until } = HeldNode::floor(now, taken.iter().map(|taken| taken.until));
    put(connection, Taken { node: node.0, holder: holder.into_bytes(), epoch, until }).await
}

async fn all(connection: &mut SqliteConnection) -> Result<Vec<Taken>, Fault> {
    let rows = sqlx::query(ALL).fetch_all(connection).await?;
    rows.iter().map(taken).collect()
}

async fn put(connection: &mut SqliteConnection, taken: Taken) -> Result<(), Fault> {
    let Taken { node, holder, epoch, until } = taken;
    sqlx::query("INSERT OR REPLACE INTO nodes (node, holder, epoch, until_ms) VALUES (?, ?, ?, ?)")
        .bind(i64::from(node))
        .bind(holder)
        .bind(epoch)
        .bind(until.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// The holder's own number, else the lowest that is free.
fn choose(taken: &[Taken], holder: &[u8], now: Timestamp) -> Option<u16> {
    let mut servers = taken.iter().filter(|taken| taken.node <= NodeId::MAX.0);
    let own = servers.find(|taken| taken.holder == holder).map(|taken| taken.node);
    let held = |node: &u16| taken.iter().any(|taken| taken.node == *node && taken.until > now);
    own.or_else(|| (0..=NodeId::MAX.0).find(|node| !held(node)))
}

fn taken(row: &SqliteRow) -> Result<Taken, Fault> {
    let node = u16::try_from(row.try_get::<i64, _>(0)?).map_err(|_| Fault::BadRow("nodes.node"))?;
    let until = Timestamp(row.try_get(3)?);
    Ok(Taken { node, holder: row.try_get(1)?, epoch: row.try_get(2)?, until })
}

/// Moves a lease's end; `None` if the lease is not the newest of its number.
async fn renew(
    connection: &mut SqliteConnection,
    node: i64,
    epoch: i64,
    until: Timestamp,
) -> Result<Option<Timestamp>, Fault> {
    let renew =
        "UPDATE nodes SET until_ms = max(until_ms, ?) WHERE node = ? AND epoch = ? RETURNING until_ms";
    let row = sqlx::query(renew).bind(until.0).bind(node).bind(epoch).fetch_optional(connection).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?.map(Timestamp))
}

/// Moves a lease's end back; whether the lease is the newest of its number.
async fn release(
    connection: &mut SqliteConnection,
    node: i64,
    epoch: i64,
    until: Timestamp,
) -> Result<bool, Fault> {
    let release = "UPDATE nodes SET until_ms = min(until_ms, ?) WHERE node = ? AND epoch = ?";
    let done = sqlx::query(release).bind(until.0).bind(node).bind(epoch).execute(connection).await?;
    Ok(done.rows_affected() > 0)
}
