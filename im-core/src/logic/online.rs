//! What reaches users who are online: pushes, kicks, and who they are.

use bytes::Bytes;
use im_proto::{CmdId, ErrorCode, Suffix};

use super::Logic;
use crate::id::Uid;
use crate::router::{Delivery, Parcel, Route, UserRoutes};
use crate::session::{KickReason, Push};

impl Logic {
    /// Pushes a frame to all links of a user. It is a hint: nothing is stored, nothing comes again, and who is offline gets nothing.
    /// Returns to how many links it is on its way.
    ///
    /// # Cancel safety
    /// Dropping the future may push to some links or none.
    ///
    /// # Errors
    /// [`TooLarge`](ErrorCode::TooLarge) for a body of more than [`Policy::max_content`](super::Policy::max_content) bytes;
    /// [`Unavailable`](ErrorCode::Unavailable) if the router or the bus is out of reach.
    pub async fn push(&self, user: &Uid, cmd: CmdId, body: Bytes) -> Result<usize, ErrorCode> {
        if body.len() > self.policy.max_content {
            return Err(ErrorCode::TooLarge);
        }
        let push = Push { cmd, body, suffix: Suffix::NONE };
        self.deliver(user, Parcel::Push(push)).await
    }

    /// Ends all logins of a user: each link gets a kickout with the reason, and closes. Returns how many there are.
    ///
    /// A kick goes over the bus, and is lost with a gate's connection to it. Ask [`online`](Self::online) to be sure.
    ///
    /// # Cancel safety
    /// Dropping the future may kick some links or none.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorCode::Unavailable) if the router or the bus is out of reach.
    pub async fn kick(&self, user: &Uid, reason: KickReason) -> Result<usize, ErrorCode> {
        self.deliver(user, Parcel::Kick { reason, retry_after: None }).await
    }

    /// The logins of users: for each user, in order of login. Empty for who is offline.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorCode::Unavailable) if the router is out of reach.
    pub async fn online(&self, users: Vec<Uid>) -> Result<Vec<UserRoutes>, ErrorCode> {
        self.ports.routes.find(users).await.map_err(|failure| {
            tracing::debug!(error = &failure as &dyn std::error::Error, "nobody can be found for now");
            ErrorCode::Unavailable
        })
    }

    async fn deliver(&self, user: &Uid, parcel: Parcel) -> Result<usize, ErrorCode> {
        let routes = self.online(vec![user.clone()]).await?;
        let to = |route: &Route| Delivery { node: route.node, conn: route.conn, parcel: parcel.clone() };
        let batch: Vec<_> = routes.iter().flat_map(|routes| routes.iter()).map(to).collect();
        let count = batch.len();
        if !batch.is_empty() {
            self.ports.bus.publish(batch).await.map_err(|failure| {
                self.lost_pushes(&failure);
                ErrorCode::Unavailable
            })?;
        }
        Ok(count)
    }
}
