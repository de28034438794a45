//! The link's life: opened, logged in, probed, given up, opened again.

use std::time::Duration;

use bytes::Bytes;
use im_proto::{CmdId, Seq};

use super::{Asked, Client, Link, Seqs};
use crate::client::{Effect, EndReason, SmartHeartbeat, frame};
use crate::id::Version;
use crate::time::Tick;

impl Client {
    pub(super) fn on_start(&mut self, effects: &mut Vec<Effect>) {
        if self.link == Link::New {
            self.connect(effects);
        }
    }

    fn connect(&mut self, effects: &mut Vec<Effect>) {
        self.link = Link::Connecting;
        effects.push(Effect::Connect);
    }

    pub(super) fn on_connected(&mut self, now: Tick, effects: &mut Vec<Effect>) {
        if self.link != Link::Connecting {
            return;
        }
        self.link = Link::Authenticating;
        self.seqs = Seqs::default();
        self.heartbeat.link_opened();
        self.acks.link_opened();
        self.next_epoch = None;
        self.early = Version::ZERO;
        let body = frame::auth(&self.config);
        self.request(now, CmdId::AUTH, body, Asked::Auth, effects);
    }

    pub(super) fn on_connect_failed(&mut self, now: Tick, effects: &mut Vec<Effect>) {
        if self.link == Link::Connecting {
            self.wait(now, Duration::ZERO, effects);
        }
    }

    pub(super) fn on_disconnected(&mut self, now: Tick, effects: &mut Vec<Effect>) {
        match self.link {
            Link::Authenticating | Link::Ready { .. } => self.lost(now, Duration::ZERO, effects),
            Link::LoggingOut => self.end(EndReason::LoggedOut, effects),
            _ => {}
        }
    }

    /// Gives up the open link, and comes back.
    pub(super) fn break_link(&mut self, now: Tick, effects: &mut Vec<Effect>) {
        match self.link {
            Link::Authenticating | Link::Ready { .. } => {
                effects.push(Effect::Disconnect);
                self.lost(now, Duration::ZERO, effects);
            }
            Link::LoggingOut => {
                effects.push(Effect::Disconnect);
                self.end(EndReason::LoggedOut, effects);
            }
            _ => {}
        }
    }

    /// The open link is gone: forgets what was in flight on it.
    pub(super) fn lost(&mut self, now: Tick, at_least: Duration, effects: &mut Vec<Effect>) {
        if matches!(self.link, Link::Ready { since } if now.since(since) >= self.config.stable_after) {
            self.link_failures = 0;
        }
        if self.noop_due.take().is_some() {
            self.heartbeat.failed();
        }
        self.lose_rooms(effects);
        self.outbox.rewind();
        self.fetch_failures = 0;
        self.fetch_after = Tick::default();
        self.wait(now, at_least, effects);
    }

    fn wait(&mut self, now: Tick, at_least: Duration, effects: &mut Vec<Effect>) {
        self.link_failures = self.link_failures.saturating_add(1);
        let delay = self.config.backoff.delay(self.link_failures, &mut self.random);
        let until = now + at_least + delay;
        self.link = Link::Waiting { until };
        effects.push(Effect::Offline { retry_at: until });
    }

    pub(super) fn end(&mut self, reason: EndReason, effects: &mut Vec<Effect>) {
        self.lose_rooms(effects);
        self.link = Link::Ended;
        effects.push(Effect::Ended(reason));
    }

    pub(super) fn on_stop(&mut self, now: Tick, effects: &mut Vec<Effect>) {
        if self.is_ready() {
            self.acks.hurry();
            self.ack(now, effects);
        }
        if !matches!(self.link, Link::New | Link::Waiting { .. }) {
            effects.push(Effect::Disconnect);
        }
        self.end(EndReason::Stopped, effects);
    }

    pub(super) fn on_logout(&mut self, now: Tick, effects: &mut Vec<Effect>) {
        if !self.is_ready() {
            return self.on_stop(now, effects);
        }
        self.acks.hurry();
        self.ack(now, effects);
        let body = frame::logout(&self.config);
        self.request(now, CmdId::LOGOUT, body, Asked::Logout, effects);
        self.link = Link::LoggingOut;
    }

    pub(super) fn on_network_changed(&mut self, now: Tick, effects: &mut Vec<Effect>) {
        self.link_failures = 0;
        self.heartbeat = SmartHeartbeat::new(self.config.heartbeat);
        match self.link {
            Link::Waiting { .. } => self.connect(effects),
            Link::Ready { .. } if self.noop_due.is_none() => self.noop(now, effects),
            _ => {}
        }
    }

    pub(super) fn on_timeout(&mut self, now: Tick, effects: &mut Vec<Effect>) {
        let overdue = |due: Option<Tick>| due.is_some_and(|due| due <= now);
        match self.link {
            Link::Waiting { until } if until <= now => self.connect(effects),
            Link::Authenticating | Link::LoggingOut if overdue(self.request_due()) => {
                self.break_link(now, effects);
            }
            Link::Ready { .. } if overdue(self.request_due()) || overdue(self.noop_due) => {
                self.break_link(now, effects);
            }
            Link::Ready { .. } if self.noop_due.is_none() && self.next_noop() <= now => {
                self.noop(now, effects);
            }
            _ => {}
        }
    }

    fn noop(&mut self, now: Tick, effects: &mut Vec<Effect>) {
        self.write(now, CmdId::NOOP, Seq::NOOP, Bytes::new(), effects);
        self.noop_due = Some(now + self.config.request_timeout);
    }

    pub(super) fn next_noop(&self) -> Tick {
        self.last_write + self.heartbeat.interval()
    }

    pub(super) fn request_due(&self) -> Option<Tick> {
        self.requests.values().map(|request| request.due).min()
    }
}
