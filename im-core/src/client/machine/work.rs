//! What leaves: entries for the application, fetches, acks, sends.

use std::time::Duration;

use bytes::Bytes;
use im_proto::{CmdId, Frame, Seq};

use super::{Asked, Client, Request, SLOWEST_BYTES_PER_SECOND};
use crate::client::outbox::Window;
use crate::client::{Effect, frame};
use crate::time::Tick;

impl Client {
    /// Does everything that can be done now.
    pub(super) fn work(&mut self, now: Tick, effects: &mut Vec<Effect>) {
        self.apply(effects);
        if self.is_ready() {
            self.begin_epoch(effects);
            self.fetch(now, effects);
            self.ack(now, effects);
            self.send_queued(now, effects);
            self.enter_rooms(now, effects);
        }
    }

    pub(super) fn apply(&mut self, effects: &mut Vec<Effect>) {
        if let Some((entries, cursor)) = self.inbox.take_ready() {
            effects.push(Effect::Apply { entries, cursor });
        }
    }

    pub(super) fn is_fetching(&self) -> bool {
        self.requests.values().any(|request| matches!(request.what, Asked::Pull { .. } | Asked::Sync { .. }))
    }

    pub(super) fn fetch_due(&self) -> Option<Tick> {
        let wants = self.next_epoch.is_none() && self.inbox.wants_fetch() && !self.is_fetching();
        wants.then_some(self.fetch_after)
    }

    /// Asks for what comes after the last received entry. If that one is durable, the offset may say so, and a pull does; else a
    /// sync asks, which acknowledges nothing.
    fn fetch(&mut self, now: Tick, effects: &mut Vec<Effect>) {
        if self.fetch_due().is_none_or(|due| due > now) {
            return;
        }
        self.inbox.fetching();
        let (begin, limit) = (self.inbox.received(), self.config.page_limit);
        if self.inbox.is_applied() {
            self.acks.said_by_pull(begin);
            self.request(now, CmdId::PULL, frame::pull(begin, limit), Asked::Pull { begin }, effects);
        } else {
            self.request(now, CmdId::SYNC, frame::sync(begin, limit), Asked::Sync { begin }, effects);
        }
    }

    /// What is applied is acknowledged in its own epoch only.
    pub(super) fn ack_due(&self) -> Option<Tick> {
        if self.next_epoch.is_some() { None } else { self.acks.due(self.inbox.applied()) }
    }

    pub(super) fn ack(&mut self, now: Tick, effects: &mut Vec<Effect>) {
        if self.ack_due().is_none() {
            return;
        }
        if let Some(version) = self.acks.take(now, self.inbox.applied()) {
            let seq = self.seq();
            self.write(now, CmdId::PUSH_ACK, seq, frame::ack(version), effects);
        }
    }

    fn send_queued(&mut self, now: Tick, effects: &mut Vec<Effect>) {
        let window = Window { messages: self.config.window, bytes: self.config.window_bytes };
        while let Some((place, message)) = self.outbox.take(now, window) {
            self.request(now, CmdId::C2C_SEND, frame::send(&message), Asked::Send(place), effects);
        }
    }

    pub(super) fn request(
        &mut self,
        now: Tick,
        cmd: CmdId,
        body: Bytes,
        what: Asked,
        effects: &mut Vec<Effect>,
    ) {
        let seq = self.seq();
        let bytes = u64::try_from(self.outbox.bytes_in_flight()).unwrap_or(u64::MAX);
        let slow = Duration::from_secs(bytes / SLOWEST_BYTES_PER_SECOND);
        let due = now + self.config.request_timeout + slow;
        self.requests.insert(seq, Request { what, due });
        self.write(now, cmd, seq, body, effects);
    }

    pub(super) fn write(&mut self, now: Tick, cmd: CmdId, seq: Seq, body: Bytes, effects: &mut Vec<Effect>) {
        self.last_write = now;
        effects.push(Effect::Write(Frame { client_version: self.config.client_version, cmd, seq, body }));
    }

    fn seq(&mut self) -> Seq {
        let requests = &self.requests;
        self.seqs.next(|seq| requests.contains_key(&seq))
    }
}
