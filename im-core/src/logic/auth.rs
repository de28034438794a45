//! Login, the end of a login, and finding out that one was evicted.

use std::future::Future;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use im_proto::ErrorCode;

use super::route_lease::words;
use super::{Logic, lock};
use crate::id::{ConnId, LoginEpoch, Uid};
use crate::message::TimelineId;
use crate::ports::{AuthError, Identity};
use crate::router::{Delivery, Parcel, Route, RouteError};
use crate::session::{Caller, Granted, KickReason, Login, Verdict};
use crate::storage::{Head, StoreError};
use crate::time::Timestamp;

/// Why a login failed.
enum Failure {
    Refused(&'static str),
    /// For now, and the reason.
    Unavailable(String),
}

impl Logic {
    /// Authenticates a client, registers its route, and then reads its timeline's head: a message stored after that finds the
    /// route. A login that gets so far kicks those that conflict with it.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a route; it is removed by a [`Turn::leaves`](super::Turn::leaves) with the login's caller.
    pub async fn login(&self, login: Login) -> Verdict {
        let deadline = self.ports.clock.tick() + self.policy.login_deadline;
        let timeout = self.ports.clock.sleep_until(deadline);
        let admitted = std::pin::pin!(self.admit(&login));
        let outcome = match futures::future::select(admitted, timeout).await {
            futures::future::Either::Left((outcome, _)) => outcome,
            futures::future::Either::Right(_) => {
                Err(Failure::Unavailable(format!("it took longer than {:?}", self.policy.login_deadline)))
            }
        };
        match outcome {
            Ok(granted) => Verdict::Granted(granted),
            Err(failure) => {
                self.withdraw(&login.caller).await;
                refusal(failure)
            }
        }
    }

    async fn admit(&self, login: &Login) -> Result<Granted, Failure> {
        if self.is_cut_off() {
            return Err(Failure::Unavailable("the router is out of reach".to_owned()));
        }
        let identity = self.authenticate(login).await?;
        let registration =
            self.ports.routes.register(route(login, self.ports.clock.now()), self.policy.kick).await?;
        let head = self.head(&login.caller.uid).await?;
        self.bound_links(&login.caller.uid).await?;
        // Last: while logins fail, those that are there stay. Their gates report them, and they have their routes again.
        self.kick_all(registration.evicted, KickReason::LoggedInElsewhere).await;
        Ok(Granted {
            head: head.head,
            server_time: self.ports.clock.now(),
            epoch: self.epoch,
            expires_at: identity.expires_at,
            login: registration.epoch,
        })
    }

    /// Removes the oldest of a user's logins beyond [`Policy::links_per_user`](super::Policy::links_per_user). Of racing logins each
    /// removes the same oldest ones, so that a few too many may stay until the next; so may one whose kick is lost, for its gate confirms it.
    async fn bound_links(&self, uid: &Uid) -> Result<(), RouteError> {
        let found = self.ports.routes.find(vec![uid.clone()]).await?;
        let routes = found.into_iter().next().unwrap_or_default();
        let surplus = routes.len().saturating_sub(self.policy.links_per_user.max(1));
        let routes = routes[..surplus].to_vec();
        if !routes.is_empty() {
            self.remove(routes.iter().map(|route| (uid.clone(), route.conn)).collect()).await;
            self.kick_all(routes, KickReason::LoggedInElsewhere).await;
        }
        Ok(())
    }

    async fn authenticate(&self, login: &Login) -> Result<Identity, Failure> {
        let now = self.ports.clock.now();
        let identity = self.ports.authenticator.authenticate(&login.credentials, now).await?;
        if identity.uid != login.caller.uid {
            return Err(Failure::Refused("the token is another user's"));
        }
        if identity.expires_at.is_some_and(|at| at <= now) {
            return Err(Failure::Refused("the token has expired"));
        }
        Ok(identity)
    }

    /// Closes logins: each gets a kickout with the reason, and its link closes.
    async fn kick_all(&self, routes: Vec<Route>, reason: KickReason) {
        if routes.is_empty() {
            return;
        }
        let batch = routes
            .into_iter()
            .map(|route| Delivery {
                node: route.node,
                conn: route.conn,
                parcel: Parcel::Kick { reason, retry_after: None },
            })
            .collect();
        if let Err(failure) = self.ports.bus.publish(batch).await {
            tracing::warn!(
                error = &failure as &dyn std::error::Error,
                "kicks are lost; gates find out by themselves"
            );
        }
    }

    async fn head(&self, uid: &Uid) -> Result<Head, StoreError> {
        let heads = self.ports.store.heads(vec![TimelineId::User(uid.clone())]).await?;
        Ok(heads.into_iter().next().unwrap_or_default())
    }

    /// Takes back what a failed login may have registered. That this fails, too, has the login's reason, which is told.
    async fn withdraw(&self, caller: &Caller) {
        let _ = self.ports.routes.remove(vec![(caller.uid.clone(), caller.conn)]).await;
    }

    pub(super) fn leave(
        self: &Arc<Self>,
        callers: Vec<Arc<Caller>>,
    ) -> impl Future<Output = ()> + Send + 'static + use<> {
        for caller in &callers {
            self.commit.forget(caller.conn);
            lock(&self.acks).leave(&caller.uid, &caller.device);
            lock(&self.rooms).end(caller);
        }
        let links = callers.iter().map(|caller| (caller.uid.clone(), caller.conn)).collect();
        let logic = self.clone();
        async move { logic.remove(links).await }
    }

    async fn remove(&self, links: Vec<(Uid, ConnId)>) {
        let Err(failure) = self.ports.routes.remove(links).await else { return };
        if let Some(others) = self.left_routes.admit(self.ports.clock.tick()) {
            tracing::warn!(
                error = &failure as &dyn std::error::Error,
                others,
                "routes of closed links stay until their lease ends"
            );
        }
    }

    /// Tells the router which logins a gate holds, and kicks those elsewhere that are older than one of them. Of the gate's own, returns those that a newer login
    /// removed without the kick arriving. A gate asks every few seconds, and kicks them itself; it asks about all of them at once when
    /// [`route_losses`](Self::route_losses) has grown.
    ///
    /// # Cancel safety
    /// As [`Routes::confirm`](crate::router::Routes::confirm): what closes meanwhile has to [leave](super::Turn::leaves) after this.
    ///
    /// # Errors
    /// The router's.
    pub fn confirm(
        self: &Arc<Self>,
        links: Vec<Route>,
    ) -> BoxFuture<'static, Result<Vec<ConnId>, RouteError>> {
        let logic = self.clone();
        async move {
            let confirmation = logic.ports.routes.confirm(links, logic.policy.kick).await?;
            logic.kick_all(confirmation.evicted, KickReason::LoggedInElsewhere).await;
            Ok(confirmation.gone)
        }
        .boxed()
    }
}

fn route(login: &Login, since: Timestamp) -> Route {
    let caller = &login.caller;
    Route {
        uid: caller.uid.clone(),
        device: caller.device.clone(),
        device_type: caller.device_type,
        conn: caller.conn,
        node: caller.node,
        epoch: LoginEpoch::default(),
        since,
    }
}

fn refusal(failure: Failure) -> Verdict {
    match failure {
        Failure::Refused(why) => Verdict::Refused {
            code: ErrorCode::RefusedToken,
            message: format!("{}: {why}", ErrorCode::RefusedToken),
            cause: why.into(),
        },
        Failure::Unavailable(cause) => Verdict::Refused {
            code: ErrorCode::Unavailable,
            message: ErrorCode::Unavailable.to_string(),
            cause: cause.into(),
        },
    }
}

impl From<AuthError> for Failure {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Refused(why) => Self::Refused(why),
            AuthError::Unavailable(_) => unavailable(&error),
        }
    }
}

impl From<RouteError> for Failure {
    fn from(error: RouteError) -> Self {
        unavailable(&error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        unavailable(&error)
    }
}

fn unavailable(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::Unavailable(words(error))
}
