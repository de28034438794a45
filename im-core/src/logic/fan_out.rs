//! Pushes what was stored to the links that want it: all that waits at once, one look-up of routes and one publish.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::StreamExt;
use futures::channel::mpsc;

use super::{Logic, lock};
use crate::fanout::{self, Stored};
use crate::router::Delivery;

/// Messages that are planned together at most, so that the first of a long queue are not kept back by the last.
const BATCH: usize = 4_096;

pub(super) async fn run(logic: Arc<Logic>, mut queue: mpsc::Receiver<Vec<Stored>>) {
    while let Some(mut stored) = queue.next().await {
        while stored.len() < BATCH
            && let Ok(more) = queue.try_recv()
        {
            stored.extend(more);
        }
        logic.fan_out(&stored).await;
        logic.fan_out_bytes.fetch_sub(size(&stored), Ordering::Relaxed);
    }
}

fn size(stored: &[Stored]) -> usize {
    stored.iter().map(|stored| stored.message.size()).sum()
}

impl Logic {
    /// Whether there is room for these. A router that does not answer must not gather what senders were told is stored.
    pub(super) fn queue_fan_out(&self, stored: Vec<Stored>) -> bool {
        let bytes = size(&stored);
        let waiting = self.fan_out_bytes.fetch_add(bytes, Ordering::Relaxed);
        let queued = waiting.saturating_add(bytes) <= self.policy.fan_out_bytes
            && lock(&self.fan_out).try_send(stored).is_ok();
        if !queued {
            self.fan_out_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        queued
    }

    async fn fan_out(&self, stored: &[Stored]) {
        match self.ports.routes.find(fanout::audience(stored)).await {
            Ok(routes) => self.publish(fanout::plan(stored, &routes)).await,
            Err(failure) => self.lost_pushes(&failure),
        }
    }

    pub(super) async fn publish(&self, deliveries: Vec<Delivery>) {
        if deliveries.is_empty() {
            return;
        }
        if let Err(failure) = self.ports.bus.publish(deliveries).await {
            self.lost_pushes(&failure);
        }
    }

    /// Every turn may find the router or the bus away.
    pub(super) fn lost_pushes(&self, failure: &(dyn std::error::Error + 'static)) {
        if let Some(others) = self.lost_pushes.admit(self.ports.clock.tick()) {
            tracing::warn!(error = failure, others, "pushes are lost; receivers pull later");
        }
    }
}
