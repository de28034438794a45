use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use im_core::id::{ConnId, Uid};
use im_core::logic::Logic;
use im_core::router::RouteError;
use im_core::time::Tick;
use slab::Slab;

use super::link::Link;

/// Slots that one question covers.
const CHUNK: usize = 1_024;

/// Asks from time to time which logins were removed without their kick arriving, a chunk of links at a time.
pub(super) struct Audit {
    due: Tick,
    /// The first slot that the current round has not asked about.
    next: usize,
    asking: Option<BoxFuture<'static, Result<Vec<ConnId>, RouteError>>>,
}

impl Audit {
    /// The first round starts at `due`.
    pub(super) fn new(due: Tick) -> Self {
        Self { due, next: 0, asking: None }
    }

    /// When to poll; `None` while an answer is awaited, which wakes by itself.
    pub(super) fn due(&self) -> Option<Tick> {
        self.asking.is_none().then_some(self.due)
    }

    /// Moves on; returns links that are to be kicked.
    pub(super) fn poll(
        &mut self,
        now: Tick,
        cx: &mut Context<'_>,
        logic: &Logic,
        links: &Slab<Link>,
        every: Duration,
    ) -> Vec<ConnId> {
        if self.asking.is_none() && self.due <= now {
            self.ask(now, logic, links, every);
        }
        let Some(asking) = &mut self.asking else { return Vec::new() };
        let Poll::Ready(answer) = asking.poll_unpin(cx) else { return Vec::new() };
        self.asking = None;
        answer.unwrap_or_else(|failure| {
            tracing::debug!(
                error = &failure as &dyn std::error::Error,
                "evicted logins are looked for later"
            );
            Vec::new()
        })
    }

    /// Asks about the next chunk, or ends the round.
    fn ask(&mut self, now: Tick, logic: &Logic, links: &Slab<Link>, every: Duration) {
        let end = self.next + CHUNK;
        let asked: Vec<(Uid, ConnId)> =
            (self.next..end).filter_map(|index| links.get(index)?.session().caller()).map(of).collect();
        // Slots above the capacity were never used.
        self.next = if end < links.capacity() { end } else { 0 };
        if self.next == 0 {
            self.due = now + every;
        }
        if !asked.is_empty() {
            self.asking = Some(logic.evicted(asked));
        }
    }
}

fn of(caller: &std::sync::Arc<im_core::session::Caller>) -> (Uid, ConnId) {
    (caller.uid.clone(), caller.conn)
}
