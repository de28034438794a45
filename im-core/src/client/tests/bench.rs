//! A client, a clock, and the few words of a server.

use std::time::Duration;

use bytes::Bytes;
use im_proto::v1::{AuthResponse, C2cPush, C2cRequest, C2cResponse, PullMsg, PullResponse};
use im_proto::{CmdId, ErrorCode, Frame, Seq};
use prost::Message;

use crate::client::{Client, ClientConfig, Effect, Input, LocalEntry, Outgoing, Saved};
use crate::id::{ClientMsgId, DeviceId, MsgId, Uid, Version};
use crate::message::{ContentType, Target};
use crate::time::{Tick, Timestamp};

pub(super) struct Bench {
    pub(super) client: Client,
    pub(super) now: Tick,
}

impl Bench {
    /// Alice's device, not started.
    pub(super) fn new(saved: Saved, change: impl FnOnce(&mut ClientConfig)) -> Self {
        let mut config = ClientConfig::new(uid("alice"), "token", DeviceId::new("phone").unwrap());
        change(&mut config);
        Self { client: Client::new(config, saved, 42), now: Tick::from_millis(1_000_000) }
    }

    /// Alice's device, logged in on a new account.
    pub(super) fn ready() -> Self {
        Self::ready_at(0, |_| {})
    }

    /// Alice's device, logged in, holding everything up to `cursor`, which is the head.
    pub(super) fn ready_at(cursor: i64, change: impl FnOnce(&mut ClientConfig)) -> Self {
        let saved = Saved { cursor: Version(cursor), ..Saved::default() };
        let mut bench = Self::new(saved, change);
        bench.give(Input::Start);
        bench.log_in(cursor);
        bench
    }

    /// Opens the link that was asked for and grants the login.
    pub(super) fn log_in(&mut self, head: i64) -> Vec<Effect> {
        self.log_in_to(0, head)
    }

    /// As `log_in`, to a store in this epoch.
    pub(super) fn log_in_to(&mut self, epoch: i32, head: i64) -> Vec<Effect> {
        let auth = writes(&self.give(Input::Connected));
        assert_eq!(auth[0].cmd, CmdId::AUTH);
        self.grant(&auth[0], epoch, head)
    }

    pub(super) fn grant(&mut self, auth: &Frame, epoch: i32, head: i64) -> Vec<Effect> {
        self.reply(auth, &AuthResponse { version: head, server_time: 7, epoch, ..Default::default() })
    }

    pub(super) fn give(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.client.handle(self.now, input, &mut effects);
        effects
    }

    pub(super) fn send(&mut self, id: &str, to: &str) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.client.send(self.now, outgoing(id, to), &mut effects).unwrap();
        effects
    }

    pub(super) fn reply(&mut self, to: &Frame, body: &impl Message) -> Vec<Effect> {
        self.give(Input::Frame(Frame { body: body.encode_to_vec().into(), ..to.clone() }))
    }

    pub(super) fn acks(&mut self, send: &Frame, version: i64) -> Vec<Effect> {
        self.reply(send, &C2cResponse { msgid: version + 100, timestamp: 9, version, ..Default::default() })
    }

    pub(super) fn fails(&mut self, send: &Frame, code: ErrorCode) -> Vec<Effect> {
        let body = C2cResponse { err_code: code.code(), err_msg: "no".to_owned(), ..Default::default() };
        self.reply(send, &body)
    }

    pub(super) fn push(&mut self, version: i64) -> Vec<Effect> {
        let push = C2cPush {
            from: "bob".to_owned(),
            content: Bytes::from_static(b"hi"),
            msgid: version + 100,
            timestamp: 9,
            version,
            ..Default::default()
        };
        self.give(Input::Frame(pushed(CmdId::C2C_PUSH, &push)))
    }

    pub(super) fn page(&mut self, fetch: &Frame, versions: &[i64], head: i64) -> Vec<Effect> {
        let msgs: Vec<_> = versions.iter().copied().map(listed).collect();
        let next_offset = versions.last().copied().unwrap_or(head);
        self.reply(fetch, &PullResponse { msgs, next_offset, head, ..Default::default() })
    }

    /// Goes to the next deadline and through it.
    pub(super) fn wait(&mut self) -> Vec<Effect> {
        self.now = self.client.next_deadline().expect("something is due").max(self.now);
        self.give(Input::Timeout)
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }
}

fn listed(version: i64) -> PullMsg {
    PullMsg {
        from: "bob".to_owned(),
        content: Bytes::from_static(b"hi"),
        msgid: version + 100,
        cmdid: 1006,
        send_time: 9,
        version,
        to: "alice".to_owned(),
        ..Default::default()
    }
}

/// What a push or a page of bob's `version` becomes.
pub(super) fn entry(version: i64) -> LocalEntry {
    LocalEntry {
        version: Version(version),
        msgid: MsgId(version + 100),
        kind: CmdId::C2C_SEND,
        from: uid("bob"),
        to: Target::User(uid("alice")),
        client_msg_id: None,
        content_type: ContentType(0),
        content: Bytes::from_static(b"hi"),
        sent_at: Timestamp(9),
        withdrawn_at: None,
    }
}

pub(super) fn apply(versions: &[i64]) -> Effect {
    let cursor = Version(*versions.last().unwrap());
    Effect::Apply { entries: versions.iter().copied().map(entry).collect(), cursor }
}

pub(super) fn pushed(cmd: CmdId, body: &impl Message) -> Frame {
    Frame { client_version: 200, cmd, seq: Seq::PUSH, body: body.encode_to_vec().into() }
}

pub(super) fn uid(name: &str) -> Uid {
    Uid::new(name).unwrap()
}

pub(super) fn outgoing(id: &str, to: &str) -> Outgoing {
    Outgoing {
        client_msg_id: ClientMsgId::new(id).unwrap(),
        to: uid(to),
        content_type: ContentType(0),
        content: Bytes::copy_from_slice(id.as_bytes()),
    }
}

pub(super) fn writes(effects: &[Effect]) -> Vec<Frame> {
    let frame = |effect: &Effect| match effect {
        Effect::Write(frame) => Some(frame.clone()),
        _ => None,
    };
    effects.iter().filter_map(frame).collect()
}

pub(super) fn only_write(effects: &[Effect]) -> Frame {
    let [Effect::Write(frame)] = effects else { panic!("one write was expected, not {effects:?}") };
    frame.clone()
}

/// The commands written, in order.
pub(super) fn commands(effects: &[Effect]) -> Vec<CmdId> {
    writes(effects).iter().map(|frame| frame.cmd).collect()
}

/// The ids of the messages sent, in order.
pub(super) fn sent(effects: &[Effect]) -> Vec<String> {
    let sends = writes(effects).into_iter().filter(|frame| frame.cmd == CmdId::C2C_SEND);
    sends.map(|frame| C2cRequest::decode(frame.body).unwrap().client_msg_id).collect()
}

/// The ids of the messages acknowledged, in order.
pub(super) fn acked(effects: &[Effect]) -> Vec<&str> {
    let mut ids = Vec::new();
    for effect in effects {
        if let Effect::Acked(receipt) = effect {
            ids.push(receipt.client_msg_id.as_str());
        }
    }
    ids
}
