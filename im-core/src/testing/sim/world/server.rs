use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures::future::select;
use futures::{FutureExt, StreamExt};

use super::{World, num};
use crate::delivery::DeliveryLimits;
use crate::id::{ConnId, DeviceId, DeviceType, RoomId, Uid, Version};
use crate::logic::{Background, Logic, Policy, Ports, Turn};
use crate::message::Entry;
use crate::ports::OpenRooms;
use crate::router::{Delivery, Parcel, Subscription};
use crate::session::{Caller, Input, KickReason, Push, Reply, Verdict};
use crate::storage::Head;
use crate::testing::sim::event::{End, Event, LinkId, ServerLife};
use crate::testing::sim::kernel::Kernel;
use crate::testing::sim::outside::{SimAuthenticator, SimClock, SimWakeUp};
use crate::testing::sim::sharding::Moved;
use crate::time::Tick;

/// Between two tries of a gate, and what handing over may take.
const RETRY: Duration = Duration::from_secs(1);

/// A server: a gate and its logic in one process, which dies and comes back under the same name.
pub(super) struct Server {
    pub(super) life: u64,
    /// Milliseconds that its clock is ahead.
    pub(super) skew: Arc<AtomicI64>,
    pub(super) running: Option<Running>,
    /// The process stands still until then.
    pub(super) paused_until: Option<Tick>,
}

/// What a crash takes along.
pub(super) struct Running {
    pub(super) logic: Arc<Logic>,
    pub(super) turn: Turn,
    turn_comes: bool,
    /// It is being taken down.
    pub(super) drains: bool,
    pub(super) conns: BTreeMap<ConnId, LinkId>,
    /// Logins without a verdict.
    pub(super) logins: BTreeMap<ConnId, (Uid, DeviceType, DeviceId)>,
    /// The links in each room.
    pub(super) rooms: BTreeMap<RoomId, BTreeSet<ConnId>>,
}

/// Whose a future is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Server(usize),
    Mover(usize),
    Auditor,
}

/// What a future gave.
pub(super) enum Done {
    Started(Option<(Arc<Logic>, Background, Subscription)>),
    Verdict(Arc<Caller>, Verdict),
    Replies(Vec<Reply>),
    /// What the router says of these logins, and what they may have missed.
    Confirmed(Vec<Arc<Caller>>, Vec<ConnId>, Vec<(ConnId, Push)>),
    Parcels(Option<Vec<Delivery>>, Subscription),
    /// The bus is back.
    Subscribed(Subscription),
    BackgroundEnded,
    /// How a move ended, and whether nothing went wrong any more when it began.
    Moved(Moved, bool),
    Heads(Option<Vec<Head>>),
    Timelines(Option<BTreeMap<Uid, Vec<Entry>>>),
}

impl Server {
    pub(super) fn new() -> Self {
        Self { life: 0, skew: Arc::default(), running: None, paused_until: None }
    }
}

impl World {
    pub(super) fn start_server(&mut self, server: usize) {
        let state = &mut self.servers[server];
        if state.running.is_some() {
            return;
        }
        state.life += 1;
        self.executor.abort(Owner::Server(server));
        let kernel = &self.kernel;
        kernel.note("server starts", num(server), state.life);
        let opening = self.access.open(kernel, state.skew.clone());
        let (routes, bus) = (self.routes.clone(), self.bus.clone());
        let clock = Arc::new(SimClock::new(kernel.clone(), state.skew.clone()));
        let (authenticator, wake_up) = (SimAuthenticator(kernel.clone()), SimWakeUp(kernel.clone()));
        let policy = self.policy();
        let starts = async move {
            let opened = opening.await?;
            let ports = Ports {
                store: opened.store,
                routes,
                bus,
                authenticator: Arc::new(authenticator),
                wake_up: Arc::new(wake_up),
                clock,
                rooms: Arc::new(OpenRooms),
                blocklist: None,
                commands: BTreeMap::new(),
            };
            let (logic, mut background) =
                Logic::start(ports, policy, &format!("server {server}")).await.ok()?;
            background.push(opened.background);
            let parcels = logic.ports().bus.subscribe(logic.node()).await.ok()?;
            Some((logic, background, parcels))
        };
        self.executor.spawn(Owner::Server(server), starts.map(Done::Started).boxed());
    }

    fn policy(&self) -> Policy {
        let deadline = Duration::from_secs(2);
        Policy {
            kick: self.scenario.kick,
            node_lease: self.scenario.node_lease,
            delivery: DeliveryLimits { deadline, ..DeliveryLimits::default() },
            ..Policy::default()
        }
    }

    /// The process dies: all its futures stop where they are and all its links are gone.
    pub(super) fn crash_server(&mut self, server: usize) {
        let Some(running) = self.servers[server].running.take() else { return };
        self.servers[server].paused_until = None;
        self.kernel.note("server crashes", num(server), self.servers[server].life);
        self.kernel.count(|counts| counts.server_crashes += u64::from(!running.drains));
        if self.disks.is_between_copies() {
            self.kernel.count(|counts| counts.crashes_between_copies += 1);
        }
        self.executor.abort(Owner::Server(server));
        self.servers[server].life += 1;
        let links: Vec<LinkId> =
            self.links.iter().filter(|(_, link)| link.at.server == server).map(|(id, _)| *id).collect();
        for link in links {
            self.lose_server_end(link);
        }
        let outage = self.kernel.dice(|dice| dice.millis(20, 4_000));
        self.kernel.after(outage, Event::StartServer(server));
    }

    /// The process stands still, as one does whose machine is moved; the world goes on.
    pub(super) fn pause_server(&mut self, server: usize) {
        let life = self.life(server);
        let state = &mut self.servers[server];
        if state.running.is_none() || state.paused_until.is_some() {
            return;
        }
        let long = self.kernel.dice(|dice| dice.happens(200));
        let pause =
            self.kernel.dice(|dice| if long { dice.millis(3_000, 15_000) } else { dice.millis(10, 3_000) });
        let until = self.kernel.now() + pause;
        state.paused_until = Some(until);
        self.kernel.note("server pauses", num(server), until.0);
        self.kernel.count(|counts| counts.server_pauses += 1);
        self.kernel.at(until, Event::Resume(life));
    }

    pub(super) fn resume_server(&mut self, life: ServerLife) {
        if self.life(life.server) == life {
            self.kernel.note("server resumes", num(life.server), life.life);
            self.servers[life.server].paused_until = None;
        }
    }

    /// Until when an event has to wait because it needs a process that stands still.
    pub(super) fn paused(&self, event: &Event) -> Option<Tick> {
        let of_link = |link| self.links.get(link).map(|link| link.at.server);
        let server = match event {
            Event::Turn(life) | Event::CheckEvicted(life) | Event::EndServer(life) => Some(life.server),
            Event::Arrives(link, End::Server, _) | Event::Breaks(link, End::Server) => of_link(link),
            Event::SessionTimer(link) | Event::ReadAgain(link) => of_link(link),
            _ => None,
        };
        self.servers[server?].paused_until
    }

    /// The process is asked to end: its clients are sent away, it finishes what it took, and then it is gone.
    pub(super) fn drain_server(&mut self, server: usize) {
        let life = self.life(server);
        let state = &mut self.servers[server];
        let stands_still = state.paused_until.is_some();
        let Some(running) = state.running.as_mut().filter(|running| !running.drains && !stands_still) else {
            return;
        };
        running.drains = true;
        self.kernel.note("server drains", num(server), life.life);
        self.kernel.count(|counts| counts.drains += 1);
        let links: Vec<LinkId> = running.conns.values().copied().collect();
        for link in links {
            let retry_after = self.kernel.dice(|dice| dice.millis(0, 500));
            self.input(link, Input::Kick { reason: KickReason::GoingAway, retry_after: Some(retry_after) });
        }
        let grace = self.kernel.dice(|dice| dice.millis(1, 1_500));
        self.kernel.after(grace, Event::EndServer(life));
    }

    pub(super) fn end_server(&mut self, life: ServerLife) {
        let Some(running) = self.running(life) else { return };
        let logic = running.logic.clone();
        let bound = self.kernel.sleep(RETRY);
        let ends = async move {
            select(pin!(logic.hand_over()), pin!(bound)).await;
            logic.stop();
            Done::BackgroundEnded
        };
        self.executor.spawn(Owner::Server(life.server), ends.boxed());
        let grace = self.kernel.dice(|dice| dice.millis(1, 1_500));
        self.kernel.after(grace, Event::CrashServer(life));
    }

    fn background_ended(&mut self, server: usize) {
        let Some(running) = self.servers[server].running.as_ref().filter(|running| !running.drains) else {
            return;
        };
        if running.logic.is_superseded() {
            // It stood still until another took its number: its process ends, and is started again.
            self.crash_server(server);
        } else {
            self.fail("rest", "a background future ended by itself".to_owned());
        }
    }

    fn lose_server_end(&mut self, link: LinkId) {
        let Some(state) = self.links.get_mut(&link) else { return };
        state.open_at_server = false;
        let cut = self.kernel.now() + self.kernel.dice(|dice| dice.millis(0, 10));
        state.down.cut = Some(cut);
        if self.kernel.dice(|dice| dice.happens(150)) {
            self.kernel.count(|counts| counts.links_half_open += 1);
        } else {
            let learns = cut + self.kernel.dice(|dice| dice.millis(0, 500));
            self.kernel.at(learns, Event::Breaks(link, End::Client));
        }
        self.tidy(link);
    }

    pub(super) fn step_clock(&mut self, server: usize) {
        let far = self.kernel.dice(|dice| if dice.happens(300) { 30_000 } else { 2_000 });
        let skew = self.kernel.dice(|dice| dice.between(0, 2 * far));
        self.kernel.note("clock steps", num(server), skew);
        self.kernel.count(|counts| counts.clock_steps += 1);
        let skew = i64::try_from(skew).unwrap_or(0) - i64::try_from(far).unwrap_or(0);
        self.servers[server].skew.store(skew, Ordering::Relaxed);
    }

    pub(super) fn life(&self, server: usize) -> ServerLife {
        ServerLife { server, life: self.servers[server].life }
    }

    pub(super) fn running(&mut self, at: ServerLife) -> Option<&mut Running> {
        let server = &mut self.servers[at.server];
        if server.life == at.life { server.running.as_mut() } else { None }
    }

    /// A future ended.
    pub(super) fn done(&mut self, owner: Owner, done: Done) {
        let server = match owner {
            Owner::Server(server) => server,
            Owner::Mover(mover) => return self.moved(mover, done),
            Owner::Auditor => return self.audited(done),
        };
        match done {
            Done::Started(Some((logic, background, parcels))) => {
                self.started(server, logic, background, parcels);
            }
            Done::Started(None) => {
                let pause = self.kernel.dice(|dice| dice.millis(50, 500));
                self.kernel.after(pause, Event::StartServer(server));
            }
            Done::Verdict(caller, verdict) => self.verdict(server, caller, verdict),
            Done::Replies(replies) => {
                replies.into_iter().for_each(|reply| self.reply(server, reply));
            }
            Done::Confirmed(asked, gone, missed) => self.confirmed(server, asked, gone, missed),
            Done::Parcels(Some(batch), parcels) => {
                for delivery in batch {
                    self.parcel(server, delivery.conn, delivery.parcel);
                }
                self.await_parcels(server, parcels);
            }
            Done::Parcels(None, _) => self.resubscribe(server),
            Done::Subscribed(parcels) => {
                self.await_parcels(server, parcels);
                self.confirm_links(self.life(server), true);
            }
            Done::BackgroundEnded => self.background_ended(server),
            Done::Moved(..) | Done::Heads(_) | Done::Timelines(_) => {}
        }
    }

    fn started(&mut self, server: usize, logic: Arc<Logic>, background: Background, parcels: Subscription) {
        self.kernel.note("server runs", num(server), u64::from(logic.node().0));
        for future in background {
            self.executor.spawn(Owner::Server(server), future.map(|()| Done::BackgroundEnded).boxed());
        }
        self.await_parcels(server, parcels);
        self.servers[server].running = Some(Running {
            logic,
            turn: Turn::default(),
            turn_comes: false,
            drains: false,
            conns: BTreeMap::new(),
            logins: BTreeMap::new(),
            rooms: BTreeMap::new(),
        });
        self.check_evicted_later(server);
    }

    fn await_parcels(&mut self, server: usize, mut parcels: Subscription) {
        let next = async move {
            let batch = parcels.next().await;
            Done::Parcels(batch, parcels)
        };
        self.executor.spawn(Owner::Server(server), next.boxed());
    }

    fn resubscribe(&mut self, server: usize) {
        let Some(running) = &self.servers[server].running else { return };
        let (logic, kernel) = (running.logic.clone(), self.kernel.clone());
        let subscribed = async move {
            loop {
                kernel.sleep(RETRY).await;
                if let Ok(parcels) = logic.ports().bus.subscribe(logic.node()).await {
                    return Done::Subscribed(parcels);
                }
            }
        };
        self.executor.spawn(Owner::Server(server), subscribed.boxed());
    }

    fn parcel(&mut self, server: usize, conn: ConnId, parcel: Parcel) {
        if let Parcel::Room(room, push) = parcel {
            return self.broadcast(server, conn, &room, &push);
        }
        let Some(running) = &self.servers[server].running else { return };
        let Some(link) = running.conns.get(&conn).copied() else { return };
        let input = match parcel {
            Parcel::Push(push) => Input::Push(push),
            Parcel::Kick { reason, retry_after } => Input::Kick { reason, retry_after },
            Parcel::Room(..) => return,
        };
        self.input(link, input);
    }

    /// To all of a server's links in a room but the one that it is from.
    fn broadcast(&mut self, server: usize, from: ConnId, room: &RoomId, push: &Push) {
        let Some(running) = &self.servers[server].running else { return };
        let members = running.rooms.get(room).into_iter().flatten().filter(|conn| **conn != from);
        for conn in members.copied().collect::<Vec<_>>() {
            self.parcel(server, conn, Parcel::Push(push.clone()));
        }
    }

    /// A verdict for a link that is gone: its route has to go too.
    fn verdict(&mut self, server: usize, caller: Arc<Caller>, verdict: Verdict) {
        let Some(running) = &mut self.servers[server].running else { return };
        running.logins.remove(&caller.conn);
        if let Some(link) = running.conns.get(&caller.conn).copied() {
            self.input(link, Input::Verdict(verdict));
        } else if let Verdict::Granted(_) = verdict {
            self.kernel.count(|counts| counts.verdicts_too_late += 1);
            running.turn.leaves.push(caller);
            self.turn_soon(server);
        }
    }

    pub(super) fn turn_soon(&mut self, server: usize) {
        let life = self.life(server);
        let Some(running) = &mut self.servers[server].running else { return };
        if !running.turn_comes && !running.turn.is_empty() {
            running.turn_comes = true;
            let takes = self.kernel.dice(|dice| dice.micros(10, 2_000));
            self.kernel.after(takes, Event::Turn(life));
        }
    }

    pub(super) fn turn(&mut self, life: ServerLife) {
        let Some(running) = self.running(life) else { return };
        running.turn_comes = false;
        let turn = std::mem::take(&mut running.turn);
        let requests = num(turn.requests.len());
        let futures = running.logic.serve(turn);
        self.kernel.note("turn", num(life.server), requests);
        for future in futures {
            self.executor.spawn(Owner::Server(life.server), future.map(Done::Replies).boxed());
        }
    }

    fn check_evicted_later(&mut self, server: usize) {
        let pause = self.kernel.dice(|dice| dice.millis(1_000, 3_000));
        let life = self.life(server);
        self.kernel.after(pause, Event::CheckEvicted(life));
    }

    pub(super) fn check_evicted(&mut self, life: ServerLife) {
        self.confirm_links(life, false);
        self.check_evicted_later(life.server);
    }

    /// Confirms the links of a server; after a loss it also looks for what they may have missed.
    fn confirm_links(&mut self, life: ServerLife, recovers: bool) {
        let links = self.links.values().filter(|link| link.at == life && link.open_at_server);
        let sessions = links.map(|link| &link.session);
        let logins =
            sessions.filter_map(|session| Some((session.route()?, session.caller()?, session.told()?)));
        let (mut routes, mut asked, mut told) = (Vec::new(), Vec::new(), Vec::new());
        for (route, caller, version) in logins {
            routes.push(route);
            asked.push(caller.clone());
            told.push((caller.clone(), version));
        }
        let kernel = self.kernel.clone();
        let Some(running) = self.running(life) else { return };
        let logic = running.logic.clone();
        let found = async move {
            let gone = logic.confirm(routes).await.unwrap_or_default();
            let missed = if recovers { missed(&logic, &kernel, &told).await } else { Vec::new() };
            Done::Confirmed(asked, gone, missed)
        };
        self.executor.spawn(Owner::Server(life.server), found.boxed());
    }

    /// What ended while the router was told of it has to go there, too.
    fn confirmed(
        &mut self,
        server: usize,
        asked: Vec<Arc<Caller>>,
        gone: Vec<ConnId>,
        missed: Vec<(ConnId, Push)>,
    ) {
        for (conn, push) in missed {
            self.kernel.count(|counts| counts.links_hinted += 1);
            self.parcel(server, conn, Parcel::Push(push));
        }
        for conn in gone {
            self.kernel.count(|counts| counts.evictions_found_late += 1);
            self.parcel(server, conn, kicked_out());
        }
        let Some(running) = &mut self.servers[server].running else { return };
        let left: Vec<_> =
            asked.into_iter().filter(|caller| !running.conns.contains_key(&caller.conn)).collect();
        self.kernel.count(|counts| counts.confirmed_too_late += num(left.len()));
        running.turn.leaves.extend(left);
        self.turn_soon(server);
    }
}

/// What links may have missed, asked for until there is an answer.
async fn missed(
    logic: &Arc<Logic>,
    kernel: &Arc<Kernel>,
    told: &[(Arc<Caller>, Version)],
) -> Vec<(ConnId, Push)> {
    loop {
        match logic.missed(told.to_vec()).await {
            Ok(missed) => return missed,
            Err(_) => kernel.sleep(RETRY).await,
        }
    }
}

fn kicked_out() -> Parcel {
    Parcel::Kick { reason: KickReason::LoggedInElsewhere, retry_after: None }
}
