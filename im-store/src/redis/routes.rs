use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{StreamExt, TryStreamExt};
use im_core::id::{ConnId, LoginEpoch, NodeId, Uid};
use im_core::router::{
    Confirmation, Continuity, KickPolicy, Online, Registration, Route, RouteError, RouterNodes, Routes,
    UserRoutes,
};
use redis::{RedisResult, Script, ScriptInvocation};
use tokio::sync::OnceCell;

use super::error::cause;
use super::leases::{Leases, Living, nodes_key};
use super::link::Redis;
use super::online::{self, Index};
use super::record::Record;
use super::rehearsal::rehearse;
use super::scripts::{CONFIRM, REGISTER, REMOVE, RENEW};

/// Commands of a call that are on their way at one time; they go out in one write.
pub(super) const ABREAST: usize = 256;

/// Routes in Redis, shared by any number of gates and logics.
///
/// A call is `Unavailable` after [`call_deadline`](super::RedisOptions::call_deadline); the next one takes a new connection if this one broke, and asks
/// Sentinel for the master again.
///
/// Before a node's lease is taken for the first time, all that logins, reports and logouts do is tried: a Redis that takes no writes, or forbids
/// something, is told then.
///
/// # Who is online
/// Counts are of sets beside the users' links. A user whose gate died counts until [`online_ttl`](super::RedisOptions::online_ttl) has passed since the
/// gate's last report, and is listed no longer than the gate's lease. Whose logout met another login, and whom Redis lost, is missing until the gate's next report
/// of the link (`audit`, 10 s). The sets cost Redis a seventh more for a login, and a tenth for a report. A listing reads a thousandth of all users
/// at a time, and the links of those whom it lists.
pub struct RedisRoutes {
    redis: Redis,
    leases: Leases,
    online: Index,
    own: Mutex<HashMap<NodeId, Own>>,
    rehearsed: OnceCell<()>,
    /// Tells it from every other process: stores whose leases begin in one millisecond give nodes the same life.
    who: u64,
}

/// A node of this process.
#[derive(Clone, Copy)]
struct Own {
    life: i64,
    /// How often its lease was renewed in this life.
    renewals: u64,
}

impl fmt::Debug for RedisRoutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisRoutes").field("redis", &self.redis).finish_non_exhaustive()
    }
}

impl RedisRoutes {
    /// Routes in `redis`.
    pub fn new(redis: Redis) -> Self {
        Self {
            redis,
            leases: Leases::default(),
            online: Index::default(),
            own: Mutex::default(),
            rehearsed: OnceCell::new(),
            who: RandomState::new().hash_one(std::process::id()),
        }
    }

    fn own(&self) -> MutexGuard<'_, HashMap<NodeId, Own>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self, uid: &Uid) -> String {
        self.redis.key("u", uid)
    }

    /// What both scripts over a user's links begin with.
    fn invoke(
        &self,
        script: &'static Script,
        living: &Living,
        route: &Route,
        policy: KickPolicy,
    ) -> ScriptInvocation<'static> {
        let life = self.own().get(&route.node).map_or(0, |own| own.life);
        let (policy, most) = words(policy);
        let mut call = script.key(self.key(&route.uid));
        call.arg(living.list()).arg(living.as_of).arg(route_ttl(&self.redis));
        call.arg(route.conn.0).arg(route.node.0).arg(life).arg(route.device_type.0);
        call.arg(route.since.0).arg(route.device.as_str()).arg(policy).arg(most);
        call
    }

    async fn confirm_one(
        &self,
        living: &Living,
        link: &Route,
        policy: KickPolicy,
    ) -> RedisResult<Option<Vec<Route>>> {
        let mut call = self.invoke(&CONFIRM, living, link, policy);
        call.arg(link.epoch.0);
        let answer: Vec<String> = self.redis.run(call).await?;
        let held = answer.first().is_some_and(|word| word == "held");
        Ok(held.then(|| routes(&link.uid, answer.get(1..).unwrap_or_default())))
    }

    async fn links(&self, living: &Living, uid: &Uid) -> RedisResult<UserRoutes> {
        let mut command = redis::cmd("HGETALL");
        command.arg(self.key(uid));
        let found: Vec<(String, String)> = self.redis.run(command).await?;
        let records = found.iter().filter_map(|(conn, value)| Record::parse(uid, conn, value));
        let counting = records.filter(|record| living.counts(record, self.redis.options().route_ttl));
        let mut routes: Vec<Route> = counting.map(|record| record.route).collect();
        routes.sort_by_key(|route| (route.epoch, route.conn));
        Ok(routes.into())
    }

    /// Whether the user has other links.
    async fn remove_of(&self, uid: &Uid, conns: &[ConnId]) -> RedisResult<bool> {
        let mut call = REMOVE.key(self.key(uid));
        for conn in conns {
            call.arg(conn.0);
        }
        self.redis.run(call).await
    }
}

#[async_trait]
impl Routes for RedisRoutes {
    async fn register(&self, route: Route, policy: KickPolicy) -> Result<Registration, RouteError> {
        let living = self.leases.living(&self.redis).await.map_err(unavailable)?;
        let call = self.invoke(&REGISTER, &living, &route, policy);
        let noted = self.online.add(&self.redis, &living, vec![&route.uid]);
        let (done, ()) = futures::future::join(self.redis.run(call), noted).await;
        let answer: Vec<String> = done.map_err(unavailable)?;
        let epoch = answer.first().and_then(|epoch| epoch.parse().ok()).map(LoginEpoch);
        let epoch = epoch.ok_or(RouteError::Unavailable(None))?;
        Ok(Registration { epoch, evicted: routes(&route.uid, answer.get(1..).unwrap_or_default()) })
    }

    async fn remove(&self, links: Vec<(Uid, ConnId)>) -> Result<(), RouteError> {
        let mut users: BTreeMap<&Uid, Vec<ConnId>> = BTreeMap::new();
        for (uid, conn) in &links {
            users.entry(uid).or_default().push(*conn);
        }
        let (mut asked, mut calls) = (Vec::with_capacity(users.len()), Vec::with_capacity(users.len()));
        for (uid, conns) in &users {
            // As many as a script's stack takes.
            for conns in conns.chunks(1_000) {
                asked.push(*uid);
                calls.push(self.remove_of(uid, conns));
            }
        }
        let answers = abreast(calls).await?;
        let mut offline = Vec::new();
        for (uid, has_others) in asked.into_iter().zip(answers) {
            if !has_others {
                offline.push(uid);
            }
        }
        self.online.remove(&self.redis, offline).await;
        Ok(())
    }

    async fn confirm(&self, links: Vec<Route>, policy: KickPolicy) -> Result<Confirmation, RouteError> {
        let living = self.leases.living(&self.redis).await.map_err(unavailable)?;
        let mut calls = Vec::with_capacity(links.len());
        for link in &links {
            calls.push(self.confirm_one(&living, link, policy));
        }
        let answers = abreast(calls).await?;
        let mut confirmation = Confirmation::default();
        for (link, answer) in links.iter().zip(answers) {
            match answer {
                Some(evicted) => confirmation.evicted.extend(evicted),
                None => confirmation.gone.push(link.conn),
            }
        }
        // Of one that is gone a newer login holds.
        self.online.add(&self.redis, &living, links.iter().map(|link| &link.uid).collect()).await;
        self.online.prune(&self.redis, &living).await;
        Ok(confirmation)
    }

    async fn renew(&self, node: NodeId, life: i64, ttl: Duration) -> Result<Continuity, RouteError> {
        self.rehearsed.get_or_try_init(|| rehearse(&self.redis)).await.map_err(unavailable)?;
        let before = self.own().get(&node).filter(|own| own.life >= life).copied();
        let own = before.unwrap_or(Own { life, renewals: 0 });
        if own.life > life {
            return Err(RouteError::Superseded);
        }
        let ttl = u64::try_from(ttl.as_micros()).unwrap_or(u64::MAX);
        let mut call = RENEW.key(nodes_key(&self.redis));
        call.arg(node.0).arg(life).arg(ttl).arg(own.renewals).arg(self.who);
        let known: Option<u64> = self.redis.run(call).await.map_err(unavailable)?;
        let known = known.ok_or(RouteError::Superseded)?;
        self.own().insert(node, Own { life, renewals: own.renewals + 1 });
        self.leases.forget().await;
        Ok(if known < own.renewals { Continuity::PerhapsLost } else { Continuity::Kept })
    }

    async fn nodes(&self) -> Result<RouterNodes, RouteError> {
        let living = Living::read(&self.redis).await.map_err(unavailable)?;
        Ok(RouterNodes::Shared(living.lives()))
    }

    async fn find(&self, uids: Vec<Uid>) -> Result<Vec<UserRoutes>, RouteError> {
        let living = self.leases.living(&self.redis).await.map_err(unavailable)?;
        let mut calls = Vec::with_capacity(uids.len());
        for uid in &uids {
            calls.push(self.links(&living, uid));
        }
        abreast(calls).await
    }

    async fn count_online(&self) -> Result<u64, RouteError> {
        let living = self.leases.living(&self.redis).await.map_err(unavailable)?;
        self.online.count(&self.redis, &living).await.map_err(unavailable)
    }

    async fn list_online(&self, after: Option<Uid>, limit: usize) -> Result<Online, RouteError> {
        let living = self.leases.living(&self.redis).await.map_err(unavailable)?;
        let page = self.online.page(&self.redis, &living, after, limit).await;
        let (uids, next) = page.map_err(unavailable)?;
        Ok(online::online(self.find(uids).await?, next))
    }
}

/// What the calls answer, in their order; the first failure ends them.
async fn abreast<T>(calls: Vec<impl Future<Output = RedisResult<T>>>) -> Result<Vec<T>, RouteError> {
    futures::stream::iter(calls).buffered(ABREAST).try_collect().await.map_err(unavailable)
}

/// How long a link counts that its gate does not confirm, in microseconds.
pub(super) fn route_ttl(redis: &Redis) -> u64 {
    u64::try_from(redis.options().route_ttl.as_micros()).unwrap_or(u64::MAX)
}

/// A policy as the scripts know it.
fn words(policy: KickPolicy) -> (&'static str, usize) {
    match policy {
        KickPolicy::SameDeviceType => ("type", 0),
        KickPolicy::SameDevice => ("device", 0),
        KickPolicy::OnePerUser => ("one", 0),
        KickPolicy::AtMost(most) => ("most", most.max(1)),
        KickPolicy::Never => ("never", 0),
    }
}

/// Links and values, by turns.
fn routes(uid: &Uid, answer: &[String]) -> Vec<Route> {
    let pairs = answer.chunks_exact(2);
    pairs.filter_map(|pair| Some(Record::parse(uid, &pair[0], &pair[1])?.route)).collect()
}

fn unavailable(error: redis::RedisError) -> RouteError {
    RouteError::Unavailable(cause(error))
}
