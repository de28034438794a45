//! Servers whose bus is away for a while, or whose store takes no writes.

#![cfg(feature = "server")]
#![allow(clippy::unwrap_used)]

mod suite;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use im_core::id::{NodeId, Uid, Version};
use im_core::logic::Policy;
use im_core::memory::{MemoryBus, MemoryRoutes, MemoryStore};
use im_core::message::TimelineId;
use im_core::router::{Bus, BusError, Delivery, Subscription};
use im_core::storage::{
    CursorAck, Cursors as _, NodeLease, Nodes as _, Placed, Post, Store, StoreError, StoreErrorKind,
    StoreLayer, Timelines as _,
};
use im_core::time::Timestamp;
use im_proto::CmdId;
use im_proto::v1::{
    C2cPush, C2cRequest, C2cResponse, PullRequest, PullResponse, PushAck, SyncRequest, SyncResponse,
};
use im_transport::Server;
use suite::Raw;
use suite::parts::{ECHO, eventually, gate, server};
use suite::raw::message;
use tokio::net::TcpStream;

/// A bus that is away while the test says so.
#[derive(Default)]
struct Breaking {
    away: AtomicBool,
    inner: Mutex<Arc<MemoryBus>>,
}

impl Breaking {
    /// Nothing is published any more.
    fn refuses(&self) {
        self.away.store(true, Ordering::Relaxed);
    }

    /// And all subscriptions end.
    fn breaks(&self) {
        self.refuses();
        *self.inner.lock().unwrap() = Arc::default();
    }

    fn heals(&self) {
        self.away.store(false, Ordering::Relaxed);
    }

    fn bus(&self) -> Result<Arc<MemoryBus>, BusError> {
        let is_away = self.away.load(Ordering::Relaxed);
        if is_away { Err(BusError::Unavailable(None)) } else { Ok(self.inner.lock().unwrap().clone()) }
    }
}

#[async_trait]
impl Bus for Breaking {
    async fn publish(&self, batch: Vec<Delivery>) -> Result<(), BusError> {
        self.bus()?.publish(batch).await
    }

    async fn subscribe(&self, node: NodeId) -> Result<Subscription, BusError> {
        self.bus()?.subscribe(node).await
    }
}

/// Two servers that get a second to end.
async fn two(bus: &Arc<Breaking>, drain: Duration) -> [Server; 2] {
    let (store, routes) = (Arc::new(MemoryStore::default()), Arc::new(MemoryRoutes::default()));
    let start = async |name| {
        let builder = server().store(store.clone()).routes(routes.clone()).bus(bus.clone()).name(name);
        let limits = gate(|limits| limits.drain = drain);
        builder.gate_limits(limits).tcp("127.0.0.1:0").start().await.unwrap()
    };
    [start("a").await, start("b").await]
}

async fn login(server: &Server, user: &str) -> Raw {
    let mut link = Raw::new(TcpStream::connect(server.tcp_addr().unwrap()).await.unwrap());
    assert_eq!(link.auth(user, "phone").await.status, 0);
    link
}

/// The version of the next push.
async fn pushed(link: &mut Raw) -> i64 {
    link.expect::<C2cPush>(CmdId::C2C_PUSH).await.version
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_online_hears_of_what_was_sent_while_the_bus_was_away_though_the_senders_server_is_gone() {
    let bus = Arc::<Breaking>::default();
    let [a, b] = two(&bus, Duration::from_secs(1)).await;
    let (mut alice, mut bob) = (login(&a, "alice").await, login(&b, "bob").await);
    alice.say("bob", "one").await;
    assert_eq!(pushed(&mut bob).await, 1);
    bus.breaks();
    alice.say("bob", "two").await;
    alice.say("bob", "three").await;
    drop(alice);
    a.shutdown().await.unwrap();
    bus.heals();
    assert_eq!(pushed(&mut bob).await, 3);
    drop(bob);
    b.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_hints_at_what_the_bus_did_not_take() {
    let bus = Arc::<Breaking>::default();
    let [a, b] = two(&bus, Duration::from_secs(20)).await;
    let (mut alice, mut bob) = (login(&a, "alice").await, login(&b, "bob").await);
    bus.refuses();
    alice.say("bob", "one").await;
    alice.say("bob", "two").await;
    drop(alice);
    let heals = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        bus.heals();
    };
    let (stopped, ()) = futures::join!(a.shutdown(), heals);
    stopped.unwrap();
    assert_eq!(pushed(&mut bob).await, 2);
    drop(bob);
    b.shutdown().await.unwrap();
}

/// A store that takes no writes, or no renewals of leases alone, while the test says so.
#[derive(Default)]
struct ReadOnly {
    store: MemoryStore,
    writes: AtomicBool,
    renewals: AtomicBool,
}

impl ReadOnly {
    fn refuses(&self, what: &AtomicBool) -> Option<StoreError> {
        let refuses = what.load(Ordering::Relaxed);
        refuses.then(|| StoreError::new(StoreErrorKind::Unavailable, "a write"))
    }
}

#[async_trait]
impl StoreLayer for ReadOnly {
    fn inner(&self) -> &dyn Store {
        &self.store
    }

    async fn append(&self, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        match self.refuses(&self.writes) {
            Some(failure) => vec![Err(failure); posts.len()],
            None => self.store.append(posts).await,
        }
    }

    async fn ack(&self, acks: Vec<CursorAck>) -> Vec<Result<(), StoreError>> {
        match self.refuses(&self.writes) {
            Some(failure) => vec![Err(failure); acks.len()],
            None => self.store.ack(acks).await,
        }
    }

    async fn renew_node(
        &self,
        lease: &NodeLease,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<NodeLease, StoreError> {
        match self.refuses(&self.renewals) {
            Some(failure) => Err(failure),
            None => self.store.renew_node(lease, now, ttl).await,
        }
    }
}

/// Sends one message, as often as this is called; how it is answered.
async fn again(link: &mut Raw) -> i32 {
    let message = C2cRequest { client_msg_id: "two".to_owned(), ..message("carol", "two") };
    link.ask(CmdId::C2C_SEND, &message).await;
    link.expect::<C2cResponse>(CmdId::C2C_SEND).await.err_code
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_store_takes_no_writes_lets_clients_in_and_read() {
    let store = Arc::<ReadOnly>::default();
    let mut policy = Policy::default();
    policy.node_lease = Duration::from_millis(300);
    policy.ack_flush = Duration::from_millis(10);
    let builder = server().store(store.clone()).policy(policy).tcp("127.0.0.1:0");
    let server = builder.start().await.unwrap();
    let mut alice = login(&server, "alice").await;
    assert_eq!(alice.say("bob", "one").await.err_code, 0);
    // Messages are taken until the lease has ended.
    store.renewals.store(true, Ordering::Relaxed);
    eventually("messages are refused", async || again(&mut alice).await == 7).await;
    store.writes.store(true, Ordering::Relaxed);
    let mut bob = Raw::new(TcpStream::connect(server.tcp_addr().unwrap()).await.unwrap());
    let granted = bob.auth("bob", "phone").await;
    assert_eq!((granted.status, granted.version), (0, 1));
    bob.ask(CmdId::PULL, &PullRequest { limit: 10, ..PullRequest::default() }).await;
    assert_eq!(bob.expect::<PullResponse>(CmdId::PULL).await.msgs.len(), 1);
    bob.ask(CmdId::SYNC, &SyncRequest::default()).await;
    bob.expect::<SyncResponse>(CmdId::SYNC).await;
    bob.ask(CmdId::PUSH_ACK, &PushAck { version: 1, ..PushAck::default() }).await;
    // What bob asks after the ack is answered: the ack was taken.
    bob.ask(ECHO, &PushAck::default()).await;
    assert_eq!(bob.next().await.unwrap().cmd, ECHO);
    store.writes.store(false, Ordering::Relaxed);
    store.renewals.store(false, Ordering::Relaxed);
    eventually("messages are taken again", async || again(&mut alice).await == 0).await;
    let uid = Uid::new("bob").unwrap();
    let of = || vec![(uid.clone(), TimelineId::User(uid.clone()))];
    eventually("the ack is stored", async || {
        let cursors = store.store.cursors(of()).await.unwrap();
        cursors[0].first().is_some_and(|cursor| cursor.version == Version(1))
    })
    .await;
    drop((alice, bob));
    server.shutdown().await.unwrap();
}
