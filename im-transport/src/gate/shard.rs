mod rooms;

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use im_core::id::ConnId;
use im_core::logic::Logic;
use im_core::session::{Caller, Input, KickReason, Login, Session, SessionLimits, Verdict};
use im_core::time::Tick;
use im_proto::ErrorCode;
use slab::Slab;

use super::audit::Audit;
use super::backlog::Backlog;
use super::in_flight::Answering;
use super::link::{Cut, Link, Work};
use super::mailbox::{Mailbox, NewLink, Phase};

use self::rooms::Telling;

/// Logins on their way.
type Verdicts = FuturesUnordered<BoxFuture<'static, (Arc<Caller>, Verdict)>>;

/// One of a gate's tasks, with the links that it owns.
pub(super) struct Shard {
    logic: Arc<Logic>,
    session_limits: Arc<SessionLimits>,
    mailbox: Arc<Mailbox>,
    links: Slab<Link>,
    by_conn: HashMap<ConnId, usize, foldhash::fast::RandomState>,
    work: Work,
    /// Links that this turn changed and that are settled at its end.
    touched: Vec<usize>,
    /// Links that are not read because too much is in flight.
    starved: Vec<usize>,
    woken: Vec<usize>,
    /// What this turn brought for rooms.
    telling: Telling,
    backlog: Backlog,
    timers: BTreeSet<(Tick, usize)>,
    alarm: Option<(Tick, BoxFuture<'static, ()>)>,
    answering: FuturesUnordered<Answering>,
    verdicts: Verdicts,
    audit: Audit,
    phase: Phase,
    jitter: RandomState,
}

impl Shard {
    pub(super) fn new(
        logic: Arc<Logic>,
        session_limits: Arc<SessionLimits>,
        mailbox: Arc<Mailbox>,
        work: Work,
    ) -> Self {
        let now = logic.ports().clock.tick();
        Self {
            audit: Audit::new(now + work.limits.audit),
            logic,
            session_limits,
            mailbox,
            links: Slab::new(),
            by_conn: HashMap::default(),
            work,
            touched: Vec::new(),
            starved: Vec::new(),
            woken: Vec::new(),
            telling: Telling::default(),
            backlog: Backlog::default(),
            timers: BTreeSet::new(),
            alarm: None,
            answering: FuturesUnordered::new(),
            verdicts: FuturesUnordered::new(),
            phase: Phase::Running,
            jitter: RandomState::new(),
        }
    }

    /// Runs until it is drained or stopped.
    pub(super) async fn run(mut self) {
        std::future::poll_fn(|cx| self.turn(cx)).await;
    }

    /// One turn; see the [module](super).
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.mailbox.ready.register(cx.waker());
        let now = self.logic.ports().clock.tick();
        self.take_mail(now);
        if self.phase == Phase::Stopped {
            self.cut_all(now);
            return Poll::Ready(());
        }
        self.fire_timers(now);
        let mut again = !self.telling.is_empty();
        again |= self.read_links(now);
        self.serve();
        self.take_verdicts(now, cx);
        self.take_replies(now, cx);
        self.run_audit(now, cx);
        self.settle(now);
        self.tell_rooms(now);
        again |= !self.telling.is_empty();
        // Links that left, and replies that came at once, have made work for the use-cases.
        again |= !self.work.turn.is_empty() || !self.work.logins.is_empty();
        again |= self.set_alarm(now, cx);
        if self.is_drained() {
            return Poll::Ready(());
        }
        if again {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn is_drained(&self) -> bool {
        self.phase == Phase::Draining
            && self.links.is_empty()
            && self.answering.is_empty()
            && self.verdicts.is_empty()
            && self.work.turn.is_empty()
    }

    fn take_mail(&mut self, now: Tick) {
        let mail = self.mailbox.take(self.telling.is_empty());
        for link in mail.links {
            self.insert(now, link);
        }
        for (conn, push) in mail.pushes {
            self.input(now, conn, Input::Push(push));
        }
        self.telling.put(mail.rooms.by_room());
        for (conn, (reason, retry_after)) in mail.kicks {
            self.input(now, conn, Input::Kick { reason, retry_after });
        }
        if mail.cut_off {
            self.send_all_away(now);
        }
        if mail.recover {
            self.audit.recover(now);
        }
        if mail.phase > self.phase {
            self.phase = mail.phase;
            self.send_all_away(now);
        }
    }

    fn insert(&mut self, now: Tick, new: NewLink) {
        let conn = new.conn;
        let session = Session::new(conn, self.logic.node(), self.session_limits.clone(), now);
        let entry = self.links.vacant_entry();
        let index = entry.key();
        entry.insert(Link::new(new, session, index, self.mailbox.ready.clone())).wake();
        self.by_conn.insert(conn, index);
        self.touch(index);
        if self.phase != Phase::Running {
            self.send_away(now, index);
        }
    }

    fn send_all_away(&mut self, now: Tick) {
        let all: Vec<usize> = self.links.iter().map(|(index, _)| index).collect();
        for index in all {
            self.send_away(now, index);
        }
    }

    fn cut_all(&mut self, now: Tick) {
        for (_, link) in &mut self.links {
            link.cut(now, Cut::Stopped, &mut self.work);
        }
    }

    fn send_away(&mut self, now: Tick, index: usize) {
        let retry_after = Some(self.jitter_of(index));
        let kick = Input::Kick { reason: KickReason::GoingAway, retry_after };
        self.input_at(now, index, kick);
    }

    /// A random part of the time over which clients are to come back.
    fn jitter_of(&self, index: usize) -> Duration {
        let most = u64::try_from(self.work.limits.retry_jitter.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.jitter.hash_one(index) % most.saturating_add(1).max(1))
    }

    fn input(&mut self, now: Tick, conn: ConnId, input: Input) {
        if let Some(index) = self.by_conn.get(&conn) {
            self.input_at(now, *index, input);
        }
    }

    fn input_at(&mut self, now: Tick, index: usize, input: Input) {
        if let Some(link) = self.links.get_mut(index) {
            link.input(now, input, &mut self.work);
            self.touch(index);
        }
    }

    fn touch(&mut self, index: usize) {
        let link = &mut self.links[index];
        if !std::mem::replace(&mut link.touched, true) {
            self.touched.push(index);
        }
    }

    fn fire_timers(&mut self, now: Tick) {
        while let Some((at, index)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.pop_first();
            self.links[index].timer = None;
            self.input_at(now, index, Input::Timeout);
        }
    }

    /// Reads links that have something; whether some had to wait.
    fn read_links(&mut self, now: Tick) -> bool {
        let mut woken = std::mem::take(&mut self.woken);
        let more = self.mailbox.ready.take(self.work.limits.links_per_turn, &mut woken);
        for index in woken.drain(..) {
            self.read_link(now, index);
        }
        self.woken = woken;
        more
    }

    fn read_link(&mut self, now: Tick, index: usize) {
        // The waker of a link that is gone may still be held somewhere.
        let Some(link) = self.links.get_mut(index) else { return };
        link.woken();
        link.read(now, &mut self.work);
        self.touch(index);
    }

    /// Hands what the links asked to the use-cases.
    fn serve(&mut self) {
        if !self.work.turn.is_empty() {
            let (turn, weight) = self.work.take_turn();
            for answer in self.logic.serve(turn) {
                self.answering.push(Answering::new(answer, weight.clone()));
            }
        }
        let logins = std::mem::take(&mut self.work.logins);
        for login in logins {
            self.verdicts.push(self.login(login));
        }
    }

    fn login(&self, login: Login) -> BoxFuture<'static, (Arc<Caller>, Verdict)> {
        let caller = login.caller.clone();
        if self.verdicts.len() >= self.work.limits.shard_logins {
            return futures::future::ready((caller, not_now("too many logins at once"))).boxed();
        }
        let logic = self.logic.clone();
        async move {
            let verdict = AssertUnwindSafe(logic.login(login)).catch_unwind().await;
            let verdict = verdict.unwrap_or_else(|_| {
                tracing::error!("a login panicked");
                not_now("the login panicked")
            });
            (caller, verdict)
        }
        .boxed()
    }

    fn take_verdicts(&mut self, now: Tick, cx: &mut Context<'_>) {
        while let Poll::Ready(Some((caller, verdict))) = self.verdicts.poll_next_unpin(cx) {
            let granted = matches!(verdict, Verdict::Granted(_));
            let link = self.by_conn.get(&caller.conn).and_then(|index| self.links.get(*index));
            if let (Some(link), Verdict::Refused { code, cause, .. }) = (link, &verdict) {
                link.refused(now, *code, cause, &self.work);
            }
            self.input(now, caller.conn, Input::Verdict(verdict));
            if granted && !self.is_in(now, caller.conn) {
                // Gone, or kicked, before it was in: nobody else takes its route back.
                self.work.turn.leaves.push(caller);
            }
        }
    }

    /// Whether a link that was let in is there; it is noted then.
    fn is_in(&mut self, now: Tick, conn: ConnId) -> bool {
        let link = self.by_conn.get(&conn).and_then(|index| self.links.get_mut(*index));
        let link = link.filter(|link| link.session().caller().is_some());
        link.map(|link| link.logged_in(now, &self.work)).is_some()
    }

    fn take_replies(&mut self, now: Tick, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(replies)) = self.answering.poll_next_unpin(cx) {
            for reply in replies {
                self.input(now, reply.conn, Input::Reply(reply));
            }
        }
        if self.work.has_room() {
            for index in std::mem::take(&mut self.starved) {
                if let Some(link) = self.links.get_mut(index) {
                    link.starved = false;
                    self.touch(index);
                }
            }
        }
    }

    fn run_audit(&mut self, now: Tick, cx: &mut Context<'_>) {
        let found = self.audit.poll(now, cx, &self.logic, &self.links, self.work.limits.audit);
        for conn in found.gone {
            let kick = Input::Kick { reason: KickReason::LoggedInElsewhere, retry_after: None };
            self.input(now, conn, kick);
        }
        for (conn, push) in found.missed {
            self.input(now, conn, Input::Push(push));
        }
        self.work.turn.leaves.extend(found.left);
    }

    /// Writes to every link that changed, arms its timer, and removes it if it is over.
    fn settle(&mut self, now: Tick) {
        let mut touched = std::mem::take(&mut self.touched);
        for index in touched.drain(..) {
            let link = &mut self.links[index];
            link.touched = false;
            if link.settle(now, &mut self.work) {
                self.backlog.set(now, index, link.queued());
                self.resume(now, index);
                self.arm(now, index);
            } else {
                self.remove(now, index);
            }
        }
        self.touched = touched;
        self.shed(now);
    }

    /// Cuts the slowest readers for as long as too much waits for all links together.
    fn shed(&mut self, now: Tick) {
        while self.backlog.bytes() > self.work.limits.shard_outbound
            && let Some(index) = self.backlog.oldest()
        {
            self.links[index].cut(now, Cut::Backlog, &mut self.work);
            self.links[index].settle(now, &mut self.work);
            self.remove(now, index);
        }
    }

    /// Sees to it that a link which may read on does.
    fn resume(&mut self, now: Tick, index: usize) {
        let link = &mut self.links[index];
        if !link.wants_read(now, &self.work.limits) {
            return;
        }
        if self.work.has_room() {
            link.wake();
        } else if !std::mem::replace(&mut link.starved, true) {
            self.starved.push(index);
        }
    }

    /// Timers move later lazily: only an earlier deadline than the one armed is armed at once.
    fn arm(&mut self, now: Tick, index: usize) {
        let link = &mut self.links[index];
        let Some(deadline) = link.next_deadline(now, &self.work.limits) else { return };
        match link.timer {
            Some(armed) if armed <= deadline => return,
            Some(armed) => self.timers.remove(&(armed, index)),
            None => false,
        };
        link.timer = Some(deadline);
        self.timers.insert((deadline, index));
    }

    fn remove(&mut self, now: Tick, index: usize) {
        self.backlog.set(now, index, 0);
        let link = self.links.remove(index);
        self.by_conn.remove(&link.session().conn());
        if let Some(armed) = link.timer {
            self.timers.remove(&(armed, index));
        }
    }

    /// Sleeps until the first deadline; whether that has come already.
    fn set_alarm(&mut self, now: Tick, cx: &mut Context<'_>) -> bool {
        let first = self.timers.first().map(|(at, _)| *at);
        let Some(at) = [first, self.audit.due()].into_iter().flatten().min() else { return false };
        if self.alarm.as_ref().is_none_or(|(set, _)| at < *set || *set <= now) {
            self.alarm = Some((at, self.logic.ports().clock.sleep_until(at)));
        }
        let Some((_, sleep)) = &mut self.alarm else { return false };
        let rang = sleep.poll_unpin(cx).is_ready();
        if rang {
            self.alarm = None;
        }
        rang
    }
}

/// The client is to try again later.
fn not_now(cause: &'static str) -> Verdict {
    let code = ErrorCode::Unavailable;
    Verdict::Refused { code, message: code.to_string(), cause: cause.into() }
}
