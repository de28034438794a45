use std::time::Duration;

use im_proto::CmdId;
use serde_json::json;

use super::{Scenario, login};
use crate::clock::{Clock, Nanos};
use crate::fault::Fault;
use crate::meter::Meter;
use crate::net::{LinkId, Net, Script, Wake};
use crate::outcome::Outcome;
use crate::proc::Pid;
use crate::progress::Progress;
use crate::target::{Floor, Target};
use crate::wire::{Frame, unexpected};

/// Links that do nothing: what each costs the server in memory, and all of them in CPU time.
pub(crate) struct Idle {
    pub(crate) links: u32,
    /// After the memory has settled.
    pub(crate) seconds: Duration,
}

/// How often memory is looked at, and within which part of itself it stays for so many looks once it has settled.
const LOOK: Duration = Duration::from_millis(200);
const SETTLED: f64 = 0.005;
const LOOKS: u32 = 5;

/// Links that come and go before.
const WARMING: u32 = 50;

/// It is taken as it is after this long.
const PATIENCE: Duration = Duration::from_secs(15);

impl Scenario for Idle {
    fn name(&self) -> &'static str {
        "idle"
    }

    fn floor(&self) -> Floor {
        Floor::Accept
    }

    fn params(&self) -> serde_json::Value {
        json!({ "links": self.links, "seconds": self.seconds.as_secs_f64() })
    }

    fn run(&self, target: &Target) -> Result<Outcome, Fault> {
        warm(target)?;
        let mut net = Net::new(Clock::start())?;
        let before = target.pid.and_then(Pid::resident);
        let logged_in =
            login::log_in(&mut net, target, &login::frames(target, self.links, "load")?, login::GENTLY)?;
        settle(&mut net, target)?;
        let span = Meter::new(target.pid).start();
        let after = target.pid.and_then(Pid::resident);
        rest(&mut net, target, self.seconds)?;
        let grown = before.zip(after).map(|(before, after)| after.saturating_sub(before));
        Ok(Outcome {
            sent: self.links.into(),
            acked: u64::try_from(logged_in.sessions.len()).unwrap_or(u64::MAX),
            usage: span.end(),
            rss_per_link: grown.map(|grown| grown as f64 / f64::from(self.links)),
            rss_peak: target.pid.and_then(Pid::resident_peak),
            ack: Some(logged_in.since_connect),
            ..Outcome::default()
        })
    }
}

/// Lets some links come and go, so that what the server allocates once is not charged to those that are measured.
fn warm(target: &Target) -> Result<(), Fault> {
    let mut net = Net::new(Clock::start())?;
    login::log_in(&mut net, target, &login::frames(target, WARMING, "load")?, login::GENTLY)?;
    drop(net);
    settle(&mut Net::new(Clock::start())?, target)
}

/// Waits until the server's memory stays as it is.
fn settle(net: &mut Net, target: &Target) -> Result<(), Fault> {
    let begin = net.clock().now();
    let (mut last, mut same) = (0.0, 0);
    while same < LOOKS && net.clock().now().since(begin) < PATIENCE {
        rest(net, target, LOOK)?;
        let resident = target.pid.and_then(Pid::resident).unwrap_or(0) as f64;
        same = if (resident - last).abs() <= last * SETTLED { same + 1 } else { 0 };
        last = resident;
    }
    Ok(())
}

/// Does nothing for a while.
fn rest(net: &mut Net, target: &Target, pause: Duration) -> Result<(), Fault> {
    let until = net.clock().now().plus(pause);
    net.run(&mut Rest { until, progress: Progress::new(target.label.clone()) })
}

struct Rest {
    until: Nanos,
    progress: Progress,
}

impl Script for Rest {
    fn frame(&mut self, _: &mut Net, _: LinkId, frame: Frame<'_>, _: Nanos) -> Result<(), Fault> {
        if frame.cmd == CmdId::NOOP { Ok(()) } else { Err(unexpected(&frame)) }
    }

    fn closed(&mut self, _: &mut Net, _: LinkId, why: &str) -> Result<(), Fault> {
        Err(Fault::Product(format!("an idle link ended: {why}")))
    }

    fn turn(&mut self, net: &mut Net, now: Nanos) -> Result<Wake, Fault> {
        self.progress.tick(now, || format!("{} idle links", net.len()));
        Ok(if now >= self.until { Wake::Done } else { Wake::At(self.until) })
    }
}
