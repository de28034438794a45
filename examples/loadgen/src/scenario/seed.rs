use std::time::Duration;

use im_proto::{CmdId, Seq};

use super::login;
use crate::clock::{Clock, Nanos};
use crate::fault::Fault;
use crate::meter::{Meter, Usage};
use crate::net::{LinkId, Net, Script, Wake};
use crate::progress::Progress;
use crate::target::Target;
use crate::wire::{self, Frame, Stamp, Template, unexpected};

/// Messages for users who are away, as many as fast as the server takes them. Every round of a sender's goes to all its users, one message
/// each, so that neighbours in a user's timeline are no neighbours in what the server wrote.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed {
    /// The first receiver's number, and how many there are.
    pub(crate) first: u32,
    pub(crate) users: u32,
    /// Messages for each.
    pub(crate) messages: u64,
    pub(crate) size: usize,
    /// The first sender's number.
    pub(crate) senders: u32,
}

/// Those who send, and how many messages each has in flight.
pub(crate) const SENDERS: u32 = 100;
const WINDOW: u32 = 64;

/// When no message was acked for so long, none will be.
const PATIENCE: Duration = Duration::from_secs(20);

impl Seed {
    /// All messages.
    pub(crate) fn all(&self) -> u64 {
        u64::from(self.users) * self.messages
    }

    /// Sends the messages and waits for the acks; what that took.
    pub(crate) fn run(&self, target: &Target) -> Result<Usage, Fault> {
        if self.all() == 0 {
            return Ok(Usage::default());
        }
        let senders = self.users.min(SENDERS);
        let frames = login::frames_of(target, self.senders..self.senders + senders, "load")?;
        let mut net = Net::new(Clock::start())?;
        let sessions = login::log_in(&mut net, target, &frames, login::GENTLY)?.sessions;
        let mut sending = Sending::new(*self, target);
        for (session, user) in sessions.iter().zip(0..) {
            sending.add(session.link, user, senders);
        }
        let span = Meter::new(target.pid).start();
        net.run(&mut sending)?;
        Ok(span.end())
    }
}

/// One sender's way through its users.
struct Sender {
    link: LinkId,
    /// Counted from the first receiver.
    users: Vec<usize>,
    /// Who is next, and which round it is.
    next: usize,
    number: u64,
    seq: u32,
}

struct Sending<'a> {
    seed: Seed,
    target: &'a Target,
    /// By receiver.
    templates: Vec<Template>,
    senders: Vec<Sender>,
    by_link: Vec<usize>,
    started: bool,
    acked: u64,
    last: Nanos,
    progress: Progress,
}

impl<'a> Sending<'a> {
    fn new(seed: Seed, target: &'a Target) -> Self {
        let template = |user| {
            Template::new(target.dialect, &target.accounts.uid(user), seed.size, target.accounts.salt())
        };
        Sending {
            seed,
            target,
            templates: (seed.first..seed.first + seed.users).map(template).collect(),
            senders: Vec::new(),
            by_link: Vec::new(),
            started: false,
            acked: 0,
            last: Nanos(0),
            progress: Progress::new(target.label.clone()),
        }
    }

    fn add(&mut self, link: LinkId, first: usize, senders: u32) {
        if self.by_link.len() <= link {
            self.by_link.resize(link + 1, 0);
        }
        self.by_link[link] = self.senders.len();
        let step = usize::try_from(senders).expect("at most SENDERS");
        let users = (first..self.templates.len()).step_by(step).collect();
        self.senders.push(Sender { link, users, next: 0, number: 0, seq: 1 });
    }

    fn send(&mut self, net: &mut Net, at: usize, now: Nanos) {
        let sender = &mut self.senders[at];
        if sender.number == self.seed.messages {
            return;
        }
        let Some(out) = net.out(sender.link) else { return };
        let user = sender.users[sender.next];
        let number = self.seed.first + u32::try_from(user).expect("receivers are counted in 32 bits");
        let stamp = Stamp { target: wire::Target(number), stream: number, number: sender.number, due: now };
        sender.seq += 1;
        self.templates[user].put(out, Seq(sender.seq), &stamp);
        sender.next += 1;
        if sender.next == sender.users.len() {
            (sender.next, sender.number) = (0, sender.number + 1);
        }
    }
}

impl Script for Sending<'_> {
    fn frame(&mut self, net: &mut Net, link: LinkId, frame: Frame<'_>, now: Nanos) -> Result<(), Fault> {
        if frame.cmd != CmdId::C2C_SEND {
            return Err(unexpected(&frame));
        }
        self.target.dialect.ack(&frame)?;
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
        let (acked, all) = (self.acked, self.seed.all());
        self.progress.tick(now, || format!("{acked} of {all} messages stored{}", left(now, acked, all)));
        if acked == all {
            return Ok(Wake::Done);
        }
        if now.since(self.last) > PATIENCE {
            return Err(Fault::Product(format!("{} messages were not acked", all - acked)));
        }
        Ok(Wake::At(now.plus(Duration::from_millis(200))))
    }
}

/// How long the rest will take, once enough is done to tell.
fn left(now: Nanos, done: u64, all: u64) -> String {
    if done * 100 < all {
        return String::new();
    }
    let seconds = now.since(Nanos(0)).as_secs_f64() * (all - done) as f64 / done as f64;
    format!(", {seconds:.0} s left")
}
