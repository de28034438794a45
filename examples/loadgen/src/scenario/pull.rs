use std::time::Duration;

use im_proto::{CmdId, Seq};

use super::{Seed, login};
use crate::check::OrderCheck;
use crate::clock::{Clock, Nanos};
use crate::fault::Fault;
use crate::latency::Latencies;
use crate::meter::Meter;
use crate::net::{LinkId, Net, Script, Wake};
use crate::outcome::Outcome;
use crate::proc::Pid;
use crate::progress::Progress;
use crate::target::Target;
use crate::wire::{Dialect, Frame, Kept, Stamp, put_pull, unexpected};

/// Users who were away catch up, all at the same time, each page by page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pull {
    /// What was sent while they were away.
    pub(crate) seed: Seed,
    /// Messages that one pull asks for.
    pub(crate) page: i32,
}

/// When no page came for so long, none will.
const PATIENCE: Duration = Duration::from_secs(20);

impl Pull {
    /// One round, on devices that `device` names and that have nothing yet.
    pub(crate) fn run(&self, target: &Target, device: &str) -> Result<Outcome, Fault> {
        let frames = login::frames(target, self.seed.users, device)?;
        let mut net = Net::new(Clock::start())?;
        let sessions = login::log_in(&mut net, target, &frames, login::GENTLY)?.sessions;
        let span = Meter::new(target.pid).start();
        let mut round = Round::new(*self, target, sessions.iter().map(|session| session.link).collect());
        net.run(&mut round)?;
        let sum = |of: &dyn Fn(&Reader) -> u64| round.readers.iter().map(of).sum::<u64>();
        Ok(Outcome {
            sent: self.seed.all(),
            delivered: round.pulled,
            usage: span.end(),
            rss_peak: target.pid.and_then(Pid::resident_peak),
            lost: sum(&|reader| reader.check.lost(self.seed.messages)),
            duplicated: sum(&|reader| reader.check.duplicated),
            reordered: sum(&|reader| reader.check.reordered),
            latency: Some(round.latency),
            ..Outcome::default()
        })
    }
}

struct Reader {
    link: LinkId,
    seq: u32,
    version: i64,
    asked: Nanos,
    check: OrderCheck,
}

struct Round {
    pull: Pull,
    readers: Vec<Reader>,
    /// Which reader, that is which user, a link is for.
    by_link: Vec<usize>,
    started: bool,
    finished: usize,
    pulled: u64,
    last: Nanos,
    /// From each pull to its page.
    latency: Latencies,
    progress: Progress,
}

impl Round {
    fn new(pull: Pull, target: &Target, links: Vec<LinkId>) -> Self {
        let mut by_link = vec![0; links.iter().max().map_or(0, |most| most + 1)];
        for (user, link) in links.iter().enumerate() {
            by_link[*link] = user;
        }
        let reader =
            |link| Reader { link, seq: 1, version: 0, asked: Nanos(0), check: OrderCheck::default() };
        Round {
            pull,
            readers: links.into_iter().map(reader).collect(),
            by_link,
            started: false,
            finished: 0,
            pulled: 0,
            last: Nanos(0),
            latency: Latencies::new(),
            progress: Progress::new(target.label.clone()),
        }
    }

    fn ask(&mut self, net: &mut Net, user: usize, now: Nanos) {
        let reader = &mut self.readers[user];
        let Some(out) = net.out(reader.link) else { return };
        reader.seq += 1;
        reader.asked = now;
        put_pull(out, Seq(reader.seq), reader.version, self.pull.page);
    }
}

impl Reader {
    fn take(&mut self, user: usize, kept: &Kept<'_>) -> Result<(), Fault> {
        let stamp = Stamp::read(kept.content).filter(|stamp| usize::try_from(stamp.stream) == Ok(user));
        let Some(stamp) = stamp else {
            return Err(Fault::Product("a message was pulled that nobody sent to this user".to_owned()));
        };
        if kept.version != Some(self.version + 1) {
            let (held, version) = (self.version, kept.version.unwrap_or_default());
            return Err(Fault::Product(format!("version {version} was pulled after version {held}")));
        }
        self.version += 1;
        self.check.arrived(stamp.number);
        Ok(())
    }
}

impl Script for Round {
    fn frame(&mut self, net: &mut Net, link: LinkId, frame: Frame<'_>, now: Nanos) -> Result<(), Fault> {
        if frame.cmd != CmdId::PULL {
            return Err(unexpected(&frame));
        }
        let user = self.by_link[link];
        let reader = &mut self.readers[user];
        let page = Dialect::Im.pulled(&frame, |kept| reader.take(user, &kept))?;
        self.latency.record(now.since(reader.asked));
        (self.pulled, self.last) = (self.pulled + page.messages, now);
        if page.messages == 0 || page.next_offset >= page.head {
            self.finished += 1;
        } else {
            self.ask(net, user, now);
        }
        Ok(())
    }

    fn closed(&mut self, _: &mut Net, _: LinkId, why: &str) -> Result<(), Fault> {
        Err(Fault::Product(format!("a link ended: {why}")))
    }

    fn turn(&mut self, net: &mut Net, now: Nanos) -> Result<Wake, Fault> {
        if !std::mem::replace(&mut self.started, true) {
            self.last = now;
            (0..self.readers.len()).for_each(|user| self.ask(net, user, now));
        }
        self.progress.tick(now, || format!("{} messages pulled", self.pulled));
        if self.finished == self.readers.len() {
            return Ok(Wake::Done);
        }
        if now.since(self.last) > PATIENCE {
            return Err(Fault::Product("a pull is not answered".to_owned()));
        }
        Ok(Wake::At(now.plus(Duration::from_millis(200))))
    }
}
