use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use futures::Stream;

use crate::id::{ConnId, NodeId};
use crate::router::{Bus, BusError, Delivery, Parcel, Subscription};

/// What a queued parcel counts besides its body.
const PARCEL_OVERHEAD: usize = 128;

/// The bus of a server of one process: a bounded queue a node, emptied whole at each wake-up.
///
/// Publishing never waits. When a node's queue is full the oldest pushes go first: a newer push shows its receiver that
/// something is missing, an older one does not. Kicks are always kept, one a link. Parcels for a node that
/// nobody subscribed for are dropped.
#[derive(Debug)]
pub struct MemoryBus {
    capacity: usize,
    queues: Mutex<BTreeMap<NodeId, Arc<Queue>>>,
}

impl Default for MemoryBus {
    fn default() -> Self {
        Self::new(Self::DEFAULT_CAPACITY)
    }
}

impl MemoryBus {
    /// The queue of a node: 64 MiB, some hundred thousand short messages, which a gate that is stalled for a second stays below.
    pub const DEFAULT_CAPACITY: usize = 64 << 20;

    /// A bus whose queues hold pushes of at most `capacity` bytes each. A push counts its body, shared or not, and
    /// 128 bytes.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, queues: Mutex::default() }
    }

    fn queue(&self, node: NodeId) -> Option<Arc<Queue>> {
        lock(&self.queues).get(&node).cloned()
    }
}

impl Drop for MemoryBus {
    fn drop(&mut self) {
        for queue in lock(&self.queues).values() {
            queue.close();
        }
    }
}

#[async_trait]
impl Bus for MemoryBus {
    async fn publish(&self, batch: Vec<Delivery>) -> Result<(), BusError> {
        for (node, batch) in by_node(batch) {
            if let Some(queue) = self.queue(node) {
                queue.put(batch, self.capacity);
            }
        }
        Ok(())
    }

    async fn subscribe(&self, node: NodeId) -> Result<Subscription, BusError> {
        let queue = Arc::new(Queue::default());
        if let Some(replaced) = lock(&self.queues).insert(node, queue.clone()) {
            replaced.close();
        }
        Ok(Box::pin(Batches(queue)))
    }
}

/// The parcels of each node. A server of one process has one node, whose batch stays as it is.
fn by_node(batch: Vec<Delivery>) -> BTreeMap<NodeId, Vec<Delivery>> {
    let mut nodes = BTreeMap::new();
    match batch.first().map(|delivery| delivery.node) {
        Some(only) if batch.iter().all(|delivery| delivery.node == only) => {
            nodes.insert(only, batch);
        }
        _ => batch.into_iter().for_each(|delivery| {
            nodes.entry(delivery.node).or_insert_with(Vec::new).push(delivery);
        }),
    }
    nodes
}

#[derive(Debug, Default)]
struct Queue(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    pushes: VecDeque<Delivery>,
    /// What `pushes` count.
    bytes: usize,
    /// At most one a link, so the links bound them.
    kicks: BTreeMap<ConnId, Delivery>,
    closed: bool,
    reader: Option<Waker>,
}

impl Queue {
    fn put(&self, batch: Vec<Delivery>, capacity: usize) {
        let mut waiting = lock(&self.0);
        if waiting.closed {
            return;
        }
        waiting.pushes.reserve(batch.len());
        for delivery in batch {
            waiting.put(delivery);
        }
        waiting.shrink(capacity);
        wake(waiting);
    }

    fn close(&self) {
        let mut waiting = lock(&self.0);
        waiting.closed = true;
        wake(waiting);
    }
}

impl Waiting {
    fn put(&mut self, delivery: Delivery) {
        match &delivery.parcel {
            Parcel::Push(_) | Parcel::Room(..) => {
                self.bytes = self.bytes.saturating_add(weight(&delivery));
                self.pushes.push_back(delivery);
            }
            Parcel::Kick { .. } => {
                self.kicks.insert(delivery.conn, delivery);
            }
        }
    }

    fn shrink(&mut self, capacity: usize) {
        while self.bytes > capacity {
            let Some(dropped) = self.pushes.pop_front() else { break };
            self.bytes -= weight(&dropped);
        }
    }

    fn take(&mut self) -> Vec<Delivery> {
        self.bytes = 0;
        let kicks = std::mem::take(&mut self.kicks).into_values();
        std::mem::take(&mut self.pushes).into_iter().chain(kicks).collect()
    }
}

/// The subscriber's end of a queue: everything that waits, as one batch.
struct Batches(Arc<Queue>);

impl Stream for Batches {
    type Item = Vec<Delivery>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut waiting = lock(&self.0.0);
        let batch = waiting.take();
        if !batch.is_empty() {
            return Poll::Ready(Some(batch));
        }
        if waiting.closed {
            return Poll::Ready(None);
        }
        waiting.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        let mut waiting = lock(&self.0.0);
        waiting.closed = true;
        waiting.take();
    }
}

fn weight(delivery: &Delivery) -> usize {
    match &delivery.parcel {
        Parcel::Push(push) | Parcel::Room(_, push) => push.body.len() + PARCEL_OVERHEAD,
        Parcel::Kick { .. } => PARCEL_OVERHEAD,
    }
}

/// Wakes the reader with the lock released.
fn wake(mut waiting: MutexGuard<'_, Waiting>) {
    let reader = waiting.reader.take();
    drop(waiting);
    if let Some(reader) = reader {
        reader.wake();
    }
}

/// Nothing that runs under these locks panics halfway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;
    use futures::executor::block_on;
    use futures::{FutureExt, StreamExt};
    use im_proto::{CmdId, Suffix};

    use super::*;
    use crate::session::Push;

    fn push(conn: i64, size: usize) -> Delivery {
        let push = Push { cmd: CmdId::C2C_PUSH, body: Bytes::from(vec![0; size]), suffix: Suffix::NONE };
        Delivery { node: NodeId(1), conn: ConnId(conn), parcel: Parcel::Push(push) }
    }

    #[test]
    fn a_full_queue_drops_its_oldest_pushes() {
        let bus = MemoryBus::new(3 * (100 + PARCEL_OVERHEAD));
        let mut subscription = block_on(bus.subscribe(NodeId(1))).unwrap();
        block_on(bus.publish((1..=5).map(|conn| push(conn, 100)).collect())).unwrap();
        let conns: Vec<_> = block_on(subscription.next()).unwrap().iter().map(|got| got.conn.0).collect();
        assert_eq!(conns, [3, 4, 5]);
    }

    #[test]
    fn a_push_larger_than_the_queue_is_dropped_alone() {
        let bus = MemoryBus::new(1_000);
        let mut subscription = block_on(bus.subscribe(NodeId(1))).unwrap();
        block_on(bus.publish(vec![push(1, 5_000)])).unwrap();
        block_on(bus.publish(vec![push(2, 10)])).unwrap();
        assert_eq!(block_on(subscription.next()).unwrap(), [push(2, 10)]);
    }

    #[test]
    fn what_waits_comes_as_one_batch_and_a_waiting_reader_is_woken() {
        let bus = MemoryBus::default();
        let mut subscription = block_on(bus.subscribe(NodeId(1))).unwrap();
        assert_eq!(subscription.next().now_or_never(), None);
        let (got, ()) = block_on(futures::future::join(subscription.next(), async {
            bus.publish(vec![push(1, 1)]).await.unwrap();
            bus.publish(vec![push(2, 1)]).await.unwrap();
        }));
        assert_eq!(got.unwrap(), [push(1, 1), push(2, 1)]);
    }

    #[test]
    fn a_subscription_ends_with_its_bus() {
        let bus = MemoryBus::default();
        let mut subscription = block_on(bus.subscribe(NodeId(1))).unwrap();
        block_on(bus.publish(vec![push(1, 1)])).unwrap();
        drop(bus);
        assert_eq!(block_on(subscription.next()).unwrap(), [push(1, 1)]);
        assert_eq!(block_on(subscription.next()), None);
    }

    #[test]
    fn nothing_is_kept_for_a_subscriber_that_left() {
        let bus = MemoryBus::default();
        drop(block_on(bus.subscribe(NodeId(1))).unwrap());
        block_on(bus.publish(vec![push(1, 1)])).unwrap();
        let queue = bus.queue(NodeId(1)).unwrap();
        assert!(lock(&queue.0).pushes.is_empty());
    }
}
