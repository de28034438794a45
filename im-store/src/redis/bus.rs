use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{select, try_join_all};
use futures::{Stream, StreamExt};
use im_core::id::NodeId;
use im_core::memory::MemoryBus;
use im_core::router::{Bus, BusError, Delivery, Subscription};
use redis::RedisResult;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::task::AbortHandle;

use super::link::Redis;
use super::parcel::{self, Payload};

/// How often a subscription asks whether its connection is still alive.
const PING: Duration = Duration::from_secs(2);

/// The bus as channels of Redis, one a node.
///
/// A subscription ends when its connection does, and the gate subscribes again. Parcels that were published in between are lost, as any may be.
#[derive(Debug)]
pub struct RedisBus {
    redis: Redis,
    capacity: usize,
}

impl RedisBus {
    /// A bus over `redis`. What arrives waits for its gate in a queue of [`MemoryBus::DEFAULT_CAPACITY`].
    pub fn new(redis: Redis) -> Self {
        Self { redis, capacity: MemoryBus::DEFAULT_CAPACITY }
    }

    /// With queues that hold pushes of at most `capacity` bytes each.
    #[must_use]
    pub fn capacity(self, capacity: usize) -> Self {
        Self { capacity, ..self }
    }

    async fn send(&self, node: NodeId, payload: Bytes) -> RedisResult<()> {
        let mut command = redis::cmd("PUBLISH");
        command.arg(self.redis.name("b", node)).arg(&payload[..]);
        self.redis.run(command).await
    }

    async fn begin(&self, node: NodeId) -> RedisResult<Subscription> {
        let (mut sink, stream) = self.redis.pub_sub().await?.split();
        tokio::time::timeout(self.redis.options().deadline, sink.subscribe(self.redis.name("b", node)))
            .await
            .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))?;
        let token = RandomState::new().hash_one(node);
        // Those before this one end.
        self.send(node, parcel::takeover(token)).await?;
        let queue = MemoryBus::new(self.capacity);
        let Ok(arrived) = queue.subscribe(node).await else {
            return Err(std::io::Error::other("no queue").into());
        };
        let receiver = Receiver { node, token, queue, deadline: self.redis.options().deadline };
        let task = tokio::spawn(receiver.run(sink, stream)).abort_handle();
        Ok(Box::pin(Arriving { arrived, task }))
    }
}

#[async_trait]
impl Bus for RedisBus {
    async fn publish(&self, batch: Vec<Delivery>) -> Result<(), BusError> {
        let mut nodes: BTreeMap<NodeId, Vec<Delivery>> = BTreeMap::new();
        for delivery in batch {
            nodes.entry(delivery.node).or_default().push(delivery);
        }
        let payloads = nodes.iter().flat_map(|(node, batch)| {
            parcel::encode(batch).into_iter().map(|payload| self.send(*node, payload))
        });
        try_join_all(payloads).await.map(drop).map_err(unavailable)
    }

    async fn subscribe(&self, node: NodeId) -> Result<Subscription, BusError> {
        self.begin(node).await.map_err(unavailable)
    }
}

/// Takes what a channel brings at once, into a bounded queue, so that Redis need not hold it.
struct Receiver {
    node: NodeId,
    token: u64,
    /// Its subscription ends with it.
    queue: MemoryBus,
    deadline: Duration,
}

impl Receiver {
    async fn run(self, sink: PubSubSink, stream: PubSubStream) {
        let (receive, watch) = (pin!(self.receive(stream)), pin!(self.watch(sink)));
        select(receive, watch).await;
    }

    /// Ends with the connection, or when another subscription takes over.
    async fn receive(&self, mut stream: PubSubStream) {
        while let Some(message) = stream.next().await {
            match parcel::decode(self.node, Bytes::copy_from_slice(message.get_payload_bytes())) {
                Some(Payload::Parcels(parcels)) => {
                    // A queue in memory takes whatever comes.
                    let _ = self.queue.publish(parcels).await;
                }
                Some(Payload::Takeover(token)) if token != self.token => return,
                Some(Payload::Takeover(_)) => {}
                None => tracing::warn!(node = %self.node, "parcels of another version are dropped"),
            }
        }
    }

    /// Ends when Redis does not answer.
    async fn watch(&self, mut sink: PubSubSink) {
        loop {
            tokio::time::sleep(PING).await;
            match tokio::time::timeout(self.deadline, sink.ping::<redis::Value>()).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(_) => return,
            }
        }
    }
}

/// A subscription; its task ends with it.
struct Arriving {
    arrived: Subscription,
    task: AbortHandle,
}

impl Stream for Arriving {
    type Item = Vec<Delivery>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.arrived.poll_next_unpin(cx)
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn unavailable(error: redis::RedisError) -> BusError {
    BusError::Unavailable(Some(Arc::new(error)))
}
