use std::time::Duration;

use async_trait::async_trait;
use im_core::id::NodeId;
use im_core::storage::{HeldNode, NodeLease, Nodes, StoreError, StoreErrorKind};
use im_core::time::Timestamp;

use super::driver::{Column, Row, Session, Value};
use super::statement::{Both, Insert, Text};
use super::tries::Tries;
use super::{Fault, SqlStore};

/// Only one at a time takes, renews or gives back a number.
static LOCK: Text = Text::new("SELECT s.id FROM store_state s WHERE s.id = 1 FOR UPDATE");

static ALL: Text = Text::new("SELECT n.node, n.holder, n.epoch, n.until_ms FROM nodes n ORDER BY n.node");

static TAKE: Insert = Insert::new(
    "nodes",
    &["node", "holder", "epoch", "until_ms"],
    Both {
        mysql: "ON DUPLICATE KEY UPDATE holder = VALUES(holder), epoch = VALUES(epoch), until_ms = VALUES(until_ms)",
        postgres: "ON CONFLICT (node) DO UPDATE SET holder = excluded.holder, epoch = excluded.epoch, \
                   until_ms = excluded.until_ms",
    },
);

#[async_trait]
impl Nodes for SqlStore {
    async fn lease_node(&self, holder: &str, now: Timestamp, ttl: Duration) -> Result<NodeLease, StoreError> {
        let leased = self.change_nodes(Change::Lease { holder: holder.as_bytes(), now, ttl });
        let lease = self.within("lease_node", leased).await?;
        lease.ok_or_else(|| StoreError::new(StoreErrorKind::LeaseLost, "lease_node"))
    }

    async fn renew_node(
        &self,
        lease: &NodeLease,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<NodeLease, StoreError> {
        let renewed = self.change_nodes(Change::Renew { lease, until: now + ttl });
        let lease = self.within("renew_node", renewed).await?;
        lease.ok_or_else(|| StoreError::new(StoreErrorKind::LeaseLost, "renew_node"))
    }

    async fn held_nodes(&self) -> Result<Vec<HeldNode>, StoreError> {
        let held = async {
            let mut session = self.pool.session().await?;
            let rows = session.select(&ALL, Vec::new()).await;
            let held =
                session.settle(rows)?.iter().map(|row| taken(row)?.held()).collect::<Result<Vec<_>, _>>()?;
            Ok(held.into_iter().filter(|held| !held.is_floor()).collect())
        };
        self.within("held_nodes", held).await
    }

    async fn release_node(&self, lease: &NodeLease, until: Timestamp) -> Result<(), StoreError> {
        let released = self.change_nodes(Change::Release { lease, until });
        let lease = self.within("release_node", released).await?;
        lease.map(drop).ok_or_else(|| StoreError::new(StoreErrorKind::LeaseLost, "release_node"))
    }
}

#[derive(Clone, Copy)]
enum Change<'a> {
    Lease { holder: &'a [u8], now: Timestamp, ttl: Duration },
    Renew { lease: &'a NodeLease, until: Timestamp },
    Release { lease: &'a NodeLease, until: Timestamp },
}

impl SqlStore {
    async fn change_nodes(&self, change: Change<'_>) -> Result<Option<NodeLease>, Fault> {
        let mut tries = Tries::default();
        loop {
            let mut session = self.pool.begin().await?;
            let changed = change_nodes(&mut session, change).await;
            match session.end(changed).await {
                Err(fault) if fault.is_conflict() => tries.wait(fault).await?,
                outcome => return outcome,
            }
        }
    }
}

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

async fn change_nodes(session: &mut Session, change: Change<'_>) -> Result<Option<NodeLease>, Fault> {
    session.select(&LOCK, Vec::new()).await?;
    let taken = all(session).await?;
    let changed = match change {
        Change::Lease { holder, now, ttl } => lease(&taken, holder, now, ttl),
        Change::Renew { lease, until } => renew(&taken, lease, until),
        Change::Release { lease, until } => release(&taken, lease, until),
    };
    let Some((lease, holder)) = changed else { return Ok(None) };
    put(session, Taken { node: lease.node.0, holder, epoch: lease.epoch, until: lease.until }).await?;
    Ok(Some(lease))
}

/// Moves the floor of all leases. The row that who takes a number locks is locked.
pub(super) async fn raise_floor(session: &mut Session, now: Timestamp) -> Result<(), Fault> {
    let taken = all(session).await?;
    let HeldNode { node, holder, epoch, until } = HeldNode::floor(now, taken.iter().map(|taken| taken.until));
    put(session, Taken { node: node.0, holder: holder.into_bytes(), epoch, until }).await
}

async fn all(session: &mut Session) -> Result<Vec<Taken>, Fault> {
    let rows = session.select(&ALL, Vec::<Value>::new()).await?;
    rows.iter().map(taken).collect()
}

async fn put(session: &mut Session, taken: Taken) -> Result<(), Fault> {
    let Taken { node, holder, epoch, until } = taken;
    let row = vec![
        Column::Ints(vec![i64::from(node)]),
        Column::Blobs(vec![holder]),
        Column::Ints(vec![epoch]),
        Column::Ints(vec![until.0]),
    ];
    session.insert(&TAKE, row).await
}

/// The lease to take and who takes it; `None` if all numbers are held.
fn lease(taken: &[Taken], holder: &[u8], now: Timestamp, ttl: Duration) -> Option<(NodeLease, Vec<u8>)> {
    let node = choose(taken, holder, now)?;
    let last = taken.iter().find(|taken| taken.node == node);
    let floor = taken.iter().find(|taken| taken.node == NodeId::FLOOR.0);
    let from = last.into_iter().chain(floor).map(|taken| taken.until).fold(now, Timestamp::max);
    let epoch = NodeLease::next_epoch(last.map(|last| last.epoch), now);
    Some((NodeLease { node: NodeId(node), epoch, from, until: from + ttl }, holder.to_vec()))
}

/// The lease with its new end; `None` if it is not the newest of its number.
fn renew(taken: &[Taken], lease: &NodeLease, until: Timestamp) -> Option<(NodeLease, Vec<u8>)> {
    let last = taken.iter().find(|taken| taken.node == lease.node.0 && taken.epoch == lease.epoch)?;
    Some((NodeLease { until: last.until.max(until), ..lease.clone() }, last.holder.clone()))
}

/// The lease with its earlier end; `None` if it is not the newest of its number.
fn release(taken: &[Taken], lease: &NodeLease, until: Timestamp) -> Option<(NodeLease, Vec<u8>)> {
    let last = taken.iter().find(|taken| taken.node == lease.node.0 && taken.epoch == lease.epoch)?;
    let until = last.until.min(until.max(lease.from));
    Some((NodeLease { until, ..lease.clone() }, last.holder.clone()))
}

/// The holder's own number, else the lowest that is free.
fn choose(taken: &[Taken], holder: &[u8], now: Timestamp) -> Option<u16> {
    let mut servers = taken.iter().filter(|taken| taken.node <= NodeId::MAX.0);
    let own = servers.find(|taken| taken.holder == holder).map(|taken| taken.node);
    let held = |node: &u16| taken.iter().any(|taken| taken.node == *node && taken.until > now);
    own.or_else(|| (0..=NodeId::MAX.0).find(|node| !held(node)))
}

fn taken(row: &Row) -> Result<Taken, Fault> {
    let node = u16::try_from(row.int(0)?).map_err(|_| Fault::BadRow("nodes.node"))?;
    Ok(Taken { node, holder: row.bytes(1)?.to_vec(), epoch: row.int(2)?, until: Timestamp(row.int(3)?) })
}
