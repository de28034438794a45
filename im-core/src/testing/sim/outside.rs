//! The ports of a simulated server: clocks that disagree, a router that fails, a bus that loses, doubles and reorders, a user centre that is
//! away at times.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::event::Event;
use super::kernel::Kernel;
use crate::id::{ConnId, NodeId, Uid, Version};
use crate::memory::{MemoryBus, MemoryRoutes};
use crate::ports::{AuthError, Authenticator, Clock, Credentials, Identity, WakeUp, WakeUpError};
use crate::router::{
    Bus, BusError, Confirmation, Continuity, Delivery, KickPolicy, Online, Registration, Route, RouteError,
    Routes, Subscription, UserRoutes,
};
use crate::time::{Tick, Timestamp};

/// The time of day when a world begins: 2026-01-01 in UTC.
const START: Timestamp = Timestamp(1_767_225_600_000);

/// The true time of day.
pub(super) fn time_of_day(kernel: &Kernel) -> Timestamp {
    START + kernel.now().since(Tick::default())
}

/// One server's clock. All measure alike, but each dates with an error of its own.
pub(super) struct SimClock {
    kernel: Arc<Kernel>,
    /// Milliseconds ahead of the true time.
    skew: Arc<AtomicI64>,
}

impl SimClock {
    pub(super) fn new(kernel: Arc<Kernel>, skew: Arc<AtomicI64>) -> Self {
        Self { kernel, skew }
    }
}

impl Clock for SimClock {
    fn tick(&self) -> Tick {
        self.kernel.now()
    }

    fn now(&self) -> Timestamp {
        let skew = self.skew.load(Ordering::Relaxed);
        Timestamp(time_of_day(&self.kernel).0 + skew)
    }

    fn sleep_until(&self, deadline: Tick) -> BoxFuture<'static, ()> {
        self.kernel.sleep_until(deadline).boxed()
    }
}

/// The token that opens for a user.
pub(super) fn token_of(uid: &Uid) -> String {
    format!("token of {uid}")
}

/// Knows every user's token; slow at times, and unavailable at times.
pub(super) struct SimAuthenticator(pub(super) Arc<Kernel>);

#[async_trait]
impl Authenticator for SimAuthenticator {
    async fn authenticate(&self, credentials: &Credentials, _: Timestamp) -> Result<Identity, AuthError> {
        let slow = self.0.fails(30);
        self.0
            .sleep(self.0.dice(|dice| if slow { dice.millis(100, 6_000) } else { dice.micros(100, 20_000) }))
            .await;
        if self.0.fails(20) {
            return Err(AuthError::Unavailable(None));
        }
        if credentials.token != token_of(&credentials.uid) {
            return Err(AuthError::Refused("not this user's token"));
        }
        Ok(Identity { uid: credentials.uid.clone(), expires_at: None })
    }
}

/// Counts whom it would wake.
pub(super) struct SimWakeUp(pub(super) Arc<Kernel>);

#[async_trait]
impl WakeUp for SimWakeUp {
    async fn wake(&self, users: Vec<(Uid, Version)>) -> Result<(), WakeUpError> {
        self.0.count(|counts| counts.wakes += u64::try_from(users.len()).unwrap_or(0));
        if self.0.fails(50) { Err(WakeUpError::Unavailable(None)) } else { Ok(()) }
    }
}

/// The router that all servers share. Calls take time, and fail before or after they took effect.
pub(super) struct SimRoutes {
    kernel: Arc<Kernel>,
    table: Mutex<Arc<MemoryRoutes>>,
}

impl SimRoutes {
    pub(super) fn new(kernel: Arc<Kernel>) -> Self {
        Self { kernel, table: Mutex::default() }
    }

    /// The router loses all that it knows.
    pub(super) fn lose(&self) {
        *self.table.lock().unwrap_or_else(PoisonError::into_inner) = Arc::default();
        self.kernel.count(|counts| counts.routers_lost += 1);
    }

    fn table(&self) -> Arc<MemoryRoutes> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn travel(&self) -> Result<(), RouteError> {
        let slow = self.kernel.fails(10);
        let takes =
            self.kernel.dice(|dice| if slow { dice.millis(50, 3_000) } else { dice.micros(20, 3_000) });
        self.kernel.sleep(takes).await;
        if self.kernel.fails(8) { Err(RouteError::Unavailable(None)) } else { Ok(()) }
    }
}

#[async_trait]
impl Routes for SimRoutes {
    async fn register(&self, route: Route, policy: KickPolicy) -> Result<Registration, RouteError> {
        self.travel().await?;
        let registration = self.table().register(route, policy).await;
        self.travel().await?;
        registration
    }

    async fn remove(&self, links: Vec<(Uid, ConnId)>) -> Result<(), RouteError> {
        self.travel().await?;
        self.table().remove(links).await
    }

    async fn confirm(&self, links: Vec<Route>, policy: KickPolicy) -> Result<Confirmation, RouteError> {
        self.travel().await?;
        let confirmation = self.table().confirm(links, policy).await;
        self.travel().await?;
        confirmation
    }

    async fn renew(&self, node: NodeId, life: i64, ttl: Duration) -> Result<Continuity, RouteError> {
        self.travel().await?;
        let renewed = self.table().renew(node, life, ttl).await;
        self.travel().await?;
        renewed
    }

    async fn find(&self, uids: Vec<Uid>) -> Result<Vec<UserRoutes>, RouteError> {
        self.travel().await?;
        let found = self.table().find(uids).await;
        self.travel().await?;
        found
    }

    async fn count_online(&self) -> Result<u64, RouteError> {
        self.travel().await?;
        self.table().count_online().await
    }

    async fn list_online(&self, after: Option<Uid>, limit: usize) -> Result<Online, RouteError> {
        self.travel().await?;
        self.table().list_online(after, limit).await
    }
}

/// How the bus treats a batch, in a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BusRates {
    pub(super) lost: u64,
    pub(super) doubled: u64,
    pub(super) slow: u64,
}

/// Carries parcels between servers with delays of their own, loses some and doubles some, kicks too. At times it is away.
pub(super) struct SimBus {
    kernel: Arc<Kernel>,
    rates: BusRates,
    inner: Mutex<Inner>,
    order: Mutex<Order>,
}

#[derive(Default)]
struct Inner {
    bus: Arc<MemoryBus>,
    away_until: Tick,
}

#[derive(Default)]
struct Order {
    published: u64,
    /// Batches up to this one are gone.
    forgotten: u64,
    newest_arrived: u64,
}

impl SimBus {
    pub(super) fn new(kernel: Arc<Kernel>, rates: BusRates) -> Arc<Self> {
        Arc::new(Self { kernel, rates, inner: Mutex::default(), order: Mutex::default() })
    }

    /// The bus is away for a while: all subscriptions end, and nothing is published.
    pub(super) fn breaks(&self, outage: Duration) {
        self.forget();
        let away_until = self.kernel.now() + outage;
        *self.inner.lock().unwrap_or_else(PoisonError::into_inner) =
            Inner { bus: Arc::default(), away_until };
        self.kernel.count(|counts| counts.bus_outages += 1);
    }

    /// The bus, unless it is away.
    fn inner(&self) -> Result<Arc<MemoryBus>, BusError> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let is_away = self.kernel.now() < inner.away_until;
        if is_away { Err(BusError::Unavailable(None)) } else { Ok(inner.bus.clone()) }
    }

    /// A batch arrives.
    pub(super) fn deliver(&self, batch: Vec<Delivery>, number: u64) {
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        if number <= order.forgotten {
            return;
        }
        if number < order.newest_arrived {
            self.kernel.count(|counts| counts.reorderings += 1);
        }
        order.newest_arrived = order.newest_arrived.max(number);
        drop(order);
        let Ok(bus) = self.inner() else { return };
        // The bus in memory never waits and never fails.
        let _ = bus.publish(batch).now_or_never();
    }

    /// Loses all that is on its way: nobody is there to take it.
    pub(super) fn forget(&self) {
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        order.forgotten = order.published;
    }

    fn carry(&self, parcels: Vec<Delivery>) {
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        order.published += 1;
        let number = order.published;
        drop(order);
        let slow = self.kernel.fails(self.rates.slow);
        let takes =
            self.kernel.dice(|dice| if slow { dice.millis(10, 2_000) } else { dice.micros(50, 4_000) });
        self.kernel.after(takes, Event::Parcels(parcels, number));
    }
}

#[async_trait]
impl Bus for SimBus {
    async fn publish(&self, batch: Vec<Delivery>) -> Result<(), BusError> {
        self.inner()?;
        if self.kernel.fails(10) {
            return Err(BusError::Unavailable(None));
        }
        let mut rest = batch;
        while !rest.is_empty() {
            let size = self.kernel.dice(|dice| dice.index(rest.len()) + 1);
            let parcels: Vec<Delivery> = rest.drain(..size).collect();
            if self.kernel.fails(self.rates.doubled) {
                self.kernel.count(|counts| counts.parcels_doubled += 1);
                self.carry(parcels.clone());
            }
            if self.kernel.fails(self.rates.lost) {
                self.kernel.count(|counts| counts.parcels_lost += 1);
            } else {
                self.carry(parcels);
            }
        }
        Ok(())
    }

    async fn subscribe(&self, node: NodeId) -> Result<Subscription, BusError> {
        self.kernel.sleep(Duration::from_millis(1)).await;
        self.inner()?.subscribe(node).await
    }
}
