use std::time::{Duration, Instant};

use serde_json::json;

use super::seed::SENDERS;
use super::{C2c, Scenario, Seed};
use crate::fault::Fault;
use crate::growth::Step;
use crate::meter::Usage;
use crate::outcome::Outcome;
use crate::proc::Pid;
use crate::progress::Progress;
use crate::target::{Floor, Target};
use crate::window::Times;
use crate::wire::Dialect;

/// One store that grows by tens, and what a message costs at each size.
pub(crate) struct Growth {
    /// Messages at the first size and at the last.
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// Stored messages for each user: users grow with messages.
    pub(crate) per_user: u64,
    /// Those who send and receive at each size, taken evenly from all users.
    pub(crate) pairs: u32,
    pub(crate) window: u32,
    /// Messages that are measured at each size, on top.
    pub(crate) measured: u64,
    pub(crate) size: usize,
    /// How long the server is left alone between storing and measuring: longer than it waits for receivers before it reminds them.
    pub(crate) settle: Duration,
}

/// A size by which the next one is larger.
const TIMES: u64 = 10;

/// A measurement of so many messages is over sooner.
const LONGEST: Duration = Duration::from_secs(60);

impl Scenario for Growth {
    fn name(&self) -> &'static str {
        "growth"
    }

    fn floor(&self) -> Floor {
        Floor::RelayLog
    }

    fn params(&self) -> serde_json::Value {
        json!({
            "min_messages": self.from, "max_messages": self.to, "per_user": self.per_user,
            "pairs": self.pairs_of_all(), "window": self.window, "measured": self.measured, "size": self.size,
        })
    }

    fn run(&self, target: &Target) -> Result<Outcome, Fault> {
        let progress = Progress::new(target.label.clone());
        let mut grown = Grown::default();
        let mut size = self.from;
        while size <= self.to {
            let step = self.step(target, size, &mut grown)?;
            progress.note(&summary(&step));
            grown.steps.push(step);
            size *= TIMES;
        }
        let rss_peak = target.pid.and_then(Pid::resident_peak);
        Ok(Outcome { rss_peak, growth: Some(grown.steps), ..grown.outcome })
    }
}

/// How far a store has grown.
#[derive(Default)]
struct Grown {
    users: u32,
    messages: u64,
    steps: Vec<Step>,
    /// The last measurement, with what all of them found wrong.
    outcome: Outcome,
}

impl Growth {
    fn step(&self, target: &Target, size: u64, grown: &mut Grown) -> Result<Step, Fault> {
        let fill = self.fill(size, grown.users);
        let filling = fill.run(target)?;
        grown.users += fill.users;
        grown.messages += fill.all();
        self.settle(target);
        let (rss, rss_anon) = (target.pid.and_then(Pid::resident), target.pid.and_then(Pid::resident_anon));
        let outcome = self.load(grown.users).run(target)?;
        let rss_bytes = rss.map(|bytes| bytes as f64);
        let step = Step {
            messages: grown.messages as f64,
            users: f64::from(grown.users),
            rss_bytes,
            rss_anon_bytes: rss_anon.map(|bytes| bytes as f64),
            rss_bytes_per_message: rss_bytes.map(|bytes| bytes / grown.messages as f64),
            fill_per_s: fill.all() as f64 / filling.seconds,
            fill_cpu_s_per_million: per_million(filling, fill.all()),
            ..measured(&outcome)
        };
        grown.messages += outcome.acked;
        grown.outcome = outcome.blamed_for(&grown.outcome);
        Ok(step)
    }

    /// New users with their messages, up to this size.
    fn fill(&self, size: u64, users: u32) -> Seed {
        let all = u32::try_from(size / self.per_user).unwrap_or(u32::MAX);
        let new = all.saturating_sub(users);
        Seed { first: users, users: new, messages: self.per_user, size: self.size, senders: self.senders() }
    }

    /// Beyond all receivers.
    fn senders(&self) -> u32 {
        u32::try_from(self.to / self.per_user).unwrap_or(u32::MAX - SENDERS)
    }

    /// Pairs that there are at the first size too.
    fn pairs_of_all(&self) -> u32 {
        let users = u32::try_from(self.from / self.per_user).unwrap_or(u32::MAX);
        self.pairs.min(users / 2).max(1)
    }

    fn load(&self, users: u32) -> C2c {
        let pairs = self.pairs_of_all();
        C2c {
            pairs,
            window: self.window,
            rate: None,
            size: self.size,
            confirm_every: Duration::from_millis(50),
            times: Times { warmup: Duration::ZERO, measure: LONGEST },
            most: Some(self.measured),
            stride: (users / (pairs * 2)).max(1),
            series: users.into(),
            floor: Floor::RelayLog,
        }
    }

    /// Leaves the server alone, and then waits until it does nothing. A floor does nothing by itself.
    fn settle(&self, target: &Target) {
        if target.dialect == Dialect::Floor {
            return;
        }
        let begin = Instant::now();
        std::thread::sleep(self.settle);
        let cpu = || target.pid.and_then(Pid::cpu_seconds).unwrap_or_default();
        let mut last = cpu();
        while begin.elapsed() < self.settle * 4 {
            std::thread::sleep(LOOK);
            let now = cpu();
            if now - last < LOOK.as_secs_f64() * IDLE {
                return;
            }
            last = now;
        }
    }
}

/// A server that uses less than this part of a core for so long does nothing.
const LOOK: Duration = Duration::from_millis(500);
const IDLE: f64 = 0.02;

fn measured(outcome: &Outcome) -> Step {
    Step {
        cpu_s_per_million: outcome.cpu_per_million(),
        per_s: outcome.per_s(),
        latency_p99_us: outcome.latency.as_ref().and_then(|of| of.quantiles()).map(|of| of.p99),
        ack_p99_us: outcome.ack.as_ref().and_then(|of| of.quantiles()).map(|of| of.p99),
        ..Step::default()
    }
}

fn per_million(usage: Usage, messages: u64) -> Option<f64> {
    Some(usage.cpu_s? / messages.max(1) as f64 * 1e6)
}

fn summary(step: &Step) -> String {
    let Step { messages, users, .. } = step;
    let cpu = step.cpu_s_per_million.unwrap_or_default();
    let rss = step.rss_bytes.unwrap_or_default() / f64::from(1 << 20);
    format!("at {messages:.0} messages, {users:.0} users: {cpu:.2} CPU s a million, {rss:.0} MiB")
}
