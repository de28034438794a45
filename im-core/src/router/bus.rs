use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::id::{ConnId, NodeId, RoomId};
use crate::session::{KickReason, Push};

/// What a link is to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parcel {
    /// A push: a hint, which may be dropped.
    Push(Push),
    /// A push for all the node's links in a room but the one that it is from. May be dropped as well.
    Room(RoomId, Push),
    /// A kick. May be lost as well; the gate finds out from [`Routes::confirm`](super::Routes::confirm).
    Kick {
        /// Why.
        reason: KickReason,
        /// For [`KickReason::GoingAway`]: when to come back.
        retry_after: Option<Duration>,
    },
}

/// A parcel for one link of one node, or for the links of a room there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The node that holds the link.
    pub node: NodeId,
    /// The link that it is for; of what goes to a room, the link that it is from.
    pub conn: ConnId,
    /// What it gets.
    pub parcel: Parcel,
}

/// The bus could not take the batch.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// It could not be reached. What was published is lost; readers find the gap.
    #[error("the bus is unavailable")]
    Unavailable(#[source] Option<std::sync::Arc<dyn std::error::Error + Send + Sync>>),
}

/// What arrives for one node, a batch at a time. Ends when the bus is closed, and when many parcels may have been lost, as with a connection that broke: the gate
/// subscribes again and tells its links what they may have missed.
pub type Subscription = BoxStream<'static, Vec<Delivery>>;

/// Carries parcels from logic to gates. Best effort: parcels may be lost, doubled or reordered between any two batches.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Sends a batch, each parcel to its node.
    ///
    /// # Contract
    /// - A parcel reaches the node that it names and no other.
    /// - It does not wait for a slow node: what does not fit in its queue is dropped, pushes before kicks.
    /// - Pushes that are dropped take no kicks with them. If they end the subscription, kicks wait for the next one.
    ///
    /// # Errors
    /// [`BusError::Unavailable`].
    async fn publish(&self, batch: Vec<Delivery>) -> Result<(), BusError>;

    /// What is published for `node` from now on.
    ///
    /// # Contract
    /// - A second subscription of the same node replaces the first, which ends.
    ///
    /// # Errors
    /// [`BusError::Unavailable`].
    async fn subscribe(&self, node: NodeId) -> Result<Subscription, BusError>;
}
