use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use im_proto::v1::{
    AuthRequest, C2cRequest, ErrorResponse, LogoutRequest, MsgidAck, PullRequest, PushAck, SyncRequest,
};
use im_proto::{CmdId, Decoder, Frame, Seq};
use prost::Message as _;

use super::gate::encoded;
use super::link::Holder;
use super::{World, num};
use crate::id::Uid;
use crate::testing::sim::event::{End, Event, LinkId, Segment};
use crate::testing::sim::history::{Seen, content};
use crate::testing::sim::outside::token_of;

/// A client with an account of its own that keeps no rule.
pub(super) struct Hostile {
    pub(super) uid: Uid,
    pub(super) link: Option<LinkId>,
    seq: u32,
    number: u64,
    /// The error codes that may answer a request.
    expected: BTreeMap<u32, &'static [i32]>,
    buffer: BytesMut,
}

impl Hostile {
    pub(super) fn new(uid: Uid) -> Self {
        Self { uid, link: None, seq: 0, number: 0, expected: BTreeMap::new(), buffer: BytesMut::new() }
    }

    /// A message of its own; what it says names both ends, like everybody's.
    fn message(&mut self, to: &Uid) -> C2cRequest {
        self.number += 1;
        C2cRequest {
            to: to.as_str().to_owned(),
            content: content(&self.uid, to, self.number).into(),
            ..C2cRequest::default()
        }
    }
}

/// What a refused answer may be where the store is asked first.
const OR_UNAVAILABLE: &[i32] = &[0, 7];

impl World {
    pub(super) fn hostile_acts(&mut self, hostile: usize) {
        if !self.kernel.faults() {
            return;
        }
        match self.hostiles[hostile].link {
            None => self.hostile_connects(hostile),
            Some(link) => self.hostile_says(hostile, link),
        }
        let pause = self.kernel.dice(|dice| dice.millis(2, 200));
        self.kernel.after(pause, Event::Hostile(hostile));
    }

    pub(super) fn hostile_leaves(&mut self, hostile: usize) {
        let Some(link) = self.hostiles[hostile].link.take() else { return };
        self.write(link, End::Server, Segment::Fin);
        if let Some(state) = self.links.get_mut(&link) {
            state.open_at_client = false;
        }
        self.tidy(link);
    }

    fn hostile_connects(&mut self, hostile: usize) {
        let server = self.kernel.dice(|dice| dice.index(self.servers.len()));
        let Some(link) = self.accept(server, Holder::Hostile(hostile)) else { return };
        let state = &mut self.hostiles[hostile];
        state.link = Some(link);
        state.seq = 0;
        state.expected.clear();
        state.buffer.clear();
        match self.kernel.dice(|dice| dice.between(0, 9)) {
            0 => self.garbage(link),
            1 => self.hostile_writes(link, &[0, 0, 0, 20, 0, 0]),
            2 => self.hostile_writes(
                link,
                &[0, 0, 0, 20, 0, 0, 0, 200, 0, 0, 3, 233, 0, 0, 0, 1, 255, 255, 255, 255],
            ),
            3 => self.before_auth(hostile, link),
            4 => self.forged_auth(hostile, link),
            _ => {
                let token = token_of(&self.hostiles[hostile].uid);
                let uid = self.hostiles[hostile].uid.clone();
                self.auth(hostile, link, &uid, token);
            }
        }
    }

    fn hostile_writes(&mut self, link: LinkId, bytes: &[u8]) {
        self.kernel.count(|counts| counts.hostile_frames += 1);
        self.write_bytes(link, End::Server, Bytes::copy_from_slice(bytes));
    }

    fn garbage(&mut self, link: LinkId) {
        let bytes: Vec<u8> = self.kernel.dice(|dice| {
            (0..dice.between(1, 80)).map(|_| u8::try_from(dice.between(0, 255)).unwrap_or(0)).collect()
        });
        self.hostile_writes(link, &bytes);
    }

    fn frame(&mut self, link: LinkId, cmd: CmdId, seq: u32, body: Vec<u8>) {
        self.kernel.note("hostile", link.0, u64::from(cmd.0));
        let frame = Frame { client_version: 666, cmd, seq: Seq(seq), body: body.into() };
        self.hostile_writes(link, &encoded(&frame));
    }

    /// Asks for something that has to be answered with one of these error codes.
    fn ask(&mut self, hostile: usize, link: LinkId, cmd: CmdId, body: Vec<u8>, expected: &'static [i32]) {
        let state = &mut self.hostiles[hostile];
        state.seq += 1;
        let seq = state.seq;
        state.expected.insert(seq, expected);
        self.frame(link, cmd, seq, body);
    }

    fn auth(&mut self, hostile: usize, link: LinkId, uid: &Uid, token: String) {
        self.hostiles[hostile].seq += 1;
        let seq = self.hostiles[hostile].seq;
        let request =
            AuthRequest { token, uid: uid.as_str().to_owned(), device_type: 4, ..AuthRequest::default() };
        self.frame(link, CmdId::AUTH, seq, request.encode_to_vec());
    }

    fn forged_auth(&mut self, hostile: usize, link: LinkId) {
        let victim = self.victim();
        let token = token_of(&self.hostiles[hostile].uid);
        self.auth(hostile, link, &victim, token);
        let pull = PullRequest { uid: victim.as_str().to_owned(), offset: 0, limit: 100 };
        self.frame(link, CmdId::PULL, 2, pull.encode_to_vec());
    }

    fn before_auth(&mut self, hostile: usize, link: LinkId) {
        let victim = self.victim();
        let message = self.hostiles[hostile].message(&victim);
        self.frame(link, CmdId::C2C_SEND, 1, message.encode_to_vec());
    }

    fn victim(&self) -> Uid {
        self.users[self.kernel.dice(|dice| dice.index(self.users.len()))].clone()
    }

    fn hostile_says(&mut self, hostile: usize, link: LinkId) {
        match self.kernel.dice(|dice| dice.between(0, 15)) {
            0..=3 => self.bad_send(hostile, link),
            4 | 5 => self.good_send(hostile, link),
            6 | 7 => self.bad_pull(hostile, link),
            8..=10 => self.bad_ack(hostile, link),
            11 => self.ask(hostile, link, CmdId(4_242), vec![1, 2, 3], &[9]),
            12 => self.random_frame(link),
            13 => {
                let uid = self.victim().as_str().to_owned();
                let logout = LogoutRequest { uid, ..LogoutRequest::default() };
                self.ask(hostile, link, CmdId::LOGOUT, logout.encode_to_vec(), &[3]);
            }
            14 => self.reused_key(hostile, link),
            _ => self.last_words(hostile, link),
        }
    }

    /// Something after which the link closes.
    fn last_words(&mut self, hostile: usize, link: LinkId) {
        match self.kernel.dice(|dice| dice.between(0, 4)) {
            0 => self.garbage(link),
            1 => self.frame(link, CmdId::C2C_SEND, Seq::NOOP.0, Vec::new()),
            2 => self.frame(link, CmdId::PULL, 0, Vec::new()),
            3 => self.forged_auth(hostile, link),
            _ => self.hostile_leaves(hostile),
        }
    }

    fn bad_send(&mut self, hostile: usize, link: LinkId) {
        let victim = self.victim();
        let message = self.hostiles[hostile].message(&victim);
        let (body, expected): (C2cRequest, &'static [i32]) = match self.kernel.dice(|dice| dice.between(0, 4))
        {
            0 | 1 => (C2cRequest { from: victim.as_str().to_owned(), ..message }, &[3]),
            2 => (C2cRequest { to: String::new(), ..message }, &[4]),
            3 => (C2cRequest { client_msg_id: "x".repeat(65), ..message }, &[5]),
            _ => {
                self.ask(hostile, link, CmdId::C2C_SEND, vec![0xFF; 9], &[1]);
                return;
            }
        };
        self.ask(hostile, link, CmdId::C2C_SEND, body.encode_to_vec(), expected);
    }

    /// Messages that are fine, without an id: the link, the command and the number stand for it.
    fn good_send(&mut self, hostile: usize, link: LinkId) {
        let to = if self.kernel.dice(|dice| dice.happens(500)) {
            self.victim()
        } else {
            self.hostiles[hostile].uid.clone()
        };
        let body = self.hostiles[hostile].message(&to).encode_to_vec();
        self.ask(hostile, link, CmdId::C2C_SEND, body.clone(), OR_UNAVAILABLE);
        let seq = self.hostiles[hostile].seq;
        self.frame(link, CmdId::C2C_SEND, seq, body);
    }

    fn reused_key(&mut self, hostile: usize, link: LinkId) {
        let to = self.hostiles[hostile].uid.clone();
        let id = format!("reused-{}", self.hostiles[hostile].number);
        for expected in [OR_UNAVAILABLE, &[0, 7, 8]] {
            let message = self.hostiles[hostile].message(&to);
            let message = C2cRequest { client_msg_id: id.clone(), ..message };
            self.ask(hostile, link, CmdId::C2C_SEND, message.encode_to_vec(), expected);
        }
    }

    fn bad_pull(&mut self, hostile: usize, link: LinkId) {
        let extreme = self.extreme();
        let limit = self.kernel.dice(|dice| [i32::MIN, -1, 0, 7, i32::MAX][dice.index(5)]);
        match self.kernel.dice(|dice| dice.between(0, 3)) {
            0 => {
                let pull = PullRequest { uid: self.victim().as_str().to_owned(), offset: 0, limit };
                self.ask(hostile, link, CmdId::PULL, pull.encode_to_vec(), &[3]);
            }
            1 => {
                let pull = PullRequest { offset: extreme, limit, ..PullRequest::default() };
                self.ask(hostile, link, CmdId::PULL, pull.encode_to_vec(), &[0, 7, 10]);
            }
            2 => {
                let sync = SyncRequest { group: 1, ..SyncRequest::default() };
                self.ask(hostile, link, CmdId::SYNC, sync.encode_to_vec(), &[4]);
            }
            _ => {
                let sync = SyncRequest { group: 0, begin: extreme, end: self.extreme(), limit };
                self.ask(hostile, link, CmdId::SYNC, sync.encode_to_vec(), &[0, 7, 10]);
            }
        }
    }

    fn bad_ack(&mut self, hostile: usize, link: LinkId) {
        let seq = self.kernel.dice(|dice| u32::try_from(dice.between(0, 1)).unwrap_or(0)) * 900_000;
        match self.kernel.dice(|dice| dice.between(0, 4)) {
            0 | 1 => {
                let ack = PushAck { version: self.extreme(), group: 0 };
                self.frame(link, CmdId::PUSH_ACK, seq, ack.encode_to_vec());
            }
            2 => {
                let ack = PushAck { version: self.extreme(), group: self.extreme() };
                self.frame(link, CmdId::PUSH_ACK, seq, ack.encode_to_vec());
            }
            3 => self.frame(link, CmdId::PUSH_ACK, seq, vec![0xFF; 3]),
            _ => {
                let ack = MsgidAck { msgid: self.extreme() };
                self.frame(link, CmdId::C2C_PUSH, 0, ack.encode_to_vec());
            }
        }
        let _ = hostile;
    }

    fn extreme(&self) -> i64 {
        self.kernel.dice(|dice| [i64::MIN, -1, 0, 1, 3, 1_000_000, i64::MAX - 1, i64::MAX][dice.index(8)])
    }

    fn random_frame(&mut self, link: LinkId) {
        let (cmd, seq, body) = self.kernel.dice(|dice| {
            let cmd = CmdId::ALL[dice.index(CmdId::ALL.len())];
            let body: Vec<u8> =
                (0..dice.between(0, 40)).map(|_| u8::try_from(dice.between(0, 255)).unwrap_or(0)).collect();
            (cmd, 1_000_000 + u32::try_from(dice.between(0, 1_000)).unwrap_or(0), body)
        });
        self.frame(link, cmd, seq, body);
    }

    pub(super) fn hostile_hears(&mut self, hostile: usize, link: LinkId, bytes: &[u8]) {
        let state = &mut self.hostiles[hostile];
        if state.link != Some(link) {
            return;
        }
        state.buffer.extend_from_slice(bytes);
        while let Ok(Some(frame)) = Decoder::default().decode(&mut self.hostiles[hostile].buffer) {
            let Some(expected) = self.hostiles[hostile].expected.remove(&frame.seq.0) else { continue };
            let Ok(ErrorResponse { err_code, .. }) = ErrorResponse::decode(frame.body) else {
                return self
                    .fail("bad_input", format!("hostile {}: an answer does not decode", num(hostile)));
            };
            if !expected.contains(&err_code) {
                self.see(&Seen::WrongAnswer { expected, got: err_code });
            }
            self.kernel
                .count(|counts| counts.hostile_requests_refused += u64::from(err_code != 0 && err_code != 7));
        }
    }
}
