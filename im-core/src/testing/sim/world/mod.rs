//! The simulated world: servers, links, devices, and what goes wrong with them.
//!
//! | file | what |
//! |---|---|
//! | `server` | processes that run [`Logic`] and die; the gate's turns |
//! | `gate` | sessions, fed as a gate feeds them |
//! | `link` | two pipes that delay, stall and break |
//! | `device` | [`Client`](crate::client::Client) machines over local stores that survive them |
//! | `movers` | the tool that moves buckets between databases |
//! | `rooms` | live chat: what devices say and hear there |
//! | `disk` | what those local stores keep, and when |
//! | `hostile` | clients that follow no protocol |
//! | `watch` | reads along what servers write |
//! | `chaos` | the workload and the faults |
//! | `restore` | the store goes back to an earlier state |
//! | `healing` | the end: everything comes to rest and is compared |

mod chaos;
mod device;
mod disk;
mod gate;
mod healing;
mod hostile;
mod link;
mod movers;
mod restore;
mod rooms;
mod server;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::device::Device;
use self::healing::Healing;
use self::hostile::Hostile;
use self::link::Link;
use self::movers::Mover;
use self::server::{Done, Owner, Server};
use super::backing::{Access, Disks, Over};
use super::counts::Counts;
use super::event::{End, Event, LinkId};
use super::executor::Executor;
use super::history::Seen;
use super::invariants::{self, Invariant};
use super::kernel::{Kernel, Log};
use super::mutants::Setup;
use super::outside::{SimBus, SimRoutes};
use super::scenario::Scenario;
use crate::id::{ClientMsgId, MsgId, Uid};
use crate::session::SessionLimits;

/// More events than any seed needs: a world that passes this spins without the time moving on.
const MOST_STEPS: u64 = 3_000_000;

/// See the [module](self).
pub(super) struct World {
    kernel: Arc<Kernel>,
    scenario: Scenario,
    executor: Executor<Owner, Done>,
    /// The store as it is, to be crashed.
    disks: Arc<dyn Disks>,
    /// The store as the processes see it.
    access: Access,
    routes: Arc<SimRoutes>,
    bus: Arc<SimBus>,
    limits: Arc<SessionLimits>,
    servers: Vec<Server>,
    movers: Vec<Mover>,
    links: BTreeMap<LinkId, Link>,
    last_link: u64,
    users: Vec<Uid>,
    devices: Vec<Device>,
    hostiles: Vec<Hostile>,
    setup: Setup,
    /// Messages that are still to be handed in.
    to_send: u64,
    /// Acks that were lost on the way to a device.
    lost_acks: BTreeSet<(usize, MsgId)>,
    /// Sends whose message a restore took back.
    lost_sends: BTreeSet<(Uid, ClientMsgId)>,
    invariants: Vec<Box<dyn Invariant>>,
    broken: Option<(&'static str, String)>,
    healing: Healing,
}

/// How a world ended.
pub(super) struct Ended {
    pub(super) counts: Counts,
    pub(super) trace: u64,
    pub(super) broken: Option<(&'static str, String)>,
}

impl World {
    pub(super) fn new(seed: u64, over: &Over, setup: Setup, log: Option<Log>) -> Self {
        let kernel = Kernel::new(seed, log);
        let scenario = kernel.dice(Scenario::draw);
        kernel.log(|| format!("{scenario:?}"));
        let (disks, access) = over.make(&kernel, &scenario, &setup);
        let mut limits =
            SessionLimits { requests_in_flight: scenario.requests_in_flight, ..SessionLimits::default() };
        limits.heartbeat_grace = std::time::Duration::from_secs(2);
        limits.auth_deadline = std::time::Duration::from_secs(8);
        limits.kick_grace = std::time::Duration::from_secs(1);
        let mut world = Self {
            executor: Executor::new(),
            disks,
            access,
            routes: Arc::new(SimRoutes::new(kernel.clone())),
            bus: SimBus::new(kernel.clone(), scenario.bus),
            limits: Arc::new(limits),
            servers: Vec::new(),
            movers: Vec::new(),
            links: BTreeMap::new(),
            last_link: 0,
            users: Vec::new(),
            devices: Vec::new(),
            hostiles: Vec::new(),
            setup,
            to_send: scenario.messages,
            lost_acks: BTreeSet::new(),
            lost_sends: BTreeSet::new(),
            invariants: invariants::all(),
            broken: None,
            healing: Healing::default(),
            scenario,
            kernel,
        };
        world.populate();
        world
    }

    /// Runs until everything came to rest and was compared, or something broke.
    pub(super) fn run(mut self) -> Ended {
        let mut steps = 0;
        while self.broken.is_none() && !self.healing.is_over() {
            steps += 1;
            if steps > MOST_STEPS {
                self.fail("rest", "the world spins".to_owned());
            } else if let Some(done) = self.step() {
                if let Some((owner, done)) = done {
                    self.done(owner, done);
                }
            } else if let Some(event) = self.kernel.next() {
                self.handle(event);
            } else {
                self.fail("rest", "nothing is left to happen".to_owned());
            }
        }
        self.over()
    }

    fn step(&mut self) -> Option<Option<(Owner, Done)>> {
        let servers = &self.servers;
        self.executor.step(&self.kernel, |owner| match owner {
            Owner::Server(server) => servers[server].paused_until.is_none(),
            Owner::Mover(_) | Owner::Auditor => true,
        })
    }

    fn over(mut self) -> Ended {
        let broken = self.broken.take();
        self.executor.clear();
        self.kernel.clear();
        Ended { counts: self.kernel.counts(), trace: self.kernel.trace(), broken }
    }

    fn handle(&mut self, event: Event) {
        if let Some(later) = self.paused(&event) {
            self.kernel.at(later, event);
            return;
        }
        if matches!(event, Event::Store(_) | Event::Fault | Event::Settle | Event::StartMover(_)) {
            self.check_disks();
        }
        match event {
            Event::Wake(waker) => waker.wake(),
            Event::Store(event) => self.disks.handle(event),
            Event::Parcels(batch, number) => self.bus.deliver(batch, number),
            Event::StartServer(server) => self.start_server(server),
            Event::Resume(life) => self.resume_server(life),
            Event::EndServer(life) => self.end_server(life),
            Event::CrashServer(life) if self.life(life.server) == life => self.crash_server(life.server),
            Event::CrashServer(_) => {}
            Event::Turn(life) => self.turn(life),
            Event::CheckEvicted(life) => self.check_evicted(life),
            Event::Arrives(link, End::Server, segment) => self.arrives_at_server(link, segment),
            Event::Arrives(link, End::Client, segment) => self.arrives_at_client(link, segment),
            Event::Breaks(link, end) => self.breaks(link, end),
            Event::SessionTimer(link) => self.session_timer(link),
            Event::ReadAgain(link) => self.pump(link),
            Event::StartDevice(device) => self.start_device(device),
            Event::Connects(life, reached) => self.connects(life, reached),
            Event::ClientTimer(life) => self.client_timer(life),
            Event::DiskWrite(life) => self.disk_write(life),
            Event::Burst => self.burst(),
            Event::StartMover(mover) => self.start_mover(mover),
            Event::CrashMover(life) => self.crash_mover(life),
            Event::Backup => self.back_up(),
            Event::Restore => self.restore(),
            Event::Hostile(hostile) => self.hostile_acts(hostile),
            Event::Fault => self.fault(),
            Event::Heal => self.heal(),
            Event::Settle => self.settle(),
        }
    }

    fn check_disks(&mut self) {
        if let Some(what) = self.disks.broken() {
            self.fail("one_database", what);
        }
    }

    /// Tells all invariants what happened.
    fn see(&mut self, seen: &Seen<'_>) {
        if self.broken.is_some() {
            return;
        }
        for invariant in &mut self.invariants {
            if let Err(what) = invariant.see(seen) {
                self.broken = Some((invariant.name(), what));
                return;
            }
        }
    }

    fn fail(&mut self, invariant: &'static str, what: String) {
        self.broken.get_or_insert((invariant, what));
    }
}

fn num(index: usize) -> u64 {
    u64::try_from(index).unwrap_or(u64::MAX)
}
