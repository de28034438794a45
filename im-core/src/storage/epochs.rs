use async_trait::async_trait;

use super::StoreError;
use crate::id::StoreEpoch;
use crate::time::Timestamp;

/// The epoch of a store: as long as it is the same, no version that was acknowledged names anything else.
///
/// A database can lose what it acknowledged: by a fail-over to a replica that lagged, or by a restore. It then gives the lost versions to other
/// messages, and a client that held them would take the new ones for the old. So the operator bumps the epoch before the store is served from
/// again, and every client that comes back reads its timeline anew and drops what it knows by msgid.
///
/// The database also forgets leases of node numbers, and could give an id again that it gave to a lost message. A client that has
/// the lost one would drop the other. So a bump moves all leases beyond what may have been given.
#[async_trait]
pub trait Epochs: Send + Sync + 'static {
    /// The epoch.
    ///
    /// # Contract
    /// - A new store's is 0.
    /// - It is what the last [`bump_epoch`](Self::bump_epoch) answered, also after a restart.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn epoch(&self) -> Result<StoreEpoch, StoreError>;

    /// Begins another epoch. Servers that run go on under the one they started with, so they are stopped before.
    ///
    /// # Contract
    /// - It becomes [`StoreEpoch::after`] the one before at `now`: greater, and one that no copy of this store that was bumped earlier has.
    /// - Leases that are [taken](super::Nodes::lease_node) afterwards begin at a floor or later, whatever their number. It lies
    ///   [`FLOOR_LEAD`](super::FLOOR_LEAD) beyond the latest of `now`, the floor before, and the ends of all leases:
    ///   [`HeldNode::floor`](super::HeldNode::floor).
    /// - Nothing else changes.
    /// - Durable when answered `Ok`.
    ///
    /// # Atomicity
    /// Of two bumps at one time the second is after the first.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the epoch bumped or not. Repeating bumps again, which costs clients another reading and nothing else.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn bump_epoch(&self, now: Timestamp) -> Result<StoreEpoch, StoreError>;
}
