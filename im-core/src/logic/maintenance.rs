//! What has to be done when time passes: deadlines of deliveries, the flush of acknowledgements, the renewal of the node's lease, and whether the
//! store's epoch is still that of the start and all its servers at one router.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, select};

use super::company::Company;
use super::{Logic, lock};
use crate::storage::StoreErrorKind;

/// Renewals in the time of a node's lease.
const RENEWALS: u32 = 3;

/// How often it looks. Deadlines are met within this time.
const TICK: Duration = Duration::from_millis(500);

/// The upkeep, and beside it the renewal of the lease: without one no message is taken, so that it waits for nothing else that is slow. Both
/// end when the server stops; `routes` is dropped then.
pub(super) fn run(
    logic: Arc<Logic>,
    stopped: oneshot::Receiver<()>,
    routes: oneshot::Sender<()>,
) -> (impl Future<Output = ()> + Send, impl Future<Output = ()> + Send) {
    // Dropped with the upkeep.
    let (done, upkeep_ended) = oneshot::channel();
    (upkeep(logic.clone(), stopped, [done, routes]), renewals(logic, upkeep_ended))
}

async fn renewals(logic: Arc<Logic>, mut ended: oneshot::Receiver<()>) {
    let mut company = Company::default();
    loop {
        let at = logic.ports.clock.tick() + logic.policy.node_lease / RENEWALS;
        match select(ended, logic.ports.clock.sleep_until(at)).await {
            Either::Left(_) => return logic.release_lease().await,
            Either::Right(((), again)) => ended = again,
        }
        // A store that does not answer is not waited for twice: the next renewal would be late.
        if logic.renew_lease().await {
            logic.look_at_epoch().await;
            company.watch(&logic.ports, &logic.name, logic.policy.route_lease).await;
        }
    }
}

async fn upkeep(logic: Arc<Logic>, mut stopped: oneshot::Receiver<()>, _done: [oneshot::Sender<()>; 2]) {
    let mut flush_at = logic.ports.clock.tick() + logic.policy.ack_flush;
    loop {
        let sleep = logic.ports.clock.sleep_until(logic.ports.clock.tick() + TICK);
        match select(stopped, sleep).await {
            Either::Left(_) => break,
            Either::Right(((), again)) => stopped = again,
        }
        let now = logic.ports.clock.tick();
        if flush_at <= now {
            logic.flush_acks().await;
            flush_at = now + logic.policy.ack_flush;
        }
        logic.nudge().await;
    }
    logic.flush_acks().await;
}

impl Logic {
    /// Whether the lease holds on.
    async fn renew_lease(&self) -> bool {
        let lease = lock(&self.lease).clone();
        // A clock that was set back must not starve the ids, which go on from where they were.
        let now = self.ports.clock.now().max(self.ids.time());
        let renewed = self.ports.store.renew_node(&lease, now, self.policy.node_lease).await;
        match renewed {
            Ok(lease) => {
                self.ids.extend(lease.until);
                *lock(&self.lease) = lease;
                true
            }
            Err(failure) if failure.kind() == StoreErrorKind::LeaseLost => {
                tracing::error!(node = %lease.node, "another server runs under this one's name: this one stops");
                self.superseded.store(true, Ordering::Release);
                self.stop();
                false
            }
            Err(failure) => {
                tracing::warn!(
                    error = &failure as &dyn std::error::Error,
                    "the node's lease is not renewed yet"
                );
                false
            }
        }
    }

    /// Gives the node's number back, so that the next start need not reckon with a server that still runs. No id is made after this.
    async fn release_lease(&self) {
        let until = self.ids.close();
        if self.is_superseded() {
            return;
        }
        let lease = lock(&self.lease).clone();
        let released = self.ports.store.release_node(&lease, until);
        // As long as a renewal may take; the lease ends by itself soon after.
        let at = self.ports.clock.tick() + self.policy.node_lease / RENEWALS;
        if let Either::Left((Err(failure), _)) = select(released, self.ports.clock.sleep_until(at)).await {
            let error = &failure as &dyn std::error::Error;
            tracing::warn!(error, "the node's lease is not given back, and ends by itself");
        }
    }

    /// Stops if the store has begun another epoch: links of this server are told the versions of the new one as those of the old.
    async fn look_at_epoch(&self) {
        match self.ports.store.epoch().await {
            Ok(epoch) if epoch != self.epoch => {
                tracing::error!(began = %self.epoch, %epoch, "the store's epoch is another than at the start: this server stops");
                self.outlived.store(true, Ordering::Release);
                self.stop();
            }
            Ok(_) => {}
            Err(failure) => {
                tracing::warn!(
                    error = &failure as &dyn std::error::Error,
                    "the store's epoch is looked at again later"
                );
            }
        }
    }
}
