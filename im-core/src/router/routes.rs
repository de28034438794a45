use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::KickPolicy;
use crate::id::{ConnId, DeviceId, DeviceType, LoginEpoch, NodeId, Uid};
use crate::time::Timestamp;

/// One logged-in link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Who.
    pub uid: Uid,
    /// On which device.
    pub device: DeviceId,
    /// Of which type.
    pub device_type: DeviceType,
    /// The link.
    pub conn: ConnId,
    /// The node that holds the link.
    pub node: NodeId,
    /// The login's place among the user's logins.
    pub epoch: LoginEpoch,
    /// When it logged in.
    pub since: Timestamp,
}

/// All the links of one user, in order of epoch. Shared, because a router in memory is asked for them with every message.
pub type UserRoutes = Arc<[Route]>;

/// What a login did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The place that the login got.
    pub epoch: LoginEpoch,
    /// The older logins that it removed; their links are to be kicked.
    pub evicted: Vec<Route>,
}

/// What a gate's report of its links came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confirmation {
    /// Links of the report that a newer login removed; they are to be kicked.
    pub gone: Vec<ConnId>,
    /// Older logins that links of the report removed when they came back; theirs are to be kicked.
    pub evicted: Vec<Route>,
}

/// Some of the users who are online.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Online {
    /// The routes of each.
    pub users: Vec<UserRoutes>,
    /// Where to go on; `None` at the end.
    pub next: Option<Uid>,
}

/// What became of the router's routes since a node renewed its lease before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuity {
    /// Nothing was lost that the router knows of.
    Kept,
    /// Routes may be lost: the gate is to [`confirm`](Routes::confirm) all its links now.
    PerhapsLost,
}

/// The nodes at a router.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouterNodes {
    /// The router does not tell.
    Untold,
    /// All of them run in this process, and no other server can come to this router.
    Local(Vec<NodeLife>),
    /// They run anywhere.
    Shared(Vec<NodeLife>),
}

/// A node that lives, as a router knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLife {
    /// The node.
    pub node: NodeId,
    /// The life that it gave with its last renewal.
    pub life: i64,
    /// Another number after each renewal, if other processes may renew it.
    pub mark: u64,
}

/// The router could not answer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// It could not be reached or was too slow. Retry.
    #[error("the router is unavailable")]
    Unavailable(#[source] Option<Arc<dyn std::error::Error + Send + Sync>>),
    /// A later life of the node has taken its place.
    #[error("another server has this one's node number at the router")]
    Superseded,
}

/// Which links a user has, on which nodes.
///
/// A router may lose routes: it is asked where to push to, never what is true. Gates bring theirs back with [`confirm`](Self::confirm). So that the
/// newest login survives that too, epochs follow the time: an epoch is at least the microseconds from 1970 to the login.
#[async_trait]
pub trait Routes: Send + Sync + 'static {
    /// Whether the routes are kept in this process, and end with it. A lease of them cannot be lost then: a process that
    /// stood still for longer goes on as before. Default: no.
    fn end_with_process(&self) -> bool {
        false
    }

    /// Registers a login and removes those that conflict with it.
    ///
    /// # Contract
    /// - Logins of one user get increasing epochs, in the order in which they take effect; `route.epoch` is ignored.
    /// - Registering and removing is one step: of two racing conflicting logins exactly one survives, and the other is in the
    ///   survivor's `evicted`.
    /// - Which older logins go is what the [`KickPolicy`] says; `evicted` lists them in order of epoch.
    /// - A conn that is registered already keeps its epoch and evicts nobody.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the route registered; [`remove`](Self::remove) it.
    ///
    /// # Errors
    /// [`RouteError::Unavailable`].
    async fn register(&self, route: Route, policy: KickPolicy) -> Result<Registration, RouteError>;

    /// Removes links.
    ///
    /// # Contract
    /// - Links that are not registered are passed over.
    /// - Only the link named goes, not a newer one of the same device.
    ///
    /// # Errors
    /// [`RouteError::Unavailable`].
    async fn remove(&self, links: Vec<(Uid, ConnId)>) -> Result<(), RouteError>;

    /// A gate says which logins it holds, with the epochs that they were given. It does so from time to time and after a loss: a kick may be lost,
    /// and a router may lose routes.
    ///
    /// # Contract
    /// - A link that is registered stays as it is.
    /// - One that is not is registered again under its own epoch, unless the policy lets a newer login of its user remove it: that one is `gone`.
    /// - `gone` is in the order asked.
    /// - What comes back removes the older logins that conflict with it, `evicted`; so of all that are reported the newest survives.
    /// - Later logins of the user get greater epochs than any that was reported.
    ///
    /// # Cancel safety
    /// Dropping the future may leave links registered. A link that closes while a report of it is on its way has to be
    /// [removed](Self::remove) after that.
    ///
    /// # Errors
    /// [`RouteError::Unavailable`].
    async fn confirm(&self, links: Vec<Route>, policy: KickPolicy) -> Result<Confirmation, RouteError>;

    /// A node lives: its routes hold until `ttl` after this. `life` grows with each start of the node.
    ///
    /// # Contract
    /// - Routes of the node's earlier lives are void: they are not found, and are in nobody's way.
    /// - A renewal of an earlier life changes nothing and is [`Superseded`](RouteError::Superseded). Where leases end, this holds while
    ///   that of the later life lasts.
    /// - Where gates are not in the router's own process, routes of a node whose lease ended are void too.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the lease renewed.
    ///
    /// # Errors
    /// [`RouteError::Unavailable`], [`RouteError::Superseded`]. A server does not start if its first renewal fails: let that one
    /// try whatever logins will need.
    async fn renew(&self, node: NodeId, life: i64, ttl: Duration) -> Result<Continuity, RouteError>;

    /// Which nodes live at this router. Servers compare them with their store's leases: all servers of a store have to be at
    /// one router, and servers of other stores at other routers. A router that does not tell is not looked at.
    ///
    /// # Contract
    /// - Every node that was renewed, once, under its last life.
    /// - Where gates are not in the router's own process, a node whose lease has ended is not among them.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// [`RouteError::Unavailable`].
    async fn nodes(&self) -> Result<RouterNodes, RouteError> {
        Ok(RouterNodes::Untold)
    }

    /// A node stops: its lease ends now. By default it is renewed for no time.
    ///
    /// # Contract
    /// - Routes of the node's life are void.
    /// - A release of an earlier life changes nothing.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the lease as it is; it ends by itself.
    ///
    /// # Errors
    /// [`RouteError::Unavailable`].
    async fn release(&self, node: NodeId, life: i64) -> Result<(), RouteError> {
        match self.renew(node, life, Duration::ZERO).await {
            // A later life has the number: there is nothing to end.
            Err(RouteError::Superseded) => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    /// All routes of users.
    ///
    /// # Contract
    /// - One list for each uid asked, in order; each list in order of epoch.
    ///
    /// # Errors
    /// [`RouteError::Unavailable`].
    async fn find(&self, uids: Vec<Uid>) -> Result<Vec<UserRoutes>, RouteError>;

    /// How many users are online, which is: have a route.
    ///
    /// A router that gates share may be behind with a user whose gate died, or whose login and logout met, and with all of them after it lost routes; the
    /// gates' next reports put that right. The adapter says how long it takes.
    ///
    /// # Contract
    /// - A user counts once, with any number of links.
    /// - Whoever logged in or came back before this call counts, and whose last link was removed before it does not.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// [`RouteError::Unavailable`].
    async fn count_online(&self) -> Result<u64, RouteError>;

    /// The users who are online, a page at a time: the first for `after` of `None`, then the one after the page before's [`next`](Online::next). Where a
    /// router is behind, as [`count_online`](Self::count_online) says, it may leave out a user, never list one who is not online.
    ///
    /// # Contract
    /// - Everybody is listed with all their routes, in order of epoch; nobody is listed without one.
    /// - A page has at most `limit` users, where 0 counts as 1. It may have fewer, and none; only `next` says whether it is the last.
    /// - Who is online from the first page to the last is listed exactly once, whoever comes and goes meanwhile.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// [`RouteError::Unavailable`].
    async fn list_online(&self, after: Option<Uid>, limit: usize) -> Result<Online, RouteError>;
}
