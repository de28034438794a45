use serde_json::json;

use super::Scenario;
use super::login::{self, OnFailure};
use crate::clock::Clock;
use crate::fault::Fault;
use crate::latency::Latencies;
use crate::meter::Meter;
use crate::net::Net;
use crate::outcome::Outcome;
use crate::proc::Pid;
use crate::target::{Floor, Target};

/// Everybody logs in at once, is cut off, and is back at once.
pub(crate) struct Storm {
    pub(crate) links: u32,
    /// How many times they all come: 1 is a login storm, from 2 on the later ones are reconnects.
    pub(crate) waves: u32,
    /// Logins begun and not answered at one time.
    pub(crate) at_once: usize,
}

impl Scenario for Storm {
    fn name(&self) -> &'static str {
        "storm"
    }

    fn floor(&self) -> Floor {
        Floor::Accept
    }

    fn params(&self) -> serde_json::Value {
        json!({ "links": self.links, "waves": self.waves, "at_once": self.at_once })
    }

    /// `latency_us` counts from each wave's beginning, since all want in then; `ack_us` from a link's own.
    fn run(&self, target: &Target) -> Result<Outcome, Fault> {
        let frames = login::frames(target, self.links, "load")?;
        let (mut latency, mut ack) = (Latencies::new(), Latencies::new());
        let (mut in_all, mut failed) = (0, 0);
        let span = Meter::new(target.pid).start();
        for _ in 0..self.waves {
            // Dropping the former wave's links cuts them all.
            let mut net = Net::new(Clock::start())?;
            let wave = login::log_in_by(&mut net, target, &frames, self.at_once, OnFailure::Retry)?;
            in_all += u64::try_from(wave.sessions.len()).unwrap_or(u64::MAX);
            failed += u64::try_from(wave.failed).unwrap_or(u64::MAX);
            latency.add(&wave.since_begin);
            ack.add(&wave.since_connect);
        }
        let sent = u64::from(self.links) * u64::from(self.waves);
        Ok(Outcome {
            sent,
            delivered: in_all,
            acked: in_all,
            usage: span.end(),
            lost: sent.saturating_sub(in_all),
            failed_logins: failed,
            rss_peak: target.pid.and_then(Pid::resident_peak),
            latency: Some(latency),
            ack: Some(ack),
            ..Outcome::default()
        })
    }
}
