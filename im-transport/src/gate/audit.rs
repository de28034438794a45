use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use im_core::id::{ConnId, Version};
use im_core::logic::Logic;
use im_core::router::{Route, RouteError};
use im_core::session::{Caller, Push};
use im_core::storage::StoreError;
use im_core::time::Tick;
use slab::Slab;

use super::link::Link;

/// Slots that one question covers.
const CHUNK: usize = 1_024;

/// Slots that one covers which may bring a push of a quarter of a MiB for each: together no more than may wait in the mailbox.
const CHUNK_TO_RECOVER: usize = 128;

/// Confirms logins at the router from time to time, a chunk of links at a time: those that it lost come back, and those that were removed without
/// their kick arriving are found. After a loss of pushes or routes it also tells the links what they may have missed.
pub(super) struct Audit {
    due: Tick,
    /// The first slot that the current round has not asked about.
    next: usize,
    /// Whether the current round looks for what links may have missed.
    recovers: bool,
    /// Whether the next round has to.
    recovers_next: bool,
    asking: Option<BoxFuture<'static, Answer>>,
    /// Whom the question on its way is about, by slot.
    asked: Vec<(usize, Arc<Caller>)>,
}

/// Links that a newer login removed, and what links may have missed.
type Answer = (Result<Vec<ConnId>, RouteError>, Result<Missed, StoreError>);

type Missed = Vec<(ConnId, Push)>;

/// What an answer brought.
#[derive(Default)]
pub(super) struct Found {
    /// Links that are to be kicked.
    pub(super) gone: Vec<ConnId>,
    /// Hints for links that may have missed pushes.
    pub(super) missed: Missed,
    /// Logins that ended while they were asked about: the router may have taken them for lost.
    pub(super) left: Vec<Arc<Caller>>,
}

impl Audit {
    /// The first round starts at `due`.
    pub(super) fn new(due: Tick) -> Self {
        Self { due, next: 0, recovers: false, recovers_next: false, asking: None, asked: Vec::new() }
    }

    /// When to poll; `None` while an answer is awaited, which wakes by itself.
    pub(super) fn due(&self) -> Option<Tick> {
        self.asking.is_none().then_some(self.due)
    }

    /// A round from the first link, now, that also tells them what they may have missed.
    pub(super) fn recover(&mut self, now: Tick) {
        self.due = now;
        self.next = 0;
        self.recovers_next = true;
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
        let Poll::Ready((gone, missed)) = asking.poll_unpin(cx) else { return Found::default() };
        self.asking = None;
        let gone = gone.unwrap_or_else(|failure| {
            tracing::debug!(error = &failure as &dyn std::error::Error, "logins are confirmed later");
            Vec::new()
        });
        let missed = missed.unwrap_or_else(|failure| {
            tracing::debug!(error = &failure as &dyn std::error::Error, "links hear later what they missed");
            self.recovers_next = true;
            Vec::new()
        });
        let asked = std::mem::take(&mut self.asked).into_iter();
        let left = asked.filter(|(index, caller)| !holds(links, *index, caller)).map(|(_, caller)| caller);
        Found { gone, missed, left: left.collect() }
    }

    /// Asks about the next chunk, or ends the round.
    fn ask(&mut self, now: Tick, logic: &Arc<Logic>, links: &Slab<Link>, every: Duration) {
        if self.next == 0 {
            self.recovers = std::mem::take(&mut self.recovers_next);
        }
        let end = self.next + if self.recovers { CHUNK_TO_RECOVER } else { CHUNK };
        let sessions = (self.next..end).filter_map(|index| Some((index, links.get(index)?.session())));
        let (mut routes, mut told, mut asked): (Vec<Route>, Vec<_>, Vec<_>) = Default::default();
        for (index, session) in sessions {
            if let (Some(route), Some(caller), Some(version)) =
                (session.route(), session.caller(), session.told())
            {
                routes.push(route);
                told.push((caller.clone(), version));
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
            self.asking = Some(ask(logic.clone(), routes, self.recovers.then_some(told)));
        }
    }
}

/// Confirms the links first: the push of what is stored later finds them then.
fn ask(
    logic: Arc<Logic>,
    routes: Vec<Route>,
    told: Option<Vec<(Arc<Caller>, Version)>>,
) -> BoxFuture<'static, Answer> {
    async move {
        let gone = logic.confirm(routes).await;
        let missed = match told {
            Some(told) => logic.missed(told).await,
            None => Ok(Missed::new()),
        };
        (gone, missed)
    }
    .boxed()
}

fn holds(links: &Slab<Link>, index: usize, caller: &Caller) -> bool {
    let held = links.get(index).and_then(|link| link.session().caller());
    held.is_some_and(|held| held.conn == caller.conn)
}
