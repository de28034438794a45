use std::sync::Arc;

use bytes::Bytes;
use im_core::id::{ConnId, LoginEpoch, NodeId, StoreEpoch, Version};
use im_core::session::{Effect, Granted, Input, Push, Reply, Session, SessionLimits, Verdict};
use im_core::time::{Tick, Timestamp};
use im_proto::v1::{AuthRequest, C2cResponse, PushAck};
use im_proto::{CmdId, Frame, Seq, Suffix};
use prost::Message as _;

use super::{body, receiver};

/// A session with one login.
pub struct Link {
    session: Session,
    answer: Bytes,
    now: Tick,
}

impl Link {
    pub fn ready() -> Self {
        let now = Tick::from_millis(1_000);
        let mut limits = SessionLimits::default();
        limits.frames_per_second = u32::MAX;
        limits.burst = u32::MAX;
        let mut session = Session::new(ConnId(1), NodeId(0), Arc::new(limits), now);
        let auth = AuthRequest { uid: "sender-0000".to_owned(), ..AuthRequest::default() };
        let mut effects = Vec::new();
        session.handle(now, Input::Frame(frame(CmdId::AUTH, 1, auth.encode_to_vec().into())), &mut effects);
        let granted = Granted {
            head: Version(0),
            server_time: Timestamp(0),
            epoch: StoreEpoch(0),
            expires_at: None,
            login: LoginEpoch(1),
        };
        session.handle(now, Input::Verdict(Verdict::Granted(granted)), &mut effects);
        assert!(session.caller().is_some());
        let answer = C2cResponse { msgid: 1 << 60, timestamp: 1 << 40, version: 1, ..C2cResponse::default() };
        Self { session, answer: answer.encode_to_vec().into(), now }
    }

    pub fn requests(&self, count: usize) -> Vec<Frame> {
        (2..).take(count).map(|seq| frame(CmdId::C2C_SEND, seq, body(&receiver(0), seq))).collect()
    }

    /// Each frame, and the answer to it.
    pub fn exchange(&mut self, frames: &[Frame], effects: &mut Vec<Effect>) {
        for frame in frames {
            self.session.handle(self.now, Input::Frame(frame.clone()), effects);
            let Some(Effect::Request(request)) = effects.pop() else { panic!("a request is passed on") };
            let reply = request.reply(self.answer.clone());
            self.session.handle(self.now, Input::Reply(reply), effects);
            assert_eq!(effects.len(), 1);
            effects.clear();
        }
    }

    pub fn push(&mut self, pushes: &[Push], effects: &mut Vec<Effect>) {
        for push in pushes {
            self.session.handle(self.now, Input::Push(push.clone()), effects);
        }
        assert_eq!(effects.len(), pushes.len());
        effects.clear();
    }

    pub fn take(&mut self, frames: &[Frame], effects: &mut Vec<Effect>) {
        for frame in frames {
            self.session.handle(self.now, Input::Frame(frame.clone()), effects);
        }
        assert_eq!(effects.len(), frames.len());
        effects.clear();
    }
}

pub fn pushes(count: usize) -> Vec<Push> {
    let body = body(&receiver(0), 1);
    let push = |version| Push { cmd: CmdId::C2C_PUSH, body: body.clone(), suffix: Suffix::version(version) };
    (100_000..).take(count).map(push).collect()
}

pub fn acks(count: usize) -> Vec<Frame> {
    let ack = |version| PushAck { version, ..PushAck::default() }.encode_to_vec().into();
    (100_000..).take(count).map(|version| frame(CmdId::PUSH_ACK, 0, ack(version))).collect()
}

fn frame(cmd: CmdId, seq: u32, body: Bytes) -> Frame {
    // The first clone makes the owner count that a slice of a read buffer has already.
    drop(body.clone());
    Frame { client_version: 200, cmd, seq: Seq(seq), body }
}
