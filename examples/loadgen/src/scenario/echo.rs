use std::collections::VecDeque;
use std::time::Duration;

use im_proto::{CmdId, Seq};
use serde_json::json;

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
use crate::window::{Times, Window};
use crate::wire::{Frame, put, unexpected};

/// Keep-alives and their echoes.
pub(crate) struct Echo {
    pub(crate) links: u32,
    /// Noops in flight on each link, without a rate.
    pub(crate) window: u32,
    /// Noops a second over all links; as fast as they are answered if `None`.
    pub(crate) rate: Option<f64>,
    pub(crate) times: Times,
}

/// Echoes that have not come so long after the last noop do not come.
const PATIENCE: Duration = Duration::from_secs(5);

impl Scenario for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn floor(&self) -> Floor {
        Floor::Echo
    }

    fn params(&self) -> serde_json::Value {
        let Times { warmup, measure } = self.times;
        json!({
            "links": self.links, "window": self.window, "rate": self.rate,
            "warmup": warmup.as_secs_f64(), "seconds": measure.as_secs_f64(),
        })
    }

    fn run(&self, target: &Target) -> Result<Outcome, Fault> {
        let mut net = Net::new(Clock::start())?;
        let sessions = login::log_in_gently(&mut net, target, self.links)?;
        let mut round = Round::new(self, target, sessions.iter().map(|session| session.link).collect());
        net.run(&mut round)?;
        let in_flight: usize = round.in_flight.iter().map(VecDeque::len).sum();
        let (usage, slices) = round.window.finish();
        Ok(Outcome {
            sent: round.sent,
            delivered: round.echoed,
            offered: self.rate.map(|rate| rate * self.times.measure.as_secs_f64()),
            usage,
            slices,
            rss_peak: target.pid.and_then(Pid::resident_peak),
            latency: Some(round.latency),
            lost: u64::try_from(in_flight).unwrap_or(u64::MAX),
            ..Outcome::default()
        })
    }
}

struct Round {
    links: Vec<LinkId>,
    /// When the noops that are not echoed were due, by link.
    in_flight: Vec<VecDeque<Nanos>>,
    per_link: u32,
    rate: Option<f64>,
    schedule: Option<Schedule>,
    window: Window,
    started: bool,
    sent: u64,
    echoed: u64,
    drained_by: Nanos,
    latency: Latencies,
    progress: Progress,
}

impl Round {
    fn new(echo: &Echo, target: &Target, links: Vec<LinkId>) -> Self {
        let most = links.iter().max().map_or(0, |most| most + 1);
        Round {
            links,
            in_flight: vec![VecDeque::new(); most],
            per_link: echo.window,
            rate: echo.rate,
            schedule: None,
            window: Window::new(echo.times, Meter::new(target.pid)),
            started: false,
            sent: 0,
            echoed: 0,
            drained_by: Nanos(u64::MAX),
            latency: Latencies::new(),
            progress: Progress::new(target.label.clone()),
        }
    }

    fn send(&mut self, net: &mut Net, link: LinkId, due: Nanos) {
        if let Some(out) = net.out(link) {
            put(out, CmdId::NOOP, Seq::NOOP, &[]);
            self.in_flight[link].push_back(due);
            self.sent += u64::from(self.window.counts(due));
        }
    }

    fn start(&mut self, net: &mut Net, now: Nanos) {
        self.started = true;
        if let Some(rate) = self.rate {
            self.schedule = Some(Schedule::new(now, rate));
            return;
        }
        for at in 0..self.links.len() {
            for _ in 0..self.per_link {
                self.send(net, self.links[at], now);
            }
        }
    }

    fn send_due(&mut self, net: &mut Net, now: Nanos) {
        let all = self.links.len() as u64;
        while let Some((number, due)) = self.schedule.as_mut().and_then(|schedule| schedule.take(now)) {
            let at = usize::try_from(number % all).expect("below the number of links");
            self.send(net, self.links[at], due);
        }
    }
}

impl Script for Round {
    fn frame(&mut self, net: &mut Net, link: LinkId, frame: Frame<'_>, now: Nanos) -> Result<(), Fault> {
        let due = self.in_flight[link].pop_front();
        let Some(due) = due.filter(|_| frame.cmd == CmdId::NOOP && frame.seq == Seq::NOOP) else {
            return Err(unexpected(&frame));
        };
        self.window.delivered(now);
        self.echoed += u64::from(self.window.is_measuring());
        if self.window.counts(due) {
            self.latency.record(now.since(due));
        }
        if self.rate.is_none() && self.window.is_open() {
            self.send(net, link, now);
        }
        Ok(())
    }

    fn closed(&mut self, _: &mut Net, _: LinkId, why: &str) -> Result<(), Fault> {
        Err(Fault::Product(format!("a link ended: {why}")))
    }

    fn turn(&mut self, net: &mut Net, now: Nanos) -> Result<Wake, Fault> {
        if !self.started {
            self.start(net, now);
        }
        if self.window.advance(now) == Some(crate::window::Change::Draining) {
            self.drained_by = now.plus(PATIENCE);
        }
        self.progress.tick(now, || format!("{} echoes", self.echoed));
        if self.window.is_open() {
            self.send_due(net, now);
            let next = self.window.next(now);
            return Ok(Wake::At(self.schedule.map_or(next, |schedule| schedule.next().min(next))));
        }
        let drained = self.in_flight.iter().all(VecDeque::is_empty);
        Ok(if drained || now >= self.drained_by {
            Wake::Done
        } else {
            Wake::At(now.plus(Duration::from_millis(50)))
        })
    }
}
