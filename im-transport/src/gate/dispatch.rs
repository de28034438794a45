//! What the bus brings for this node, to the shards that own the links.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use im_core::router::{BusError, Delivery, Parcel, Subscription};

use super::Gate;

/// Between two tries to subscribe.
const RETRY: Duration = Duration::from_secs(1);

impl Gate {
    /// What the bus brings for this node.
    pub(crate) async fn subscribe(&self) -> Result<Subscription, BusError> {
        self.logic.ports().bus.subscribe(self.logic.node()).await
    }

    /// Delivers what the bus brings, for ever: its task is to be aborted. A bus that fails or ends is subscribed to again, and then the links are told what they may have
    /// missed meanwhile.
    pub(crate) async fn dispatch(self: Arc<Self>, mut parcels: Subscription) {
        loop {
            while let Some(batch) = parcels.next().await {
                self.deliver(batch);
            }
            parcels = self.resubscribe().await;
            self.recover();
        }
    }

    async fn resubscribe(&self) -> Subscription {
        tracing::warn!("no pushes arrive for now");
        loop {
            tokio::time::sleep(RETRY).await;
            match self.subscribe().await {
                Ok(parcels) => {
                    tracing::info!("pushes arrive again");
                    return parcels;
                }
                Err(failure) => {
                    tracing::debug!(error = &failure as &dyn std::error::Error, "the bus is still away");
                }
            }
        }
    }

    fn deliver(&self, batch: Vec<Delivery>) {
        if let [only] = &self.shards[..] {
            return only.deliver(batch);
        }
        let mut by_shard: Vec<Vec<Delivery>> = self.shards.iter().map(|_| Vec::new()).collect();
        for delivery in batch {
            match &delivery.parcel {
                Parcel::Room(room, _) => {
                    for shard in self.rooms.shards(room) {
                        by_shard[shard].push(delivery.clone());
                    }
                }
                Parcel::Push(_) | Parcel::Kick { .. } => {
                    by_shard[self.shard_of(delivery.conn)].push(delivery)
                }
            }
        }
        for (shard, batch) in self.shards.iter().zip(by_shard) {
            if !batch.is_empty() {
                shard.deliver(batch);
            }
        }
    }
}
