use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::channel::oneshot;
use futures::future::select;
use im_core::id::NodeId;
use im_core::memory::MemoryBus;
use im_core::router::{Bus, Subscription};
use redis::RedisResult;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::task::AbortHandle;

use super::link::Redis;
use super::parcel::{self, Payload};

/// How often a feed asks whether its connection is still alive.
const PING: Duration = Duration::from_secs(2);

/// One channel of a node, read at once into a bounded queue, so that Redis need not hold what waits for the gate.
pub(super) struct Feed {
    /// Ends with the connection, and when another feed of the channel begins.
    pub(super) arrived: Subscription,
    task: AbortHandle,
}

impl Feed {
    /// Subscribes. Earlier feeds of the channel end.
    pub(super) async fn open(
        redis: &Redis,
        channel: &str,
        node: NodeId,
        capacity: usize,
    ) -> RedisResult<Self> {
        let (mut sink, stream) = redis.pub_sub().await?.split();
        redis.within(sink.subscribe(redis.channel(channel, node))).await?;
        let queue = MemoryBus::new(capacity);
        // A queue in memory takes every subscription.
        let arrived = queue.subscribe(node).await.map_err(|_| ended())?;
        let (begins, begun) = oneshot::channel();
        let token = RandomState::new().hash_one(node);
        let receiver = Receiver { node, token, queue, deadline: redis.options().deadline };
        let task = tokio::spawn(receiver.run(sink, stream, begins)).abort_handle();
        let feed = Self { arrived, task };
        send(redis, channel, node, parcel::takeover(token)).await?;
        // That it arrives shows that whatever is published from now on does.
        redis.within(async { begun.await.map_err(|_| ended()) }).await?;
        Ok(feed)
    }

    /// Whether nothing more arrives but what is here.
    pub(super) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// This feed, after what is left of one that has ended.
    pub(super) fn after(mut self, ended: &mut Self) -> Self {
        let left = std::mem::replace(&mut ended.arrived, futures::stream::empty().boxed());
        let arrived = std::mem::replace(&mut self.arrived, futures::stream::empty().boxed());
        self.arrived = left.chain(arrived).boxed();
        self
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Publishes on a channel of a node.
pub(super) async fn send(redis: &Redis, channel: &str, node: NodeId, payload: Bytes) -> RedisResult<()> {
    let mut command = redis::cmd("PUBLISH");
    command.arg(redis.channel(channel, node)).arg(&payload[..]);
    redis.run(command).await
}

/// Why a feed does not begin whose connection broke just then.
pub(super) fn ended() -> redis::RedisError {
    std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()
}

/// Takes what a channel brings.
struct Receiver {
    node: NodeId,
    token: u64,
    /// The feed ends with it.
    queue: MemoryBus,
    deadline: Duration,
}

impl Receiver {
    async fn run(self, sink: PubSubSink, stream: PubSubStream, begins: oneshot::Sender<()>) {
        let (receive, watch) = (pin!(self.receive(stream, begins)), pin!(self.watch(sink)));
        select(receive, watch).await;
    }

    /// Ends with the connection, or when another feed takes over.
    async fn receive(&self, mut stream: PubSubStream, begins: oneshot::Sender<()>) {
        let mut begins = Some(begins);
        while let Some(message) = stream.next().await {
            match parcel::decode(self.node, Bytes::copy_from_slice(message.get_payload_bytes())) {
                Some(Payload::Parcels(parcels)) => {
                    // A queue in memory takes whatever comes.
                    let _ = self.queue.publish(parcels).await;
                }
                Some(Payload::Takeover(token)) if token == self.token => {
                    // If nobody waits for it any more, this is about to be aborted.
                    let _ = begins.take().map(|begins| begins.send(()));
                }
                // What comes before this one's own is of an older feed.
                Some(Payload::Takeover(_)) if begins.is_some() => {}
                Some(Payload::Takeover(_)) => return,
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
