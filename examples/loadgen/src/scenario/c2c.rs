use std::time::Duration;

use im_proto::CmdId;
use serde_json::json;

use super::pair::{Arrival, Pair};
use super::{Scenario, login};
use crate::clock::{Clock, Nanos};
use crate::fault::Fault;
use crate::latency::Latencies;
use crate::meter::Meter;
use crate::net::{LinkId, Net, Script, Wake};
use crate::outcome::Outcome;
use crate::pace::Schedule;
use crate::proc::Pid;
use crate::progress::Progress;
use crate::target::{Floor, Target};
use crate::window::{Change, Times, Window};
use crate::wire::{self, Dialect, Frame, Kept, Template, unexpected};

/// Pairs of users, of which one sends to the other.
#[derive(Clone)]
pub(crate) struct C2c {
    pub(crate) pairs: u32,
    /// Messages in flight, that is sent and not acked, of each sender, without a rate.
    pub(crate) window: u32,
    /// Messages a second over all pairs; as fast as they are acked if `None`.
    pub(crate) rate: Option<f64>,
    /// Bytes of a message's content.
    pub(crate) size: usize,
    /// The shortest time between two acks of one receiver.
    pub(crate) confirm_every: Duration,
    pub(crate) times: Times,
    /// Deliveries that end the round before its time is over.
    pub(crate) most: Option<u64>,
    /// How far apart the numbers of two users are who take part.
    pub(crate) stride: u32,
    /// Tells the messages of several runs on one server apart.
    pub(crate) series: u64,
    pub(crate) floor: Floor,
}

/// When nothing has arrived for so long, receivers ask for what they miss, and after the longer time it is lost. The server's own
/// reminder comes after 5 s.
const ASK: Duration = Duration::from_secs(1);
const LOST: Duration = Duration::from_secs(12);

impl Scenario for C2c {
    fn name(&self) -> &'static str {
        "c2c"
    }

    fn floor(&self) -> Floor {
        self.floor
    }

    fn params(&self) -> serde_json::Value {
        let Times { warmup, measure } = self.times;
        json!({
            "pairs": self.pairs, "window": self.window, "rate": self.rate, "size": self.size,
            "push_ack_ms": self.confirm_every.as_secs_f64() * 1e3,
            "warmup": warmup.as_secs_f64(), "seconds": measure.as_secs_f64(),
        })
    }

    fn run(&self, target: &Target) -> Result<Outcome, Fault> {
        let mut net = Net::new(Clock::start())?;
        let frames = login::frames_of(target, (0..self.pairs * 2).map(|user| user * self.stride), "load")?;
        let sessions = login::log_in(&mut net, target, &frames, login::GENTLY)?.sessions;
        let pairs = sessions.chunks_exact(2).zip(0..).map(|(users, stream)| {
            let receiver = (stream * 2 + 1) * self.stride;
            let (uid, salt) = (target.accounts.uid(receiver), target.accounts.salt() ^ self.series);
            let template = Template::new(target.dialect, &uid, self.size, salt);
            Pair::new(stream, users[0], users[1], wire::Target(receiver), template)
        });
        let mut round = Round::new(self, target, pairs.collect());
        net.run(&mut round)?;
        Ok(round.outcome(self, target))
    }
}

/// Whose link it is.
#[derive(Clone, Copy)]
enum Role {
    Sender(usize),
    Receiver(usize),
}

struct Round {
    dialect: Dialect,
    pairs: Vec<Pair>,
    roles: Vec<Option<Role>>,
    per_sender: u32,
    rate: Option<f64>,
    schedule: Option<Schedule>,
    confirm_every: Duration,
    confirm_at: Nanos,
    window: Window,
    started: bool,
    /// While measuring.
    sent: u64,
    delivered: u64,
    acked: u64,
    pulled: u64,
    /// When something last arrived while draining.
    last: Nanos,
    asked: bool,
    latency: Latencies,
    ack: Latencies,
    progress: Progress,
}

impl Round {
    fn new(c2c: &C2c, target: &Target, pairs: Vec<Pair>) -> Self {
        let links =
            pairs.iter().flat_map(|pair| [pair.sender, pair.receiver]).max().map_or(0, |most| most + 1);
        let mut roles = vec![None; links];
        for (at, pair) in pairs.iter().enumerate() {
            roles[pair.sender] = Some(Role::Sender(at));
            roles[pair.receiver] = Some(Role::Receiver(at));
        }
        Round {
            dialect: target.dialect,
            pairs,
            roles,
            per_sender: c2c.window,
            rate: c2c.rate,
            schedule: None,
            confirm_every: c2c.confirm_every,
            confirm_at: if target.dialect == Dialect::Im { Nanos(0) } else { Nanos(u64::MAX) },
            window: Window::new(c2c.times, Meter::new(target.pid)).at_most(c2c.most),
            started: false,
            sent: 0,
            delivered: 0,
            acked: 0,
            pulled: 0,
            last: Nanos(0),
            asked: false,
            latency: Latencies::new(),
            ack: Latencies::new(),
            progress: Progress::new(target.label.clone()),
        }
    }

    fn start(&mut self, net: &mut Net, now: Nanos) {
        self.started = true;
        if let Some(rate) = self.rate {
            self.schedule = Some(Schedule::new(now, rate));
            return;
        }
        for at in 0..self.pairs.len() {
            for _ in 0..self.per_sender {
                self.send(net, at, now);
            }
        }
    }

    fn send(&mut self, net: &mut Net, at: usize, due: Nanos) {
        self.pairs[at].send(net, due);
        self.sent += u64::from(self.window.counts(due));
    }

    fn send_due(&mut self, net: &mut Net, now: Nanos) {
        let all = self.pairs.len() as u64;
        while let Some((number, due)) = self.schedule.as_mut().and_then(|schedule| schedule.take(now)) {
            self.send(net, usize::try_from(number % all).expect("below the number of pairs"), due);
        }
    }

    fn on_sender(&mut self, net: &mut Net, at: usize, frame: Frame<'_>, now: Nanos) -> Result<(), Fault> {
        match frame.cmd {
            CmdId::C2C_SEND => self.on_ack(net, at, frame, now),
            // The server's word that the sender has not acknowledged something older.
            CmdId::C2C_PUSH if self.pairs[at].sender_knows(&self.dialect.pushed(&frame)?) => Ok(()),
            _ => Err(unexpected(&frame)),
        }
    }

    fn on_ack(&mut self, net: &mut Net, at: usize, frame: Frame<'_>, now: Nanos) -> Result<(), Fault> {
        let due = self.pairs[at].acked(frame.seq, self.dialect.ack(&frame)?)?;
        self.acked += u64::from(self.window.is_measuring());
        if self.window.counts(due) {
            self.ack.record(now.since(due));
        }
        if self.rate.is_none() && self.window.is_open() {
            self.send(net, at, now);
        }
        Ok(())
    }

    fn on_receiver(&mut self, net: &mut Net, at: usize, frame: Frame<'_>, now: Nanos) -> Result<(), Fault> {
        match frame.cmd {
            CmdId::C2C_PUSH => {
                let arrival = self.pairs[at].pushed(net, &self.dialect.pushed(&frame)?)?;
                self.arrived(arrival, now);
            }
            CmdId::PULL => {
                let dialect = self.dialect;
                let page = dialect.pulled(&frame, |kept: Kept<'_>| {
                    let arrival = self.pairs[at].pulled(&kept)?;
                    self.pulled += u64::from(matches!(arrival, Arrival::New(_)));
                    self.arrived(arrival, now);
                    Ok(())
                })?;
                self.pairs[at].page_ended(net, page.head);
            }
            _ => return Err(unexpected(&frame)),
        }
        Ok(())
    }

    fn arrived(&mut self, arrival: Arrival, now: Nanos) {
        let Arrival::New(due) = arrival else { return };
        self.window.delivered(now);
        self.delivered += u64::from(self.window.is_measuring());
        if self.window.counts(due) {
            self.latency.record(now.since(due));
        }
    }

    fn confirm(&mut self, net: &mut Net, now: Nanos) {
        if now >= self.confirm_at {
            self.confirm_at = now.plus(self.confirm_every);
            for pair in &mut self.pairs {
                pair.confirm(net);
            }
        }
    }

    /// Waits for what is under way, asks for what seems lost, and in the end gives up on it.
    fn drain(&mut self, net: &mut Net, now: Nanos) -> Wake {
        let settled = |pair: &Pair| (pair.all_acked() && !pair.misses_some()) || pair.has_lost_some();
        if self.pairs.iter().all(settled) || now.since(self.last) > LOST {
            return Wake::Done;
        }
        if self.dialect == Dialect::Im && !self.asked && now.since(self.last) > ASK {
            self.asked = true;
            for pair in self.pairs.iter_mut().filter(|pair| pair.misses_some()) {
                pair.pull(net);
            }
        }
        Wake::At(now.plus(Duration::from_millis(20)))
    }

    fn outcome(self, c2c: &C2c, target: &Target) -> Outcome {
        let sum = |of: &dyn Fn(&Pair) -> u64| self.pairs.iter().map(of).sum();
        let lost = sum(&|pair| pair.check.lost(pair.sent));
        let (duplicated, reordered) = (sum(&|pair| pair.check.duplicated), sum(&|pair| pair.check.reordered));
        let (usage, slices) = self.window.finish();
        Outcome {
            sent: self.sent,
            delivered: self.delivered,
            acked: self.acked,
            offered: c2c.rate.map(|rate| rate * c2c.times.measure.as_secs_f64()),
            usage,
            slices,
            rss_peak: target.pid.and_then(Pid::resident_peak),
            latency: Some(self.latency),
            ack: Some(self.ack),
            lost,
            duplicated,
            reordered,
            pulled: self.pulled,
            ..Outcome::default()
        }
    }
}

impl Script for Round {
    fn frame(&mut self, net: &mut Net, link: LinkId, frame: Frame<'_>, now: Nanos) -> Result<(), Fault> {
        self.last = now;
        match self.roles.get(link).copied().flatten() {
            Some(Role::Sender(at)) => self.on_sender(net, at, frame, now),
            Some(Role::Receiver(at)) => self.on_receiver(net, at, frame, now),
            None => Err(unexpected(&frame)),
        }
    }

    fn closed(&mut self, _: &mut Net, _: LinkId, why: &str) -> Result<(), Fault> {
        Err(Fault::Product(format!("a link ended: {why}")))
    }

    fn turn(&mut self, net: &mut Net, now: Nanos) -> Result<Wake, Fault> {
        if !self.started {
            self.start(net, now);
        }
        if self.window.advance(now) == Some(Change::Draining) {
            self.last = now;
        }
        self.progress.tick(now, || format!("{} delivered", self.delivered));
        self.confirm(net, now);
        if !self.window.is_open() {
            return Ok(self.drain(net, now));
        }
        self.send_due(net, now);
        let next = self.window.next(now).min(self.confirm_at.max(now));
        Ok(Wake::At(self.schedule.map_or(next, |schedule| schedule.next().min(next))))
    }
}
