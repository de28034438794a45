//! Who holds which node number. There are 1,024 at most, and the floor of all leases, so all rows are kept in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use im_core::id::NodeId;
use im_core::storage::{HeldNode, NodeLease};
use im_core::time::Timestamp;

use super::codec::{Input, put_bytes, put_signed};

/// The newest lease of a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeRow {
    pub(super) holder: String,
    pub(super) epoch: i64,
    pub(super) until: Timestamp,
}

impl NodeRow {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_signed(out, self.epoch);
        put_signed(out, self.until.0);
        put_bytes(out, self.holder.as_bytes());
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut input = Input(bytes);
        let (epoch, until) = (input.signed()?, Timestamp(input.signed()?));
        Some(Self { epoch, until, holder: input.str()?.to_owned() })
    }

    pub(super) fn held(&self, node: NodeId) -> HeldNode {
        HeldNode { node, holder: self.holder.clone(), epoch: self.epoch, until: self.until }
    }

    /// The number that something is known of, and what.
    pub(super) fn of(HeldNode { node, holder, epoch, until }: HeldNode) -> (NodeId, Self) {
        (node, Self { holder, epoch, until })
    }

    fn lease(&self, node: NodeId, from: Timestamp) -> NodeLease {
        NodeLease { node, epoch: self.epoch, from, until: self.until }
    }
}

/// Chooses a number for `holder`: its own, else the lowest that is free. `None` if all are held.
pub(super) fn take(
    rows: &BTreeMap<NodeId, NodeRow>,
    holder: &str,
    now: Timestamp,
    ttl: Duration,
) -> Option<(NodeLease, NodeRow)> {
    let own = rows.range(..=NodeId::MAX).find(|(_, row)| row.holder == holder).map(|(node, _)| *node);
    let free = |node: &NodeId| rows.get(node).is_none_or(|row| row.until <= now);
    let node = own.or_else(|| (0..=NodeId::MAX.0).map(NodeId).find(free))?;
    let last = rows.get(&node);
    let earlier = last.into_iter().chain(rows.get(&NodeId::FLOOR));
    let from = earlier.map(|row| row.until).fold(now, Timestamp::max);
    let epoch = NodeLease::next_epoch(last.map(|last| last.epoch), now);
    let row = NodeRow { holder: holder.to_owned(), epoch, until: from + ttl };
    Some((row.lease(node, from), row))
}

/// The floor of all leases after a bump.
pub(super) fn floor(rows: &BTreeMap<NodeId, NodeRow>, now: Timestamp) -> (NodeId, NodeRow) {
    NodeRow::of(HeldNode::floor(now, rows.values().map(|row| row.until)))
}

/// Moves a lease's end; `None` if the lease is not the newest of its number.
pub(super) fn renew(
    rows: &BTreeMap<NodeId, NodeRow>,
    lease: &NodeLease,
    until: Timestamp,
) -> Option<(NodeLease, NodeRow)> {
    let row = rows.get(&lease.node).filter(|row| row.epoch == lease.epoch)?;
    let row = NodeRow { until: row.until.max(until), ..row.clone() };
    Some((row.lease(lease.node, lease.from), row))
}

/// Moves a lease's end back; `None` if the lease is not the newest of its number.
pub(super) fn release(
    rows: &BTreeMap<NodeId, NodeRow>,
    lease: &NodeLease,
    until: Timestamp,
) -> Option<(NodeLease, NodeRow)> {
    let row = rows.get(&lease.node).filter(|row| row.epoch == lease.epoch)?;
    let row = NodeRow { until: row.until.min(until.max(lease.from)), ..row.clone() };
    Some((row.lease(lease.node, lease.from), row))
}
