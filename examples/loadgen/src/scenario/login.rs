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

/// What a login that is refused or cut does to the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnFailure {
    /// It ends it.
    End,
    /// It is tried again, as a client would, and counted.
    Retry,
}

/// Failed logins for each user, on average, with which the server is not taken for one that will let everybody in.
const MOST_FAILURES: usize = 8;

/// Users that are in, in the order of their numbers, and how long it took.
pub(super) struct LoggedIn {
    pub(super) sessions: Vec<Session>,
    /// Logins that failed and were tried again.
    pub(super) failed: usize,
    /// From the beginning of all to each one's answer.
    pub(super) since_begin: Latencies,
    /// From the beginning of each one's connection to its answer.
    pub(super) since_connect: Latencies,
}

/// The first frames of the users `0..users`.
pub(super) fn frames(target: &Target, users: u32, device: &str) -> Result<Vec<Vec<u8>>, Fault> {
    frames_of(target, 0..users, device)
}

/// The first frames of these users. To make them takes the loader a while, so it is done before anything is timed.
pub(super) fn frames_of(
    target: &Target,
    users: impl Iterator<Item = u32>,
    device: &str,
) -> Result<Vec<Vec<u8>>, Fault> {
    users.map(|user| target.accounts.login(target.dialect, user, device)).collect()
}

/// Logs users in, one link each, at most `at_once` at one time; none may fail.
pub(super) fn log_in(
    net: &mut Net,
    target: &Target,
    frames: &[Vec<u8>],
    at_once: usize,
) -> Result<LoggedIn, Fault> {
    log_in_by(net, target, frames, at_once, OnFailure::End)
}

/// The same, with a choice of what a failure does.
pub(super) fn log_in_by(
    net: &mut Net,
    target: &Target,
    frames: &[Vec<u8>],
    at_once: usize,
    on_failure: OnFailure,
) -> Result<LoggedIn, Fault> {
    let now = net.clock().now();
    let mut login = Login {
        target,
        frames,
        at_once,
        on_failure,
        users: Vec::new(),
        sessions: vec![None; frames.len()],
        begin: now,
        begun: Vec::with_capacity(frames.len()),
        answered: 0,
        failed: 0,
        again: Vec::new(),
        last: now,
        since_begin: Latencies::new(),
        since_connect: Latencies::new(),
        progress: Progress::new(target.label.clone()),
    };
    net.run(&mut login)?;
    let Login { failed, since_begin, since_connect, .. } = login;
    let sessions = login.sessions.into_iter().flatten().collect();
    Ok(LoggedIn { sessions, failed, since_begin, since_connect })
}

/// Logs users in gently.
pub(super) fn log_in_gently(net: &mut Net, target: &Target, users: u32) -> Result<Vec<Session>, Fault> {
    Ok(log_in(net, target, &frames(target, users, "load")?, GENTLY)?.sessions)
}

struct Login<'a> {
    target: &'a Target,
    frames: &'a [Vec<u8>],
    at_once: usize,
    on_failure: OnFailure,
    /// Which user a link is for.
    users: Vec<usize>,
    sessions: Vec<Option<Session>>,
    begin: Nanos,
    /// When each user's connection began.
    begun: Vec<Nanos>,
    answered: usize,
    failed: usize,
    /// Users whose login failed and begins again in the next turn.
    again: Vec<usize>,
    /// When the last answer came.
    last: Nanos,
    since_begin: Latencies,
    since_connect: Latencies,
    progress: Progress,
}

impl Login<'_> {
    /// Begins the next login, if there is one and it may begin.
    fn connect(&mut self, net: &mut Net) -> Result<(), Fault> {
        if !self.may_begin() {
            return Ok(());
        }
        let now = net.clock().now();
        let user = self.again.pop().unwrap_or(self.begun.len());
        if user == self.begun.len() {
            self.begun.push(now);
        }
        let link = net.open(self.target.address, user)?;
        if self.users.len() <= link {
            self.users.resize(link + 1, 0);
        }
        self.users[link] = user;
        Ok(())
    }

    fn may_begin(&self) -> bool {
        let waiting = self.begun.len() - self.answered - self.again.len();
        (!self.again.is_empty() || self.begun.len() < self.frames.len()) && waiting < self.at_once
    }

    /// A login failed; what that does to the run.
    fn fail(&mut self, user: usize, fault: Fault) -> Result<(), Fault> {
        let hopeless = self.failed >= self.frames.len() * MOST_FAILURES;
        match fault {
            ref fault @ Fault::Product(_) if self.on_failure == OnFailure::Retry && !hopeless => {
                if self.failed == 0 {
                    // The others will have failed likewise, and there may be thousands.
                    self.progress.note(&format!("a login failed: {fault}"));
                }
                self.failed += 1;
                self.again.push(user);
                Ok(())
            }
            fault => Err(fault),
        }
    }
}

impl Script for Login<'_> {
    fn opened(&mut self, net: &mut Net, link: LinkId) -> Result<(), Fault> {
        if let Some(out) = net.out(link) {
            out.extend_from_slice(&self.frames[self.users[link]]);
        }
        Ok(())
    }

    fn frame(&mut self, net: &mut Net, link: LinkId, frame: Frame<'_>, now: Nanos) -> Result<(), Fault> {
        let user = self.users[link];
        // Pushes to those who are in already.
        if frame.cmd != CmdId::AUTH && self.target.dialect == Dialect::Im {
            return Err(unexpected(&frame));
        }
        let head = match self.target.dialect.logged_in(&frame) {
            Ok(head) => head,
            Err(fault) => {
                net.close(link);
                return self.fail(user, fault);
            }
        };
        if self.sessions[user].replace(Session { link, head }).is_some() {
            return Err(unexpected(&frame));
        }
        self.answered += 1;
        self.last = now;
        self.since_begin.record(now.since(self.begin));
        self.since_connect.record(now.since(self.begun[user]));
        Ok(())
    }

    fn closed(&mut self, _: &mut Net, link: LinkId, why: &str) -> Result<(), Fault> {
        let user = self.users[link];
        if self.answered == 0 {
            return Err(Fault::Environment(format!("no link to {} holds: {why}", self.target.address)));
        }
        let fault = Fault::Product(format!("a link ended during login, {} were in: {why}", self.answered));
        if self.sessions[user].is_some() { Err(fault) } else { self.fail(user, fault) }
    }

    fn turn(&mut self, net: &mut Net, now: Nanos) -> Result<Wake, Fault> {
        let all = self.frames.len();
        // A few each turn, so that answers are read, and timed, while others connect.
        for _ in 0..64 {
            self.connect(net)?;
        }
        self.progress.tick(now, || format!("{} of {all} logged in", self.answered));
        if self.answered == all {
            return Ok(Wake::Done);
        }
        if now.since(self.last) > PATIENCE {
            let missing = all - self.answered;
            return Err(Fault::Product(format!("{missing} of {all} logins were not answered")));
        }
        Ok(Wake::At(if self.may_begin() { now } else { now.plus(Duration::from_millis(200)) }))
    }
}
