use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::NodeId;
use crate::storage::{HeldNode, NodeLease, StoreError, StoreErrorKind};
use crate::time::Timestamp;

/// Who holds which node number.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeTable {
    rows: BTreeMap<NodeId, Row>,
}

#[derive(Clone, Debug)]
struct Row {
    holder: String,
    epoch: i64,
    until: Timestamp,
}

impl NodeTable {
    /// Takes a number.
    pub(super) fn lease(
        &mut self,
        holder: &str,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<NodeLease, StoreError> {
        let lost = StoreError::new(StoreErrorKind::LeaseLost, "lease_node");
        let node = self.number_of(holder).or_else(|| self.lowest_free(now)).ok_or(lost)?;
        let last = self.rows.get(&node);
        let earlier = last.into_iter().chain(self.rows.get(&NodeId::FLOOR));
        let from = earlier.map(|row| row.until).fold(now, Timestamp::max);
        let epoch = NodeLease::next_epoch(last.map(|last| last.epoch), now);
        let until = from + ttl;
        self.rows.insert(node, Row { holder: holder.to_owned(), epoch, until });
        Ok(NodeLease { node, epoch, from, until })
    }

    /// Moves a lease's end.
    pub(super) fn renew(
        &mut self,
        lease: &NodeLease,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<NodeLease, StoreError> {
        let row = self.rows.get_mut(&lease.node).filter(|row| row.epoch == lease.epoch);
        let row = row.ok_or_else(|| StoreError::new(StoreErrorKind::LeaseLost, "renew_node"))?;
        row.until = row.until.max(now + ttl);
        Ok(NodeLease { until: row.until, ..lease.clone() })
    }

    /// Moves a lease's end back.
    pub(super) fn release(&mut self, lease: &NodeLease, until: Timestamp) -> Result<(), StoreError> {
        let row = self.rows.get_mut(&lease.node).filter(|row| row.epoch == lease.epoch);
        let row = row.ok_or_else(|| StoreError::new(StoreErrorKind::LeaseLost, "release_node"))?;
        row.until = row.until.min(until.max(lease.from));
        Ok(())
    }

    /// Moves the floor of all leases beyond what may have been given.
    pub(super) fn raise_floor(&mut self, now: Timestamp) {
        let HeldNode { node, holder, epoch, until } =
            HeldNode::floor(now, self.rows.values().map(|row| row.until));
        self.rows.insert(node, Row { holder, epoch, until });
    }

    /// Every number that was taken once, in order, and the floor.
    pub(super) fn held(&self) -> impl ExactSizeIterator<Item = HeldNode> {
        self.rows.iter().map(|(node, row)| HeldNode {
            node: *node,
            holder: row.holder.clone(),
            epoch: row.epoch,
            until: row.until,
        })
    }

    /// Takes over what is known of a number; false if something is known already.
    pub(super) fn import(&mut self, held: HeldNode) -> bool {
        let HeldNode { node, holder, epoch, until } = held;
        self.rows.insert(node, Row { holder, epoch, until }).is_none()
    }

    fn number_of(&self, holder: &str) -> Option<NodeId> {
        let mut numbers = self.rows.range(..=NodeId::MAX);
        numbers.find(|(_, row)| row.holder == holder).map(|(node, _)| *node)
    }

    fn lowest_free(&self, now: Timestamp) -> Option<NodeId> {
        let free = |node: &NodeId| self.rows.get(node).is_none_or(|row| row.until <= now);
        (0..=NodeId::MAX.0).map(NodeId).find(free)
    }
}
