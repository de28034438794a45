//! Two servers over one store, one router and one bus, which is away for a while.

#![cfg(feature = "server")]
#![allow(clippy::unwrap_used)]

mod suite;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use im_core::id::NodeId;
use im_core::memory::{MemoryBus, MemoryRoutes, MemoryStore};
use im_core::router::{Bus, BusError, Delivery, Subscription};
use im_proto::CmdId;
use im_proto::v1::C2cPush;
use im_transport::Server;
use suite::Raw;
use suite::parts::{gate, server};
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
