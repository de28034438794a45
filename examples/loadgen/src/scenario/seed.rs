use std::time::Duration;

use im_proto::{CmdId, Seq};

use super::login;
use crate::clock::{Clock, Nanos};
use crate::fault::Fault;
use crate::net::{LinkId, Net, Script, Wake};
use crate::progress::Progress;
use crate::target::Target;
use crate::wire::{self, Dialect, Frame, Stamp, Template, unexpected};

/// Users that others are to find messages for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed {
    pub(crate) users: u32,
    /// Messages for each.
    pub(crate) messages: u64,
    pub(crate) size: usize,
}

/// Those who send, and how many messages each has in flight.
const SENDERS: u32 = 100;
const WINDOW: u32 = 64;

/// When no message was acked for so long, none will be.
const PATIENCE: Duration = Duration::from_secs(20);

impl Seed {
    /// Sends the messages, to the users `0..users` while they are away, and waits for the acks.
    pub(crate) fn run(&self, target: &Target) -> Result<(), Fault> {
        let senders = self.users.min(SENDERS);
        let frames: Result<Vec<_>, _> = (self.users..self.users + senders)
            .map(|sender| target.accounts.login(target.dialect, sender, "load"))
            .collect();
        let mut net = Net::new(Clock::start())?;
        let sessions = login::log_in(&mut net, target, &frames?, login::GENTLY)?.sessions;
        let mut sending = Sending::new(*self, target);
        for (session, user) in sessions.iter().zip(0..) {
            sending.add(session.link, user, senders);
        }
        net.run(&mut sending)
    }
}

/// One sender's way through its users.
struct Sender {
    link: LinkId,
    /// The users that are left, the current one first, and how far it is with that one.
    users: Vec<u32>,
    template: Option<Template>,
    number: u64,
    seq: u32,
}

struct Sending<'a> {
    seed: Seed,
    target: &'a Target,
    senders: Vec<Sender>,
    by_link: Vec<usize>,
    started: bool,
    acked: u64,
    last: Nanos,
    progress: Progress,
}

impl<'a> Sending<'a> {
    fn new(seed: Seed, target: &'a Target) -> Self {
        let progress = Progress::new(target.label.clone());
        let (senders, by_link) = (Vec::new(), Vec::new());
        Sending { seed, target, senders, by_link, started: false, acked: 0, last: Nanos(0), progress }
    }

    fn add(&mut self, link: LinkId, first: u32, senders: u32) {
        if self.by_link.len() <= link {
            self.by_link.resize(link + 1, 0);
        }
        self.by_link[link] = self.senders.len();
        let step = usize::try_from(senders).expect("at most SENDERS");
        let users = (first..self.seed.users).step_by(step).collect();
        self.senders.push(Sender { link, users, template: None, number: 0, seq: 1 });
    }

    fn send(&mut self, net: &mut Net, at: usize, now: Nanos) {
        let (seed, target) = (self.seed, self.target);
        let sender = &mut self.senders[at];
        let Some(user) = sender.users.last().copied() else { return };
        let template = sender.template.get_or_insert_with(|| {
            Template::new(Dialect::Im, &target.accounts.uid(user), seed.size, target.accounts.salt())
        });
        let Some(out) = net.out(sender.link) else { return };
        let stamp = Stamp { target: wire::Target(user), stream: user, number: sender.number, due: now };
        sender.seq += 1;
        template.put(out, Seq(sender.seq), &stamp);
        sender.number += 1;
        if sender.number == seed.messages {
            sender.users.pop();
            (sender.template, sender.number) = (None, 0);
        }
    }

    fn all(&self) -> u64 {
        u64::from(self.seed.users) * self.seed.messages
    }
}

impl Script for Sending<'_> {
    fn frame(&mut self, net: &mut Net, link: LinkId, frame: Frame<'_>, now: Nanos) -> Result<(), Fault> {
        if frame.cmd != CmdId::C2C_SEND {
            return Err(unexpected(&frame));
        }
        Dialect::Im.ack(&frame)?;
        (self.acked, self.last) = (self.acked + 1, now);
        self.send(net, self.by_link[link], now);
        Ok(())
    }

    fn closed(&mut self, _: &mut Net, _: LinkId, why: &str) -> Result<(), Fault> {
        Err(Fault::Product(format!("a link ended: {why}")))
    }

    fn turn(&mut self, net: &mut Net, now: Nanos) -> Result<Wake, Fault> {
        if !std::mem::replace(&mut self.started, true) {
            self.last = now;
            for at in 0..self.senders.len() {
                (0..WINDOW).for_each(|_| self.send(net, at, now));
            }
        }
        let all = self.all();
        self.progress.tick(now, || format!("{} of {all} messages stored", self.acked));
        if self.acked == all {
            return Ok(Wake::Done);
        }
        if now.since(self.last) > PATIENCE {
            return Err(Fault::Product(format!("{} messages were not acked", all - self.acked)));
        }
        Ok(Wake::At(now.plus(Duration::from_millis(200))))
    }
}
