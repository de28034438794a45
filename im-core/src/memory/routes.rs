use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use foldhash::fast::RandomState;

use crate::id::{ConnId, LoginEpoch, NodeId, Uid};
use crate::router::{
    Confirmation, Continuity, KickPolicy, NodeLife, Online, Registration, Route, RouteError, RouterNodes,
    Routes, UserRoutes,
};
use crate::time::Timestamp;

/// The routes of a server of one process. They end with it, so that no lease ends before that.
#[derive(Debug, Default)]
pub struct MemoryRoutes {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    last_epoch: u64,
    /// In order of epoch. No user without a route stays here. The seed of the hashes shows nowhere, since nothing goes through all users in their order.
    users: HashMap<Uid, UserRoutes, RandomState>,
    /// The same users, to be listed. Logins and logouts alone go through it, not the look-ups.
    names: BTreeSet<Uid>,
    lives: HashMap<NodeId, i64, RandomState>,
}

impl MemoryRoutes {
    /// The table's own steps do not panic halfway, so a poisoned lock guards a sound table.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Routes for MemoryRoutes {
    fn end_with_process(&self) -> bool {
        true
    }

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

    async fn confirm(&self, links: Vec<Route>, policy: KickPolicy) -> Result<Confirmation, RouteError> {
        let mut table = self.lock();
        let mut confirmation = Confirmation::default();
        for link in links {
            let conn = link.conn;
            match table.confirm(link, policy) {
                Some(evicted) => confirmation.evicted.extend(evicted),
                None => confirmation.gone.push(conn),
            }
        }
        Ok(confirmation)
    }

    async fn renew(&self, node: NodeId, life: i64, _: Duration) -> Result<Continuity, RouteError> {
        self.lock().renew(node, life)
    }

    async fn nodes(&self) -> Result<RouterNodes, RouteError> {
        let lives = self
            .lock()
            .lives
            .iter()
            .map(|(node, life)| NodeLife { node: *node, life: *life, mark: 0 })
            .collect();
        Ok(RouterNodes::Local(lives))
    }

    async fn release(&self, node: NodeId, life: i64) -> Result<(), RouteError> {
        self.lock().release(node, life);
        Ok(())
    }

    async fn find(&self, uids: Vec<Uid>) -> Result<Vec<UserRoutes>, RouteError> {
        let table = self.lock();
        Ok(uids.iter().map(|uid| table.users.get(uid).cloned().unwrap_or_default()).collect())
    }

    async fn count_online(&self) -> Result<u64, RouteError> {
        Ok(u64::try_from(self.lock().users.len()).unwrap_or(u64::MAX))
    }

    async fn list_online(&self, after: Option<Uid>, limit: usize) -> Result<Online, RouteError> {
        Ok(self.lock().list(after.as_ref(), limit.max(1)))
    }
}

impl Table {
    fn register(&mut self, route: Route, policy: KickPolicy) -> Registration {
        if let Some(known) = self.get(&route.uid, route.conn) {
            return Registration { epoch: known.epoch, evicted: Vec::new() };
        }
        let epoch = self.next_epoch(route.since);
        self.names.insert(route.uid.clone());
        let shared = self.users.entry(route.uid.clone()).or_default();
        let mut routes = shared.to_vec();
        let evicted = policy.evict(&mut routes, &route);
        routes.push(Route { epoch, ..route });
        *shared = routes.into();
        Registration { epoch, evicted }
    }

    /// After all that were given, also by a table before this one.
    fn next_epoch(&mut self, since: Timestamp) -> LoginEpoch {
        let time = u64::try_from(since.0).unwrap_or_default().saturating_mul(1_000);
        self.last_epoch = time.max(self.last_epoch + 1);
        LoginEpoch(self.last_epoch)
    }

    fn confirm(&mut self, link: Route, policy: KickPolicy) -> Option<Vec<Route>> {
        self.last_epoch = self.last_epoch.max(link.epoch.0);
        if self.get(&link.uid, link.conn).is_some() {
            return Some(Vec::new());
        }
        let uid = link.uid.clone();
        let mut routes = self.users.get(&uid).map(|routes| routes.to_vec()).unwrap_or_default();
        let evicted = policy.restore(&mut routes, link)?;
        self.names.insert(uid.clone());
        self.users.insert(uid, routes.into());
        Some(evicted)
    }

    fn renew(&mut self, node: NodeId, life: i64) -> Result<Continuity, RouteError> {
        let before = self.lives.get(&node).copied().unwrap_or(i64::MIN);
        if life < before {
            return Err(RouteError::Superseded);
        }
        self.lives.insert(node, life);
        if life > before {
            self.void(node);
        }
        Ok(Continuity::Kept)
    }

    fn release(&mut self, node: NodeId, life: i64) {
        if self.lives.get(&node).is_none_or(|known| *known <= life) {
            self.void(node);
        }
    }

    /// Removes all routes of a node.
    fn void(&mut self, node: NodeId) {
        self.users.retain(|_, routes| {
            *routes = routes.iter().filter(|route| route.node != node).cloned().collect();
            !routes.is_empty()
        });
        self.names.retain(|uid| self.users.contains_key(uid));
    }

    fn remove(&mut self, uid: &Uid, conn: ConnId) {
        let Some(routes) = self.users.get_mut(uid) else { return };
        *routes = routes.iter().filter(|route| route.conn != conn).cloned().collect();
        if routes.is_empty() {
            self.users.remove(uid);
            self.names.remove(uid);
        }
    }

    /// In the order of names.
    fn list(&self, after: Option<&Uid>, limit: usize) -> Online {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut names = self.names.range::<Uid, _>((from, Bound::Unbounded));
        let page: Vec<&Uid> = names.by_ref().take(limit).collect();
        Online {
            users: page.iter().filter_map(|uid| self.users.get(*uid)).cloned().collect(),
            next: names.next().and_then(|_| page.last().map(|uid| (*uid).clone())),
        }
    }

    fn get(&self, uid: &Uid, conn: ConnId) -> Option<&Route> {
        self.users.get(uid)?.iter().find(|route| route.conn == conn)
    }
}
