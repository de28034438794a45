//! Users who have not acknowledged in time: they are hinted, and then the vendor is asked to wake them.

use std::time::Duration;

use super::{Logic, lock};
use crate::delivery::{Due, Nudge};
use crate::fanout;
use crate::id::{Uid, Version};
use crate::message::{Entry, TimelineId};
use crate::router::{BusError, RouteError, UserRoutes};
use crate::storage::{Read, StoreError};

/// Users whose deadlines are handled together, one batch of look-ups each.
const BATCH: usize = 512;

/// Between two tries to hand over.
const AGAIN: Duration = Duration::from_millis(500);

/// Why users are looked at again later.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Routes(#[from] RouteError),
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// A user, the version to hint at, and the links.
type Hint = (Uid, Version, UserRoutes);

impl Logic {
    /// Looks after users whose deadline has come.
    pub(super) async fn nudge(&self) {
        let due = lock(&self.deliveries).due(self.ports.clock.tick(), BATCH);
        if !due.is_empty() {
            self.nudge_all(&due).await;
        }
    }

    /// Looks after everybody who has not acknowledged what was stored here, before their deadline: once this server has stopped nobody does. It is called when the
    /// links are gone and before [`stop`](Self::stop), and tries again for as long as the store, the router or the bus is away, so bound it.
    ///
    /// # Cancel safety
    /// Dropping the future is fine: whoever was not hinted by then hears at the next push, heartbeat or login.
    pub async fn hand_over(&self) {
        if self.is_superseded() || self.has_outlived_its_epoch() {
            return;
        }
        let mut rest = lock(&self.deliveries).pending();
        loop {
            for due in rest.chunks(BATCH) {
                self.nudge_all(due).await;
            }
            rest = lock(&self.deliveries).unhinted();
            if rest.is_empty() {
                return;
            }
            self.ports.clock.sleep_until(self.ports.clock.tick() + AGAIN).await;
        }
    }

    async fn nudge_all(&self, due: &[Due]) {
        let Err(failure) = self.try_to_nudge(due).await else { return };
        if let Some(others) = self.late_nudges.admit(self.ports.clock.tick()) {
            let error: &(dyn std::error::Error + 'static) = &failure;
            tracing::warn!(error, others, "unacknowledged messages are looked at again later");
        }
    }

    async fn try_to_nudge(&self, due: &[Due]) -> Result<(), Failure> {
        self.flush_acks().await;
        let of = due.iter().map(|due| (due.uid.clone(), TimelineId::User(due.uid.clone()))).collect();
        let cursors = self.ports.store.cursors(of).await?;
        // A router that is away does not say that a user has no link.
        let routes = self.ports.routes.find(due.iter().map(|due| due.uid.clone()).collect()).await?;
        let (mut hints, mut wakes) = (Vec::new(), Vec::new());
        let now = self.ports.clock.tick();
        for ((due, cursors), routes) in due.iter().zip(cursors).zip(routes) {
            let acked = cursors.iter().map(|cursor| cursor.version).max().unwrap_or_default();
            let online = !routes.is_empty();
            match lock(&self.deliveries).resolve(now, &due.uid, acked, online) {
                Some(Nudge::Hint(uid, version)) => hints.push((uid, version, routes)),
                Some(Nudge::Wake(uid, version)) => wakes.push((uid, version)),
                None => {}
            }
        }
        let hinted = self.hint(hints).await;
        self.wake(wakes).await;
        hinted
    }

    /// Pushes the entries that the hints name. Whom it could not push to stays unhinted.
    async fn hint(&self, hints: Vec<Hint>) -> Result<(), Failure> {
        let reads = hints.iter().map(|(uid, version, _)| only(uid, *version)).collect();
        let pages = self.ports.store.read(reads).await;
        let (mut pushes, mut hinted, mut unread) = (Vec::new(), Vec::new(), None);
        for ((uid, _, links), page) in hints.iter().zip(pages) {
            match page {
                Err(failure) if failure.is_retryable() => unread = Some(failure),
                page => {
                    let entries = page.map(|page| page.entries).unwrap_or_default();
                    let push = |entry: Entry| fanout::entry(&entry.message, uid, entry.version, links);
                    pushes.extend(entries.into_iter().flat_map(push));
                    hinted.push(uid);
                }
            }
        }
        if !pushes.is_empty() {
            self.ports.bus.publish(pushes).await?;
        }
        let mut deliveries = lock(&self.deliveries);
        hinted.into_iter().for_each(|uid| deliveries.hinted(uid));
        unread.map_or(Ok(()), |failure| Err(failure.into()))
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

/// The one entry at `version`.
pub(super) fn only(uid: &Uid, version: Version) -> Read {
    Read {
        timeline: TimelineId::User(uid.clone()),
        after: Version(version.0 - 1),
        until: Some(version),
        limit: 1,
        max_bytes: usize::MAX,
        least: Some(version),
    }
}
