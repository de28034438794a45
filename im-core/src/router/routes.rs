use std::sync::Arc;

use async_trait::async_trait;

use crate::id::{ConnId, DeviceId, DeviceType, LoginEpoch, NodeId, Uid};
use crate::time::Timestamp;

/// Which older logins a new login of the same user removes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KickPolicy {
    /// Those from the same type of device, as phones do. Unspecified types are one type.
    #[default]
    SameDeviceType,
    /// Those from the same device id.
    SameDevice,
    /// All of them.
    OnePerUser,
    /// The oldest, so that at most this many remain (at least 1), and those from the same device id.
    AtMost(usize),
    /// None.
    Never,
}

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

/// The router could not answer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// It could not be reached or was too slow. Retry.
    #[error("the router is unavailable")]
    Unavailable(#[source] Option<Arc<dyn std::error::Error + Send + Sync>>),
}

/// Which links a user has, on which nodes.
#[async_trait]
pub trait Routes: Send + Sync + 'static {
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

    /// Of these links, those that are no longer registered: evicted by a login whose kick got lost, say.
    ///
    /// # Contract
    /// - The missing ones, in the order asked.
    ///
    /// # Errors
    /// [`RouteError::Unavailable`].
    async fn missing(&self, links: Vec<(Uid, ConnId)>) -> Result<Vec<ConnId>, RouteError>;

    /// All routes of users.
    ///
    /// # Contract
    /// - One list for each uid asked, in order; each list in order of epoch.
    ///
    /// # Errors
    /// [`RouteError::Unavailable`].
    async fn find(&self, uids: Vec<Uid>) -> Result<Vec<UserRoutes>, RouteError>;
}
