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
use crate::proc::Pid;
use crate::progress::Progress;
use crate::target::{Floor, Target};
use crate::window::{Change, Times, Window};
use crate::wire::{self, Frame, Stamp, Template, unexpected};

/// One sender, and many who receive what it sends.
pub(crate) struct FanOut {
    pub(crate) members: u32,
    /// Messages that not every member has.
    pub(crate) window: u32,
    pub(crate) size: usize,
    pub(crate) times: Times,
}

/// What a member has not got so long after the last message is lost.
const PATIENCE: Duration = Duration::from_secs(5);

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
            "members": self.members, "window": self.window, "size": self.size,
            "warmup": warmup.as_secs_f64(), "seconds": measure.as_secs_f64(),
        })
    }

    fn run(&self, target: &Target) -> Result<Outcome, Fault> {
        let mut net = Net::new(Clock::start())?;
        let sessions = login::log_in_gently(&mut net, target, self.members + 1)?;
        let links: Vec<LinkId> = sessions.iter().map(|session| session.link).collect();
        join::join(&mut net, target, &links)?;
        let template = Template::for_room(target.dialect, join::ROOM, self.size);
        let mut round = Round::new(self, target, links, template);
        net.run(&mut round)?;
        Ok(round.outcome(target))
    }
}

struct Round<'a> {
    target: &'a Target,
    sender: LinkId,
    template: Template,
    /// By link.
    checks: Vec<OrderCheck>,
    members: u32,
    per_sender: u32,
    /// Messages from number `complete` on that some members wait for: when each was due, and how many they are.
    waiting: VecDeque<(Nanos, u32)>,
    complete: u64,
    sent: u64,
    counted: u64,
    delivered: u64,
    window: Window,
    started: bool,
    drained_by: Nanos,
    latency: Latencies,
    progress: Progress,
}

impl<'a> Round<'a> {
    fn new(fan_out: &FanOut, target: &'a Target, links: Vec<LinkId>, template: Template) -> Self {
        let most = links.iter().max().map_or(0, |most| most + 1);
        Round {
            target,
            sender: links.first().copied().unwrap_or_default(),
            template,
            checks: std::iter::repeat_with(OrderCheck::default).take(most).collect(),
            members: fan_out.members,
            per_sender: fan_out.window,
            waiting: VecDeque::new(),
            complete: 0,
            sent: 0,
            counted: 0,
            delivered: 0,
            window: Window::new(fan_out.times, Meter::new(target.pid)),
            started: false,
            drained_by: Nanos(u64::MAX),
            latency: Latencies::new(),
            progress: Progress::new(target.label.clone()),
        }
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
            if self.window.is_open() {
                self.send(net, now);
            }
        }
        Ok(())
    }

    fn outcome(self, target: &Target) -> Outcome {
        let sum = |of: &dyn Fn(&OrderCheck) -> u64| self.checks.iter().map(of).sum();
        let (usage, slices) = self.window.finish();
        Outcome {
            sent: self.counted,
            delivered: self.delivered,
            usage,
            slices,
            rss_peak: target.pid.and_then(Pid::resident_peak),
            latency: Some(self.latency),
            lost: self.waiting.iter().map(|(_, left)| u64::from(*left)).sum(),
            duplicated: sum(&|check| check.duplicated),
            reordered: sum(&|check| check.reordered),
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

    fn closed(&mut self, _: &mut Net, _: LinkId, why: &str) -> Result<(), Fault> {
        Err(Fault::Product(format!("a link ended: {why}")))
    }

    fn turn(&mut self, net: &mut Net, now: Nanos) -> Result<Wake, Fault> {
        if !std::mem::replace(&mut self.started, true) {
            for _ in 0..self.per_sender {
                self.send(net, now);
            }
        }
        if self.window.advance(now) == Some(Change::Draining) {
            self.drained_by = now.plus(PATIENCE);
        }
        self.progress.tick(now, || format!("{} delivered", self.delivered));
        if self.window.is_open() {
            return Ok(Wake::At(self.window.next(now)));
        }
        let over = self.waiting.is_empty() || now >= self.drained_by;
        Ok(if over { Wake::Done } else { Wake::At(now.plus(Duration::from_millis(50))) })
    }
}
