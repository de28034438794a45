use std::time::Duration;

use im_proto::CmdId;

use crate::clock::Nanos;
use crate::fault::Fault;
use crate::latency::Latencies;
use crate::net::{LinkId, Net, Script, Wake};
use crate::progress::Progress;
use crate::target::Target;
use crate::wire::{Dialect, Frame, unexpected};

/// Logins begun and not answered at one time, where they are only the way to something else.
pub(super) const GENTLY: usize = 256;

/// When no login at all was answered for so long, none will be.
const PATIENCE: Duration = Duration::from_secs(20);

/// A user's link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    pub(super) link: LinkId,
    /// The head of the user's timeline at login.
    pub(super) head: i64,
}

/// Users that are in, in the order of their numbers, and how long it took.
pub(super) struct LoggedIn {
    pub(super) sessions: Vec<Session>,
    /// From the beginning of all to each one's answer.
    pub(super) since_begin: Latencies,
    /// From the beginning of each one's connection to its answer.
    pub(super) since_connect: Latencies,
}

/// The first frames of the users `0..users`. To make them takes the loader a while, so it is done before anything is timed.
pub(super) fn frames(target: &Target, users: u32, device: &str) -> Result<Vec<Vec<u8>>, Fault> {
    (0..users).map(|user| target.accounts.login(target.dialect, user, device)).collect()
}

/// Logs users in, one link each, at most `at_once` at one time.
pub(super) fn log_in(
    net: &mut Net,
    target: &Target,
    frames: &[Vec<u8>],
    at_once: usize,
) -> Result<LoggedIn, Fault> {
    let now = net.clock().now();
    let mut login = Login {
        target,
        frames,
        at_once,
        users: Vec::new(),
        sessions: vec![None; frames.len()],
        begin: now,
        begun: Vec::with_capacity(frames.len()),
        answered: 0,
        last: now,
        since_begin: Latencies::new(),
        since_connect: Latencies::new(),
        progress: Progress::new(target.label.clone()),
    };
    net.run(&mut login)?;
    let sessions = login.sessions.into_iter().flatten().collect();
    Ok(LoggedIn { sessions, since_begin: login.since_begin, since_connect: login.since_connect })
}

/// Logs users in gently.
pub(super) fn log_in_gently(net: &mut Net, target: &Target, users: u32) -> Result<Vec<Session>, Fault> {
    Ok(log_in(net, target, &frames(target, users, "load")?, GENTLY)?.sessions)
}

struct Login<'a> {
    target: &'a Target,
    frames: &'a [Vec<u8>],
    at_once: usize,
    /// Which user a link is for.
    users: Vec<usize>,
    sessions: Vec<Option<Session>>,
    begin: Nanos,
    /// When each user's connection began.
    begun: Vec<Nanos>,
    answered: usize,
    /// When the last answer came.
    last: Nanos,
    since_begin: Latencies,
    since_connect: Latencies,
    progress: Progress,
}

impl Login<'_> {
    fn connect(&mut self, net: &mut Net) -> Result<(), Fault> {
        let user = self.begun.len();
        self.begun.push(net.clock().now());
        let link = net.open(self.target.address, user)?;
        if self.users.len() <= link {
            self.users.resize(link + 1, 0);
        }
        self.users[link] = user;
        Ok(())
    }
}

impl Script for Login<'_> {
    fn opened(&mut self, net: &mut Net, link: LinkId) -> Result<(), Fault> {
        if let Some(out) = net.out(link) {
            out.extend_from_slice(&self.frames[self.users[link]]);
        }
        Ok(())
    }

    fn frame(&mut self, _: &mut Net, link: LinkId, frame: Frame<'_>, now: Nanos) -> Result<(), Fault> {
        // Pushes to those who are in already.
        if frame.cmd != CmdId::AUTH && self.target.dialect == Dialect::Im {
            return Err(unexpected(&frame));
        }
        let head = self.target.dialect.logged_in(&frame)?;
        let user = self.users[link];
        if self.sessions[user].replace(Session { link, head }).is_some() {
            return Err(unexpected(&frame));
        }
        self.answered += 1;
        self.last = now;
        self.since_begin.record(now.since(self.begin));
        self.since_connect.record(now.since(self.begun[user]));
        Ok(())
    }

    fn closed(&mut self, _: &mut Net, _: LinkId, why: &str) -> Result<(), Fault> {
        Err(match self.answered {
            0 => Fault::Environment(format!("no link to {} holds: {why}", self.target.address)),
            some => Fault::Product(format!("a link ended during login, {some} were in: {why}")),
        })
    }

    fn turn(&mut self, net: &mut Net, now: Nanos) -> Result<Wake, Fault> {
        let all = self.frames.len();
        // A few each turn, so that answers are read, and timed, while others connect.
        for _ in 0..64 {
            if self.begun.len() < all && self.begun.len() - self.answered < self.at_once {
                self.connect(net)?;
            }
        }
        self.progress.tick(now, || format!("{} of {all} logged in", self.answered));
        if self.answered == all {
            return Ok(Wake::Done);
        }
        if now.since(self.last) > PATIENCE {
            let missing = all - self.answered;
            return Err(Fault::Product(format!("{missing} of {all} logins were not answered")));
        }
        let more = self.begun.len() < all && self.begun.len() - self.answered < self.at_once;
        Ok(Wake::At(if more { now } else { now.plus(Duration::from_millis(200)) }))
    }
}
