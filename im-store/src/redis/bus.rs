use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures::future::{join, join_all};
use futures::{Stream, StreamExt};
use im_core::id::NodeId;
use im_core::memory::MemoryBus;
use im_core::router::{Bus, BusError, Delivery, Parcel, Subscription};
use redis::RedisResult;

use super::error::cause;
use super::feed::{Feed, ended, send};
use super::kicks::Kicks;
use super::link::Redis;
use super::parcel;

/// The channel of what a node's links are to get, but kicks.
const PUSHES: &str = "b";

/// The channel of kicks of a node's links.
const KICKS: &str = "x";

/// The bus as channels of Redis, two a node: one for pushes, and one for kicks.
///
/// Redis cuts a subscriber that falls behind (`client-output-buffer-limit pubsub`), and what it held for it is lost. So
/// each channel is read over a connection of its own, and pushes are published over another one than kicks and routes:
/// whatever becomes of pushes, kicks arrive.
///
/// A subscription ends when a connection does, and the gate subscribes again. Pushes that were published in between are lost, as any may be. Kicks wait
/// for the next subscription, if it was the pushes' connection.
#[derive(Debug)]
pub struct RedisBus {
    redis: Redis,
    /// The same one, for pushes alone.
    pushes: Redis,
    capacity: usize,
    kicks: Arc<Kicks>,
}

impl RedisBus {
    /// A bus over `redis`. What arrives waits for its gate in a queue of [`MemoryBus::DEFAULT_CAPACITY`].
    pub fn new(redis: Redis) -> Self {
        let pushes = redis.apart();
        Self { redis, pushes, capacity: MemoryBus::DEFAULT_CAPACITY, kicks: Arc::default() }
    }

    /// With queues that hold pushes of at most `capacity` bytes each.
    #[must_use]
    pub fn capacity(self, capacity: usize) -> Self {
        Self { capacity, ..self }
    }

    async fn begin(&self, node: NodeId) -> RedisResult<Subscription> {
        let kicks = match self.kicks.arrive(node) {
            true => None,
            false => Some(Feed::open(&self.redis, KICKS, node, self.capacity).await?),
        };
        let pushes = Feed::open(&self.redis, PUSHES, node, self.capacity).await?;
        let reader = self.kicks.attend(node, kicks).ok_or_else(ended)?;
        Ok(Box::pin(Arriving { node, reader, pushes, kicks: self.kicks.clone(), is_over: false }))
    }
}

#[async_trait]
impl Bus for RedisBus {
    async fn publish(&self, batch: Vec<Delivery>) -> Result<(), BusError> {
        let (kicks, pushes): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|delivery| matches!(delivery.parcel, Parcel::Kick { .. }));
        let (kicked, pushed) =
            join(send_all(&self.redis, KICKS, kicks), send_all(&self.pushes, PUSHES, pushes)).await;
        kicked.and(pushed).map_err(unavailable)
    }

    async fn subscribe(&self, node: NodeId) -> Result<Subscription, BusError> {
        self.begin(node).await.map_err(unavailable)
    }
}

/// Each parcel to its node. Where some cannot be sent the others are, and the first failure is told.
async fn send_all(redis: &Redis, channel: &str, batch: Vec<Delivery>) -> RedisResult<()> {
    let mut nodes: BTreeMap<NodeId, Vec<Delivery>> = BTreeMap::new();
    for delivery in batch {
        nodes.entry(delivery.node).or_default().push(delivery);
    }
    let payloads = nodes.iter().flat_map(|(node, batch)| {
        parcel::encode(batch).into_iter().map(|payload| send(redis, channel, *node, payload))
    });
    join_all(payloads).await.into_iter().collect()
}

/// What arrives for a node. Kicks come first.
struct Arriving {
    node: NodeId,
    reader: u64,
    pushes: Feed,
    kicks: Arc<Kicks>,
    is_over: bool,
}

impl Stream for Arriving {
    type Item = Vec<Delivery>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let kicks = self.kicks.poll(self.node, self.reader, cx);
        if let Poll::Ready(Some(_)) = kicks {
            return kicks;
        }
        let arrived = match self.pushes.arrived.poll_next_unpin(cx) {
            Poll::Pending => kicks,
            pushes => pushes,
        };
        self.is_over = arrived == Poll::Ready(None);
        arrived
    }
}

impl Drop for Arriving {
    /// One that ended by itself has a successor, to whom it leaves the kicks.
    fn drop(&mut self) {
        if !self.is_over {
            self.kicks.leave(self.node, self.reader);
        }
    }
}

fn unavailable(error: redis::RedisError) -> BusError {
    BusError::Unavailable(cause(error))
}
