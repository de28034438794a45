//! A router and a bus that are away while the test says so.

use super::bench::*;
use crate::router::{
    BusError, Confirmation, Continuity, KickPolicy, Online, Registration, Route, RouteError, RouterNodes,
    UserRoutes,
};

/// A router that fails while the test says so, and that may say that it lost routes.
#[derive(Default)]
pub(super) struct FaultyRoutes {
    /// No renewal is answered.
    pub(super) away: AtomicBool,
    /// Nobody is found.
    pub(super) blind: AtomicBool,
    pub(super) lost: AtomicBool,
    /// The nodes that it tells.
    pub(super) nodes: Mutex<Option<RouterNodes>>,
    inner: MemoryRoutes,
}

#[async_trait]
impl Routes for FaultyRoutes {
    async fn register(&self, route: Route, policy: KickPolicy) -> Result<Registration, RouteError> {
        self.inner.register(route, policy).await
    }

    async fn remove(&self, links: Vec<(Uid, ConnId)>) -> Result<(), RouteError> {
        self.inner.remove(links).await
    }

    async fn confirm(&self, links: Vec<Route>, policy: KickPolicy) -> Result<Confirmation, RouteError> {
        self.inner.confirm(links, policy).await
    }

    async fn renew(&self, node: NodeId, life: i64, ttl: Duration) -> Result<Continuity, RouteError> {
        if self.away.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        self.inner.renew(node, life, ttl).await?;
        let lost = self.lost.swap(false, Ordering::Relaxed);
        Ok(if lost { Continuity::PerhapsLost } else { Continuity::Kept })
    }

    async fn nodes(&self) -> Result<RouterNodes, RouteError> {
        Ok(lock(&self.nodes).clone().unwrap_or(RouterNodes::Untold))
    }

    async fn find(&self, uids: Vec<Uid>) -> Result<Vec<UserRoutes>, RouteError> {
        if self.blind.load(Ordering::Relaxed) {
            return Err(RouteError::Unavailable(None));
        }
        self.inner.find(uids).await
    }

    async fn count_online(&self) -> Result<u64, RouteError> {
        self.inner.count_online().await
    }

    async fn list_online(&self, after: Option<Uid>, limit: usize) -> Result<Online, RouteError> {
        self.inner.list_online(after, limit).await
    }
}

/// A bus that takes nothing while the test says so.
#[derive(Default)]
pub(super) struct FaultyBus {
    pub(super) away: AtomicBool,
    inner: MemoryBus,
}

#[async_trait]
impl Bus for FaultyBus {
    async fn publish(&self, batch: Vec<Delivery>) -> Result<(), BusError> {
        if self.away.load(Ordering::Relaxed) {
            return Err(BusError::Unavailable(None));
        }
        self.inner.publish(batch).await
    }

    async fn subscribe(&self, node: NodeId) -> Result<Subscription, BusError> {
        self.inner.subscribe(node).await
    }
}
