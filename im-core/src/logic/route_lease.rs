//! The node's lease at the router: while it holds, pushes find the node's links.

use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, select};

use super::{Logic, lock};
use crate::router::{Continuity, RouteError};
use crate::time::Tick;

/// Renewals in the time of a lease.
const RENEWALS: u32 = 4;

/// What the node knows of its lease at the router.
#[derive(Debug)]
pub(super) struct RouteLease {
    /// By the node's own clock, from before the renewal was asked for: the router's lease ends later.
    ends: Mutex<Tick>,
    losses: AtomicU64,
    /// Whether the last renewal failed, which is said once.
    is_late: AtomicBool,
}

impl RouteLease {
    /// A lease that a first renewal has this long to take.
    pub(super) fn new(ends: Tick) -> Self {
        Self { ends: Mutex::new(ends), losses: AtomicU64::new(0), is_late: AtomicBool::new(false) }
    }
}

impl Logic {
    /// Whether the node's routes could not be renewed for so long that they are about to be void. A gate then sends its links away, and no login
    /// succeeds, until it reaches the router again.
    ///
    /// Routes that end with this process are never out of its reach, however long it stood still.
    pub fn is_cut_off(&self) -> bool {
        if self.ports.routes.end_with_process() {
            return false;
        }
        let early = self.policy.route_lease / 5;
        self.ports.clock.tick() + early >= *lock(&self.route_lease.ends)
    }

    /// How often the router may have lost routes. When it has grown, a gate [confirms](Self::confirm) all its links.
    pub fn route_losses(&self) -> u64 {
        self.route_lease.losses.load(Ordering::Acquire)
    }

    /// Renews the lease once, and tells if that stops working; whether it worked.
    async fn renew_routes(&self) -> bool {
        let outcome = self.try_to_renew_routes().await;
        if let Err(failure) = &outcome {
            self.not_renewed(&words(failure));
        }
        outcome.is_ok()
    }

    /// Renews the lease once. It takes no longer than until the next one is due, and than the node's number can do without
    /// renewal, since a server that starts waits for the first one.
    pub(super) async fn try_to_renew_routes(&self) -> Result<(), RouteError> {
        let asked = self.ports.clock.tick();
        let ttl = self.policy.route_lease;
        let life = self.lease.life();
        let renewal = self.ports.routes.renew(self.node(), life, ttl);
        let deadline = self.ports.clock.sleep_until(asked + ttl.min(self.policy.node_lease) / RENEWALS);
        let outcome = match select(renewal, deadline).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(_) => Err(RouteError::Unavailable(Some(Arc::new(NoAnswer)))),
        };
        self.renewed(asked + ttl, outcome?);
        Ok(())
    }

    /// Gives the lease back: whatever routes a link has left are void at once. They are anyhow when the lease ends.
    async fn release_routes(&self) {
        let life = self.lease.life();
        let released = self.ports.routes.release(self.node(), life);
        let at = self.ports.clock.tick() + self.policy.route_lease / RENEWALS;
        if let Either::Left((Err(failure), _)) = select(released, self.ports.clock.sleep_until(at)).await {
            tracing::debug!(error = &failure as &dyn Error, "the node's routes hold until their lease ends");
        }
    }

    fn not_renewed(&self, reason: &str) {
        if !self.route_lease.is_late.swap(true, Ordering::Relaxed) {
            tracing::warn!(reason, "the node's routes are not renewed for now");
        }
    }

    fn renewed(&self, ends: Tick, continuity: Continuity) {
        *lock(&self.route_lease.ends) = ends;
        if self.route_lease.is_late.swap(false, Ordering::Relaxed) {
            tracing::info!("the node's routes are renewed again");
        }
        if continuity == Continuity::PerhapsLost {
            tracing::warn!("the router may have lost routes: all links are confirmed");
            self.route_lease.losses.fetch_add(1, Ordering::Release);
        }
    }

    /// Until the next renewal: sooner after a failure.
    fn pause(&self, renewed: bool) -> Duration {
        let usual = self.policy.route_lease / RENEWALS;
        if renewed { usual } else { usual / 5 }
    }
}

/// The router was asked and did not answer in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer in time")]
struct NoAnswer;

/// A failure with its causes. Some errors say their cause themselves: nothing is said twice.
pub(super) fn words(failure: &dyn Error) -> String {
    let mut words = failure.to_string();
    let mut cause = failure.source();
    while let Some(source) = cause {
        let more = source.to_string();
        if !words.ends_with(&more) {
            words = format!("{words}: {more}");
        }
        cause = source.source();
    }
    words
}

/// Renews the lease until the server has stopped, and gives it back then.
pub(super) async fn run(logic: Arc<Logic>, mut stopped: oneshot::Receiver<()>) {
    let mut renewed = true;
    loop {
        let at = logic.ports.clock.tick() + logic.pause(renewed);
        match select(stopped, logic.ports.clock.sleep_until(at)).await {
            Either::Left(_) => return logic.release_routes().await,
            Either::Right(((), again)) => stopped = again,
        }
        renewed = logic.renew_routes().await;
    }
}
