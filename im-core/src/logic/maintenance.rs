//! What has to be done when time passes: deadlines of deliveries, the flush of acknowledgements, the renewal of the node's lease, and whether the
//! store's epoch is still that of the start.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, select};

use super::{Logic, lock};
use crate::delivery::{Due, Nudge};
use crate::id::{Uid, Version};
use crate::message::TimelineId;
use crate::router::{Delivery, UserRoutes};
use crate::storage::{Read, StoreError, StoreErrorKind};
use crate::time::Tick;

/// How often it looks. Deadlines are met within this time.
const TICK: Duration = Duration::from_millis(500);

/// Users whose deadlines are handled together, one batch of look-ups each.
const BATCH: usize = 512;

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
    loop {
        let at = logic.ports.clock.tick() + logic.policy.node_lease / 3;
        match select(ended, logic.ports.clock.sleep_until(at)).await {
            Either::Left(_) => return,
            Either::Right(((), again)) => ended = again,
        }
        // A store that does not answer is not waited for twice: the next renewal would be late.
        if logic.renew_lease().await {
            logic.look_at_epoch().await;
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
        logic.nudge(now).await;
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

    /// Looks after users who have not acknowledged in time.
    async fn nudge(&self, now: Tick) {
        let due = lock(&self.deliveries).due(now, BATCH);
        if due.is_empty() {
            return;
        }
        if let Err(failure) = self.nudge_all(now, due).await {
            tracing::warn!(
                error = &failure as &dyn std::error::Error,
                "unacknowledged messages are looked at again later"
            );
        }
    }

    async fn nudge_all(&self, now: Tick, due: Vec<Due>) -> Result<(), StoreError> {
        self.flush_acks().await;
        let of = due.iter().map(|due| (due.uid.clone(), TimelineId::User(due.uid.clone()))).collect();
        let cursors = self.ports.store.cursors(of).await?;
        let users: Vec<Uid> = due.iter().map(|due| due.uid.clone()).collect();
        let nowhere = |_| vec![UserRoutes::default(); due.len()];
        let routes = self.ports.routes.find(users).await.unwrap_or_else(nowhere);
        let (mut hints, mut wakes) = (Vec::new(), Vec::new());
        for ((due, cursors), routes) in due.iter().zip(cursors).zip(routes) {
            let acked = cursors.iter().map(|cursor| cursor.version).max().unwrap_or_default();
            let online = !routes.is_empty();
            match lock(&self.deliveries).resolve(now, &due.uid, acked, online) {
                Some(Nudge::Hint(uid, version)) => hints.push((uid, version, routes)),
                Some(Nudge::Wake(uid, version)) => wakes.push((uid, version)),
                None => {}
            }
        }
        let pushes = self.hints(hints).await;
        self.publish(pushes).await;
        self.wake(wakes).await;
        Ok(())
    }

    /// Pushes of the entries that the hints name.
    async fn hints(&self, hints: Vec<(Uid, Version, UserRoutes)>) -> Vec<Delivery> {
        let reads = hints.iter().map(|(uid, version, _)| newest(uid, *version)).collect();
        let pages = self.ports.store.read(reads).await;
        let mut pushes = Vec::new();
        for ((uid, _, links), page) in hints.iter().zip(pages) {
            let entries = page.map(|page| page.entries).unwrap_or_default();
            for entry in entries {
                pushes.extend(crate::fanout::entry(&entry.message, uid, entry.version, links));
            }
        }
        pushes
    }

    async fn wake(&self, users: Vec<(Uid, Version)>) {
        if users.is_empty() {
            return;
        }
        if let Err(failure) = self.ports.wake_up.wake(users).await {
            tracing::warn!(error = &failure as &dyn std::error::Error, "devices are not woken");
        }
    }
}

fn newest(uid: &Uid, version: Version) -> Read {
    Read {
        timeline: TimelineId::User(uid.clone()),
        after: Version(version.0 - 1),
        until: Some(version),
        limit: 1,
        max_bytes: usize::MAX,
        least: Some(version),
    }
}
