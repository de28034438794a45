use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures::{FutureExt, StreamExt};

use super::{World, num};
use crate::delivery::DeliveryLimits;
use crate::id::{ConnId, DeviceId, DeviceType, RoomId, Uid};
use crate::logic::{Background, Logic, Policy, Ports, Turn};
use crate::message::Entry;
use crate::ports::OpenRooms;
use crate::router::{Delivery, Parcel, Subscription};
use crate::session::{Caller, Input, KickReason, Push, Reply, Verdict};
use crate::storage::Head;
use crate::testing::sim::event::{End, Event, LinkId, ServerLife};
use crate::testing::sim::outside::{SimAuthenticator, SimClock, SimWakeUp};
use crate::testing::sim::sharding::Moved;
use crate::time::Tick;

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
    /// What the router says of these logins.
    Confirmed(Vec<Arc<Caller>>, Vec<ConnId>),
    Parcels(Option<Vec<Delivery>>, Subscription),
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
        let deadline = std::time::Duration::from_secs(2);
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
        running.logic.stop();
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
            Done::Confirmed(asked, gone) => self.confirmed(server, asked, gone),
            Done::Parcels(batch, parcels) => {
                for delivery in batch.into_iter().flatten() {
                    self.parcel(server, delivery.conn, delivery.parcel);
                }
                self.await_parcels(server, parcels);
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
            if batch.is_none() {
                // Another life of this server subscribed.
                futures::future::pending::<()>().await;
            }
            Done::Parcels(batch, parcels)
        };
        self.executor.spawn(Owner::Server(server), next.boxed());
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
        let links = self.links.values().filter(|link| link.at == life && link.open_at_server);
        let sessions = links.map(|link| &link.session);
        let (routes, asked) =
            sessions.filter_map(|session| Some((session.route()?, session.caller()?.clone()))).unzip();
        let Some(running) = self.running(life) else { return };
        let gone = running.logic.confirm(routes);
        let found = gone.map(|gone| Done::Confirmed(asked, gone.unwrap_or_default()));
        self.executor.spawn(Owner::Server(life.server), found.boxed());
        self.check_evicted_later(life.server);
    }

    /// What ended while the router was told of it has to go there, too.
    fn confirmed(&mut self, server: usize, asked: Vec<Arc<Caller>>, gone: Vec<ConnId>) {
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

fn kicked_out() -> Parcel {
    Parcel::Kick { reason: KickReason::LoggedInElsewhere, retry_after: None }
}
