//! The node's lease at the store: while it holds, no other server makes ids with the node's number.
//!
//! # When it cannot be renewed
//!
//! A store whose disk is full, or whose database is read-only, takes no renewal. When the lease has ended, messages are
//! refused until it is renewed, those in rooms too, for their ids have to lie inside a lease that is durable. All else goes
//! on: logins, pulls, acknowledgements. Ids of links lie inside the lease too, but do not follow the clock, so that they last ([`Logic::next_conn`]).
//!
//! # When another server takes the number meanwhile
//!
//! The number of a lease that ended is free for a server of another name. The old holder learns of that from its next
//! renewal that reaches the store, which is refused; then it stops. Until then two servers have one number, and nothing of
//! the two is mistaken for each other:
//!
//! - **Message ids**: the old holder makes none, since its lease has ended. The new one's begin where that ended.
//! - **Ids of links**: each holder's lie inside its own lease, and leases of a number do not overlap. So neither the keys that are made
//!   of them (`SendKey::Link`) nor parcels for them meet.
//! - **Routes**: those of the old holder are void when the new one has renewed its lease at the router, under a later life.
//!   Users on the old holder get no pushes then; what they pull is complete.
//! - **The bus**: what is published for the number goes to the new holder, which has no such link and drops it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, select};

use super::company::Company;
use super::{Logic, lock};
use crate::id::{ConnId, IdsExhausted, MsgId, MsgIds, NodeId};
use crate::storage::{NodeLease, StoreErrorKind};
use crate::time::Timestamp;

/// Renewals in the time of a lease.
const RENEWALS: u32 = 3;

/// What the node knows of its lease, and the ids that it makes under it.
#[derive(Debug)]
pub(super) struct OwnLease {
    lease: Mutex<NodeLease>,
    messages: MsgIds,
    links: MsgIds,
    /// Whether the last renewal failed, which is said once.
    is_late: AtomicBool,
}

impl OwnLease {
    pub(super) fn new(lease: NodeLease) -> Self {
        let ids = || MsgIds::new(lease.node, lease.from, lease.until);
        Self { messages: ids(), links: ids(), is_late: AtomicBool::new(false), lease: Mutex::new(lease) }
    }

    pub(super) fn node(&self) -> NodeId {
        self.messages.node()
    }

    /// Which taking of the number it is: it grows with each start of the node.
    pub(super) fn life(&self) -> i64 {
        self.get().epoch
    }

    pub(super) fn next_message(&self, now: Timestamp) -> Result<MsgId, IdsExhausted> {
        self.messages.next(now)
    }

    /// They count on from the lease's start, 2,048 for each millisecond of it, whatever the clock says.
    pub(super) fn next_link(&self) -> Result<ConnId, IdsExhausted> {
        Ok(ConnId(self.links.next(Timestamp::default())?.0))
    }

    /// The time of the newest id. A clock that was set back must not starve the ids, which go on from where they were.
    fn time(&self) -> Timestamp {
        self.messages.time().max(self.links.time())
    }

    fn extend(&self, lease: NodeLease) {
        self.messages.extend(lease.until);
        self.links.extend(lease.until);
        *self.get() = lease;
    }

    /// Ends the ids: the first moment after all of them.
    fn close(&self) -> Timestamp {
        self.messages.close().max(self.links.close())
    }

    fn get(&self) -> MutexGuard<'_, NodeLease> {
        lock(&self.lease)
    }
}

/// Renews the lease until `ended` is there or dropped, and gives it back then.
pub(super) async fn run(logic: Arc<Logic>, mut ended: oneshot::Receiver<()>) {
    let (mut renewed, mut company) = (true, Company::default());
    loop {
        let at = logic.ports.clock.tick() + logic.renewal_pause(renewed);
        match select(ended, logic.ports.clock.sleep_until(at)).await {
            Either::Left(_) => return logic.release_lease().await,
            Either::Right(((), again)) => ended = again,
        }
        let began = logic.ports.clock.tick();
        renewed = logic.renew_lease().await;
        if renewed {
            // What does not answer is not waited for: the next renewal would be late.
            let until = logic.ports.clock.sleep_until(began + logic.renewal_pause(renewed));
            let look = std::pin::pin!(logic.look_around(&mut company));
            select(look, until).await;
        }
    }
}

impl Logic {
    async fn look_around(&self, company: &mut Company) {
        self.look_at_epoch().await;
        company.watch(&self.ports, &self.name, self.policy.route_lease).await;
    }

    /// Until the next renewal: sooner after a failure, since no message is taken before it succeeds.
    fn renewal_pause(&self, renewed: bool) -> Duration {
        let usual = self.policy.node_lease / RENEWALS;
        if renewed { usual } else { usual / 5 }
    }

    /// Whether the lease holds on.
    async fn renew_lease(&self) -> bool {
        let lease = self.lease.get().clone();
        let now = self.ports.clock.now().max(self.lease.time());
        match self.ports.store.renew_node(&lease, now, self.policy.node_lease).await {
            Ok(renewed) => {
                self.lease.extend(renewed);
                if self.lease.is_late.swap(false, Ordering::Relaxed) {
                    tracing::info!("the node's lease is renewed again");
                }
                true
            }
            Err(failure) if failure.kind() == StoreErrorKind::LeaseLost => {
                self.lose_lease(&lease, now);
                false
            }
            Err(failure) => {
                if !self.lease.is_late.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        error = &failure as &dyn std::error::Error,
                        "the node's lease is not renewed for now; once it has ended, messages are refused until it is"
                    );
                }
                false
            }
        }
    }

    /// Another server has the number.
    fn lose_lease(&self, lease: &NodeLease, now: Timestamp) {
        if lease.until < now {
            tracing::error!(node = %lease.node, "the node's lease has ended, and another server took its number: this one stops");
        } else {
            tracing::error!(node = %lease.node, "another server runs under this one's name: this one stops");
        }
        self.lease.close();
        self.superseded.store(true, Ordering::Release);
        self.stop();
    }

    /// Gives the node's number back, so that the next start need not reckon with a server that still runs. No id is made after this.
    pub(super) async fn release_lease(&self) {
        if self.is_superseded() {
            return;
        }
        let until = self.lease.close();
        let lease = self.lease.get().clone();
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn lease(from: i64, until: i64) -> NodeLease {
        NodeLease { node: NodeId(3), epoch: 1, from: Timestamp(from), until: Timestamp(until) }
    }

    #[test]
    fn ids_of_links_last_beyond_the_time_of_the_lease_and_stay_inside_it() {
        let own = OwnLease::new(lease(1_000, 1_010));
        assert_eq!(own.next_message(Timestamp(5_000)), Err(IdsExhausted));
        let links: Vec<ConnId> = std::iter::from_fn(|| own.next_link().ok()).collect();
        assert_eq!(links.len(), 10 * 2_048);
        assert!(links.windows(2).all(|pair| pair[0] < pair[1]));
        own.extend(lease(1_000, 1_011));
        assert!(own.next_link().is_ok());
        let next = OwnLease::new(lease(1_011, 2_000));
        assert!(next.next_link().unwrap() > *links.last().unwrap());
    }

    #[test]
    fn a_lease_may_end_after_the_newest_id_of_either_kind() {
        let own = OwnLease::new(lease(1_000, 9_000));
        assert!((0..3 * 2_048).all(|_| own.next_link().is_ok()));
        own.next_message(Timestamp(1_001)).unwrap();
        assert_eq!(own.close(), Timestamp(1_003));
        assert!(own.next_link().is_err() && own.next_message(Timestamp(2_000)).is_err());
    }
}
