use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use foldhash::fast::RandomState;

use crate::id::{ConnId, LoginEpoch, Uid};
use crate::router::{KickPolicy, Registration, Route, RouteError, Routes, UserRoutes};

/// The routes of a server of one process.
#[derive(Debug, Default)]
pub struct MemoryRoutes {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    last_epoch: u64,
    /// In order of epoch. No user without a route stays here. The seed of the hashes shows nowhere, since nothing goes through all users.
    users: HashMap<Uid, UserRoutes, RandomState>,
}

impl MemoryRoutes {
    /// The table's own steps do not panic halfway, so a poisoned lock guards a sound table.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Routes for MemoryRoutes {
    async fn register(&self, route: Route, policy: KickPolicy) -> Result<Registration, RouteError> {
        Ok(self.lock().register(route, policy))
    }

    async fn remove(&self, links: Vec<(Uid, ConnId)>) -> Result<(), RouteError> {
        let mut table = self.lock();
        for (uid, conn) in &links {
            table.remove(uid, *conn);
        }
        Ok(())
    }

    async fn missing(&self, links: Vec<(Uid, ConnId)>) -> Result<Vec<ConnId>, RouteError> {
        let table = self.lock();
        let missing = links.into_iter().filter(|(uid, conn)| table.get(uid, *conn).is_none());
        Ok(missing.map(|(_, conn)| conn).collect())
    }

    async fn find(&self, uids: Vec<Uid>) -> Result<Vec<UserRoutes>, RouteError> {
        let table = self.lock();
        Ok(uids.iter().map(|uid| table.users.get(uid).cloned().unwrap_or_default()).collect())
    }
}

impl Table {
    fn register(&mut self, route: Route, policy: KickPolicy) -> Registration {
        if let Some(known) = self.get(&route.uid, route.conn) {
            return Registration { epoch: known.epoch, evicted: Vec::new() };
        }
        self.last_epoch += 1;
        let epoch = LoginEpoch(self.last_epoch);
        let shared = self.users.entry(route.uid.clone()).or_default();
        let mut routes = shared.to_vec();
        let evicted = evict(&mut routes, &route, policy);
        routes.push(Route { epoch, ..route });
        *shared = routes.into();
        Registration { epoch, evicted }
    }

    fn remove(&mut self, uid: &Uid, conn: ConnId) {
        let Some(routes) = self.users.get_mut(uid) else { return };
        *routes = routes.iter().filter(|route| route.conn != conn).cloned().collect();
        if routes.is_empty() {
            self.users.remove(uid);
        }
    }

    fn get(&self, uid: &Uid, conn: ConnId) -> Option<&Route> {
        self.users.get(uid)?.iter().find(|route| route.conn == conn)
    }
}

/// Takes what conflicts with `new` out of `routes`; in order of epoch.
fn evict(routes: &mut Vec<Route>, new: &Route, policy: KickPolicy) -> Vec<Route> {
    let same_device = |old: &mut Route| old.device == new.device;
    match policy {
        KickPolicy::SameDeviceType => {
            routes.extract_if(.., |old| old.device_type == new.device_type).collect()
        }
        KickPolicy::SameDevice => routes.extract_if(.., same_device).collect(),
        KickPolicy::OnePerUser => std::mem::take(routes),
        KickPolicy::AtMost(most) => {
            let mut evicted: Vec<_> = routes.extract_if(.., same_device).collect();
            let surplus = (routes.len() + 1).saturating_sub(most.max(1));
            evicted.extend(routes.drain(..surplus));
            evicted.sort_by_key(|route| route.epoch);
            evicted
        }
        KickPolicy::Never => Vec::new(),
    }
}
