use std::collections::VecDeque;
use std::time::Duration;

use im_proto::{CmdId, Seq};
use serde_json::json;

use super::{Scenario, join, login};
use crate::check::OrderCheck;
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
use crate::wire::{self, Frame, Stamp, Template, unexpected};

/// One sender, and many who receive what it sends.
pub(crate) struct FanOut {
    pub(crate) members: u32,
    /// Messages that not every member has, without a rate.
    pub(crate) window: u32,
    /// Messages a second; as fast as the members have them if `None`.
    pub(crate) rate: Option<f64>,
    pub(crate) size: usize,
    /// Messages that are sent before, as fast as the members have them, and are not measured.
    pub(crate) flood: u64,
    /// Bytes a second that the last member reads, of whom nothing is expected then; what there is if `None`.
    pub(crate) slow: Option<u32>,
    pub(crate) times: Times,
}

/// What a member has not got so long after the last message is lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// Messages of the flood that not every member has.
const FLOOD_WINDOW: u32 = 64;

/// How many times a second the slow member reads.
const SIPS: u32 = 10;

impl Scenario for FanOut {
    fn name(&self) -> &'static str {
        "fanout"
    }

    fn floor(&self) -> Floor {
        Floor::Broadcast
    }

    fn params(&self) -> serde_json::Value {
        let Times { warmup, measure } = self.times;
        json!({
            "members": self.members, "window": self.window, "rate": self.rate, "size": self.size,
            "warmup": warmup.as_secs_f64(), "seconds": measure.as_secs_f64(),
        })
    }

    fn run(&self, target: &Target) -> Result<Outcome, Fault> {
        let mut net = Net::new(Clock::start())?;
        let links = self.log_in(&mut net, target)?;
        join::join(&mut net, target, &links)?;
        if let (Some(_), Some(link)) = (self.slow, links.last()) {
            net.pause(*link);
        }
        let template = Template::for_room(target.dialect, join::ROOM, self.size);
        let mut round = Round::new(self, target, &links, template);
        net.run(&mut round)?;
        Ok(round.outcome(self, target))
    }
}

impl FanOut {
    /// The sender's link, and the members'.
    fn log_in(&self, net: &mut Net, target: &Target) -> Result<Vec<LinkId>, Fault> {
        let mut sessions = login::log_in_gently(net, target, self.members)?;
        net.narrow(self.slow.is_some());
        let last = login::frames_of(target, std::iter::once(self.members), "load")?;
        sessions.extend(login::log_in(net, target, &last, login::GENTLY)?.sessions);
        Ok(sessions.iter().map(|session| session.link).collect())
    }
}

/// The member who reads slowly.
struct Slow {
    link: LinkId,
    /// At a time.
    bytes: usize,
    next: Nanos,
}

struct Round<'a> {
    target: &'a Target,
    sender: LinkId,
    template: Template,
    /// By link.
    checks: Vec<OrderCheck>,
    /// Of whom something is expected.
    members: u32,
    per_sender: u32,
    rate: Option<f64>,
    schedule: Option<Schedule>,
    flood: u64,
    slow: Option<Slow>,
    cut: u64,
    /// Messages from number `complete` on that some members wait for: when each was due, and how many they are.
    waiting: VecDeque<(Nanos, u32)>,
    complete: u64,
    sent: u64,
    counted: u64,
    delivered: u64,
    window: Window,
    started: bool,
    /// When a message last arrived.
    last: Nanos,
    drained_by: Nanos,
    latency: Latencies,
    progress: Progress,
}

impl<'a> Round<'a> {
    fn new(fan_out: &FanOut, target: &'a Target, links: &[LinkId], template: Template) -> Self {
        let most = links.iter().max().map_or(0, |most| most + 1);
        let slow = fan_out.slow.zip(links.last()).map(|(bytes, link)| Slow {
            link: *link,
            bytes: usize::try_from(bytes / SIPS).unwrap_or(usize::MAX),
            next: Nanos(0),
        });
        Round {
            target,
            sender: links.first().copied().unwrap_or_default(),
            template,
            checks: std::iter::repeat_with(OrderCheck::default).take(most).collect(),
            members: fan_out.members - u32::from(slow.is_some()),
            per_sender: fan_out.window,
            rate: fan_out.rate,
            schedule: None,
            flood: fan_out.flood,
            slow,
            cut: 0,
            waiting: VecDeque::new(),
            complete: 0,
            sent: 0,
            counted: 0,
            delivered: 0,
            window: Window::new(fan_out.times, Meter::new(target.pid)),
            started: false,
            last: Nanos(0),
            drained_by: Nanos(u64::MAX),
            latency: Latencies::new(),
            progress: Progress::new(target.label.clone()),
        }
    }

    /// Begins with the flood, or with what is measured if there is none.
    fn start(&mut self, net: &mut Net, now: Nanos) {
        self.last = now;
        if self.flood == 0 {
            return self.start_measured(net, now);
        }
        for _ in 0..self.flood.min(FLOOD_WINDOW.into()) {
            self.send(net, now);
        }
    }

    fn start_measured(&mut self, net: &mut Net, now: Nanos) {
        if let Some(rate) = self.rate {
            self.schedule = Some(Schedule::new(now, rate));
            return;
        }
        for _ in 0..self.per_sender {
            self.send(net, now);
        }
    }

    fn is_flooding(&self) -> bool {
        self.complete < self.flood
    }

    fn send(&mut self, net: &mut Net, due: Nanos) {
        let Some(out) = net.out(self.sender) else { return };
        let stamp = Stamp { target: wire::Target(0), stream: 0, number: self.sent, due };
        let seq = Seq(3 + u32::try_from(self.sent & 0x3FFF_FFFF).expect("30 bits"));
        self.template.put(out, seq, &stamp);
        self.sent += 1;
        self.counted += u64::from(self.window.counts(due));
        self.waiting.push_back((due, self.members));
    }

    fn arrived(&mut self, net: &mut Net, link: LinkId, frame: Frame<'_>, now: Nanos) -> Result<(), Fault> {
        let content = self.target.dialect.said(&frame)?;
        let stamp = Stamp::read(content).ok_or_else(|| unexpected(&frame))?;
        if !self.checks[link].arrived(stamp.number) {
            return Ok(());
        }
        self.last = now;
        self.window.delivered(now);
        self.delivered += u64::from(self.window.is_measuring());
        if self.window.counts(stamp.due) {
            self.latency.record(now.since(stamp.due));
        }
        let at = stamp.number.checked_sub(self.complete).and_then(|at| usize::try_from(at).ok());
        let (_, left) = at.and_then(|at| self.waiting.get_mut(at)).ok_or_else(|| unexpected(&frame))?;
        *left = left.saturating_sub(1);
        while let Some((_, 0)) = self.waiting.front() {
            self.waiting.pop_front();
            self.complete += 1;
            self.completed_one(net, now);
        }
        Ok(())
    }

    /// All members have one more message: the next one may go.
    fn completed_one(&mut self, net: &mut Net, now: Nanos) {
        if self.complete == self.flood {
            self.start_measured(net, now);
        } else if self.sent < self.flood
            || (!self.is_flooding() && self.rate.is_none() && self.window.is_open())
        {
            self.send(net, now);
        }
    }

    fn send_due(&mut self, net: &mut Net, now: Nanos) {
        while let Some((_, due)) = self.schedule.as_mut().and_then(|schedule| schedule.take(now)) {
            self.send(net, due);
        }
    }

    /// Lets the slow member read a little, if it is time.
    fn sip(&mut self, net: &mut Net, now: Nanos) -> Result<(), Fault> {
        let Some(slow) = self.slow.as_mut().filter(|slow| slow.bytes > 0 && slow.next <= now) else {
            return Ok(());
        };
        slow.next = now.plus(Duration::from_secs(1) / SIPS);
        let (link, bytes) = (slow.link, slow.bytes);
        net.sip(link, bytes, self)
    }

    fn outcome(self, fan_out: &FanOut, target: &Target) -> Outcome {
        let sum = |of: &dyn Fn(&OrderCheck) -> u64| self.checks.iter().map(of).sum();
        let (usage, slices) = self.window.finish();
        Outcome {
            sent: self.counted,
            delivered: self.delivered,
            offered: self.rate.map(|rate| rate * fan_out.times.measure.as_secs_f64()),
            usage,
            slices,
            rss_peak: target.pid.and_then(Pid::resident_peak),
            latency: Some(self.latency),
            lost: self.waiting.iter().map(|(_, left)| u64::from(*left)).sum(),
            duplicated: sum(&|check| check.duplicated),
            reordered: sum(&|check| check.reordered),
            cut: self.cut,
            ..Outcome::default()
        }
    }
}

impl Script for Round<'_> {
    fn frame(&mut self, net: &mut Net, link: LinkId, frame: Frame<'_>, now: Nanos) -> Result<(), Fault> {
        match frame.cmd {
            CmdId::ROOM_PUSH if link != self.sender => self.arrived(net, link, frame, now),
            CmdId::ROOM_SEND if link == self.sender => self.target.dialect.answered(&frame, "a message"),
            _ => Err(unexpected(&frame)),
        }
    }

    fn closed(&mut self, _: &mut Net, link: LinkId, why: &str) -> Result<(), Fault> {
        if self.slow.as_ref().is_some_and(|slow| slow.link == link) {
            self.progress.note(&format!("the slow member's link ended: {why}"));
            self.cut += 1;
            return Ok(());
        }
        Err(Fault::Product(format!("a link ended: {why}")))
    }

    fn turn(&mut self, net: &mut Net, now: Nanos) -> Result<Wake, Fault> {
        if !std::mem::replace(&mut self.started, true) {
            self.start(net, now);
        }
        self.sip(net, now)?;
        let soon = Wake::At(now.plus(Duration::from_millis(50)));
        if self.is_flooding() {
            self.progress.tick(now, || format!("{} of {} messages before", self.complete, self.flood));
            return Ok(if now.since(self.last) > PATIENCE { Wake::Done } else { soon });
        }
        if self.window.advance(now) == Some(Change::Draining) {
            self.drained_by = now.plus(PATIENCE);
        }
        self.progress.tick(now, || format!("{} delivered", self.delivered));
        if self.window.is_open() {
            self.send_due(net, now);
            // A loader that sleeps between two deliveries is woken by the server, which costs it a third of a delivery more on one machine, and
            // only if it is slow enough for the loader to fall asleep.
            let Some(schedule) = self.schedule else { return Ok(Wake::At(now)) };
            let next = schedule.next().min(self.window.next(now));
            return Ok(Wake::At(self.slow.as_ref().map_or(next, |slow| slow.wakes().min(next))));
        }
        let over = self.waiting.is_empty() || now >= self.drained_by;
        Ok(if over { Wake::Done } else { soon })
    }
}

impl Slow {
    /// When it reads again.
    fn wakes(&self) -> Nanos {
        if self.bytes > 0 { self.next } else { Nanos(u64::MAX) }
    }
}
