use std::time::Duration;

use async_trait::async_trait;

use super::{HeldNode, StoreError};
use crate::id::NodeId;
use crate::time::Timestamp;

/// The right to make ids with a node's number, for times from `from` to `until`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLease {
    /// The number.
    pub node: NodeId,
    /// Which taking of this number it is: a later holder has a greater one.
    pub epoch: i64,
    /// The first moment that ids may carry: at or after every earlier lease's end.
    pub from: Timestamp,
    /// The first moment that ids may not carry.
    pub until: Timestamp,
}

impl NodeLease {
    /// The epoch of a number's next lease, after `last` if it was ever taken.
    ///
    /// It follows the time, so that two stores do not give the same one. Servers tell by it whether a node at
    /// their router is of their own store.
    #[must_use]
    pub fn next_epoch(last: Option<i64>, now: Timestamp) -> i64 {
        last.unwrap_or(0).saturating_add(1).max(now.0)
    }
}

/// How far a [bump](super::Epochs::bump_epoch) puts the floor of leases beyond everything that the store knows: a day.
///
/// Servers took leases in the time that the store lost, and the store does not know how late those end:
/// - A renewal reaches a lease's length beyond the server's clock. Clocks differ, by hours if a time zone is set wrong.
/// - Each start begins where the lease before ends. A server that is started again and again, without a pause, runs ahead of
///   the clock by a lease's length each time. A day is 8,640 leases of ten seconds.
pub const FLOOR_LEAD: Duration = Duration::from_secs(24 * 60 * 60);

impl HeldNode {
    /// The floor of all leases after a bump at `now`, as stores keep it: under [`NodeId::FLOOR`]. `ends` are the ends of
    /// all leases that the store knows, and the floor before.
    pub fn floor(now: Timestamp, ends: impl IntoIterator<Item = Timestamp>) -> Self {
        let latest = ends.into_iter().fold(now, Timestamp::max);
        Self { node: NodeId::FLOOR, holder: String::new(), epoch: 0, until: latest + FLOOR_LEAD }
    }

    /// Whether this is the floor of all leases, and no server's.
    #[must_use]
    pub fn is_floor(&self) -> bool {
        self.node == NodeId::FLOOR
    }
}

/// Leases of node numbers, so that no id is ever made twice. A server takes one when it starts, renews it while it runs, and gives
/// it back when it stops; the lease of one that was killed ends by itself.
#[async_trait]
pub trait Nodes: Send + Sync + 'static {
    /// Takes a node number for `holder`, until `ttl` after the lease's start.
    ///
    /// # Contract
    /// - The holder's last number, if nobody else took it since, at once and under a new epoch (a restart: the old process can no longer renew);
    ///   else the lowest number that nobody holds or whose lease ended at or before `now`.
    /// - A number's epochs increase.
    /// - An epoch is at least `now`, in milliseconds ([`NodeLease::next_epoch`]).
    /// - `from` is the latest of `now`, the number's last `until`, and the floor that the last
    ///   [bump](super::Epochs::bump_epoch) left; `until` is `from + ttl`.
    /// - Durable when answered `Ok`.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the lease taken; taking again under the same holder supersedes it.
    ///
    /// # Errors
    /// `LeaseLost` when all 1,024 numbers are held; `Unavailable`, `Corrupt`.
    async fn lease_node(&self, holder: &str, now: Timestamp, ttl: Duration) -> Result<NodeLease, StoreError>;

    /// Moves a lease's end to the later of its `until` and `now + ttl`.
    ///
    /// # Contract
    /// - Only the newest epoch of the number may renew, also after the lease's end; any other is `LeaseLost`.
    /// - A renewal never moves a lease's end back.
    /// - Durable when answered `Ok`.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the lease renewed, which harms nobody.
    ///
    /// # Errors
    /// `LeaseLost` when the number is not held under the lease's epoch; `Unavailable`, `Corrupt`.
    async fn renew_node(
        &self,
        lease: &NodeLease,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<NodeLease, StoreError>;

    /// The last lease of every number that was ever taken. Servers look there for each other.
    ///
    /// # Contract
    /// - One row for each number, in order of number, whether its lease has ended or not.
    /// - The floor that a [bump](super::Epochs::bump_epoch) left is no row.
    /// - It has every lease and every renewal that was answered before this call.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn held_nodes(&self) -> Result<Vec<HeldNode>, StoreError>;

    /// Gives a lease back: moves its end to `until`, so that the next holder of the number need not wait, nor begin later.
    ///
    /// The holder makes no more ids, and `until` is after the time of every id that it made.
    ///
    /// # Contract
    /// - Only the newest epoch of the number may give back; any other is `LeaseLost`, and changes nothing.
    /// - The lease's end moves to `until`, but never forward, and never before the lease's `from`.
    /// - Durable when answered `Ok`.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the lease given back or not. Either is harmless.
    ///
    /// # Errors
    /// `LeaseLost` when the number is not held under the lease's epoch; `Unavailable`, `Corrupt`.
    async fn release_node(&self, lease: &NodeLease, until: Timestamp) -> Result<(), StoreError>;
}
