use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use im_core::id::ConnId;
use im_core::logic::Logic;
use im_core::router::{Route, RouteError};
use im_core::session::Caller;
use im_core::time::Tick;
use slab::Slab;

use super::link::Link;

/// Slots that one question covers.
const CHUNK: usize = 1_024;

/// Confirms logins at the router from time to time, a chunk of links at a time: those that it lost come back, and those that were removed without
/// their kick arriving are found.
pub(super) struct Audit {
    due: Tick,
    /// The first slot that the current round has not asked about.
    next: usize,
    asking: Option<BoxFuture<'static, Result<Vec<ConnId>, RouteError>>>,
    /// Whom the question on its way is about, by slot.
    asked: Vec<(usize, Arc<Caller>)>,
}

/// What an answer brought.
#[derive(Default)]
pub(super) struct Found {
    /// Links that are to be kicked.
    pub(super) gone: Vec<ConnId>,
    /// Logins that ended while they were asked about: the router may have taken them for lost.
    pub(super) left: Vec<Arc<Caller>>,
}

impl Audit {
    /// The first round starts at `due`.
    pub(super) fn new(due: Tick) -> Self {
        Self { due, next: 0, asking: None, asked: Vec::new() }
    }

    /// When to poll; `None` while an answer is awaited, which wakes by itself.
    pub(super) fn due(&self) -> Option<Tick> {
        self.asking.is_none().then_some(self.due)
    }

    /// A round from the first link, now.
    pub(super) fn start_over(&mut self, now: Tick) {
        self.due = now;
        self.next = 0;
    }

    /// Moves on.
    pub(super) fn poll(
        &mut self,
        now: Tick,
        cx: &mut Context<'_>,
        logic: &Arc<Logic>,
        links: &Slab<Link>,
        every: Duration,
    ) -> Found {
        if self.asking.is_none() && self.due <= now {
            self.ask(now, logic, links, every);
        }
        let Some(asking) = &mut self.asking else { return Found::default() };
        let Poll::Ready(answer) = asking.poll_unpin(cx) else { return Found::default() };
        self.asking = None;
        let gone = answer.unwrap_or_else(|failure| {
            tracing::debug!(error = &failure as &dyn std::error::Error, "logins are confirmed later");
            Vec::new()
        });
        let asked = std::mem::take(&mut self.asked).into_iter();
        let left = asked.filter(|(index, caller)| !holds(links, *index, caller)).map(|(_, caller)| caller);
        Found { gone, left: left.collect() }
    }

    /// Asks about the next chunk, or ends the round.
    fn ask(&mut self, now: Tick, logic: &Arc<Logic>, links: &Slab<Link>, every: Duration) {
        let end = self.next + CHUNK;
        let sessions = (self.next..end).filter_map(|index| Some((index, links.get(index)?.session())));
        let (mut routes, mut asked): (Vec<Route>, Vec<_>) = (Vec::new(), Vec::new());
        for (index, session) in sessions {
            if let (Some(route), Some(caller)) = (session.route(), session.caller()) {
                routes.push(route);
                asked.push((index, caller.clone()));
            }
        }
        // Slots above the capacity were never used.
        self.next = if end < links.capacity() { end } else { 0 };
        if self.next == 0 {
            self.due = now + every;
        }
        if !routes.is_empty() {
            self.asked = asked;
            self.asking = Some(logic.confirm(routes));
        }
    }
}

fn holds(links: &Slab<Link>, index: usize, caller: &Caller) -> bool {
    let held = links.get(index).and_then(|link| link.session().caller());
    held.is_some_and(|held| held.conn == caller.conn)
}
