//! Any inputs in any order, fed to a session: the bytes choose them. Every effect is held against what the session promises.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use im_core::id::{ConnId, LoginEpoch, NodeId, RoomId, StoreEpoch, Version};
use im_core::session::{
    Effect, Granted, Input, KickReason, NOOP_VERSION, Push, Request, Session, SessionLimits, Verdict,
};
use im_core::time::{Tick, Timestamp};
use im_proto::v1::{AuthRequest, PushAck, RoomJoinRequest, RoomLeaveRequest, RoomSendRequest};
use im_proto::{CmdId, ErrorCode, Frame, FrameError, Seq, Suffix};
use prost::Message as _;

/// Feeds one session what the bytes say.
pub fn run(input: &[u8]) {
    let mut bytes = input.iter().copied();
    let mut watch = Watch::new();
    while let Some(choice) = bytes.next() {
        let input = watch.input(choice, &mut bytes);
        watch.feed(input);
    }
    watch.feed(Input::Gone);
    assert!(watch.session.is_closed(), "a link that is gone is closed");
}

/// A session and what has been seen of it.
struct Watch {
    session: Session,
    now: Tick,
    heard: bool,
    asked: bool,
    granted: bool,
    left: bool,
    closed: bool,
    requests: Vec<Request>,
    rooms: BTreeSet<RoomId>,
}

impl Watch {
    fn new() -> Self {
        let session = Session::new(ConnId(1), NodeId(0), Arc::new(SessionLimits::default()), Tick::default());
        let now = Tick::default();
        Self {
            session,
            now,
            heard: false,
            asked: false,
            granted: false,
            left: false,
            closed: false,
            requests: Vec::new(),
            rooms: BTreeSet::new(),
        }
    }

    fn input(&mut self, choice: u8, bytes: &mut impl Iterator<Item = u8>) -> Input {
        let mut byte = || bytes.next().unwrap_or(0);
        match choice % 16 {
            0 => Input::Verdict(Verdict::Granted(granted(byte()))),
            1 => Input::Verdict(Verdict::Refused {
                code: ErrorCode::RefusedToken,
                message: String::new(),
                cause: "none".into(),
            }),
            2 if !self.requests.is_empty() => {
                let request = self.requests.swap_remove(usize::from(byte()) % self.requests.len());
                Input::Reply(request.reply(Bytes::new()))
            }
            3 => Input::Push(Push { cmd: CmdId::C2C_PUSH, body: Bytes::new(), suffix: Suffix::version(1) }),
            4 if byte().is_multiple_of(8) => Input::Kick { reason: KickReason::GoingAway, retry_after: None },
            5 => {
                self.now = self.now + Duration::from_millis(u64::from(byte()) * 100);
                Input::Timeout
            }
            6 if byte().is_multiple_of(8) => Input::Malformed(FrameError::HeadTooShort { head_len: 1 }),
            7 => Input::Frame(frame(CmdId::AUTH, u32::from(byte()), auth(byte()))),
            8 => Input::Frame(frame(
                CmdId::PUSH_ACK,
                0,
                PushAck { version: i64::from(byte()), group: 0 }.encode_to_vec(),
            )),
            9 => {
                let request = RoomJoinRequest { room: room(byte()), leave: room(byte()) };
                Input::Frame(frame(CmdId::ROOM_JOIN, 1, request.encode_to_vec()))
            }
            10 => {
                let request = RoomLeaveRequest { room: room(byte()) };
                Input::Frame(frame(CmdId::ROOM_LEAVE, 1, request.encode_to_vec()))
            }
            11 => {
                let request = RoomSendRequest { room: room(byte()), ..RoomSendRequest::default() };
                Input::Frame(frame(CmdId::ROOM_SEND, 1, request.encode_to_vec()))
            }
            _ => {
                let cmd = [
                    CmdId::NOOP,
                    CmdId::SIGNALLING,
                    CmdId::AUTH,
                    CmdId::LOGOUT,
                    CmdId::C2C_SEND,
                    CmdId::C2C_PUSH,
                ]
                .get(usize::from(byte()) % 8)
                .copied()
                .unwrap_or(CmdId(u32::from(byte())));
                let seq = match byte() % 8 {
                    0 => Seq::NOOP.0,
                    1 => Seq::IDENTIFY.0,
                    2 => Seq::SIGNALLING.0,
                    seq => u32::from(seq) - 3,
                };
                let len = usize::from(byte() % 8);
                Input::Frame(frame(cmd, seq, bytes.take(len).collect()))
            }
        }
    }

    fn feed(&mut self, input: Input) {
        self.heard |= matches!(input, Input::Frame(_));
        let grants = self.asked && !self.closed && matches!(input, Input::Verdict(Verdict::Granted(_)));
        let mut effects = Vec::new();
        self.session.handle(self.now, input, &mut effects);
        self.granted |= grants;
        assert!(effects.len() <= 4, "few effects an input: {effects:?}");
        for effect in effects {
            self.check(effect);
        }
        assert_eq!(self.session.is_closed(), self.closed, "closed exactly if it said so");
        assert_eq!(self.session.next_deadline().is_none(), self.closed, "every wait has a deadline");
        assert!(!self.session.may_read(self.now) || !self.closed, "a closed link is not read");
    }

    fn check(&mut self, effect: Effect) {
        assert!(!self.closed, "nothing comes after the close: {effect:?}");
        match effect {
            Effect::Write(frame) => {
                assert!(self.heard, "nothing is sent before the first frame");
                assert_eq!(frame.client_version, 200);
            }
            Effect::Login(_) => {
                assert!(!self.asked, "one login a link");
                self.asked = true;
            }
            Effect::Request(request) => {
                assert!(self.granted && !self.left, "requests are a logged-in client's");
                assert_ne!(request.ticket.seq, Seq::PUSH, "a reply must not look like a push");
                self.requests.push(request);
            }
            Effect::Ack(_) => assert!(self.granted && !self.left),
            Effect::Enter(room) => {
                assert!(self.granted && !self.left, "members are logged in");
                assert!(self.rooms.insert(room), "a room is entered once");
            }
            Effect::Exit(room) => assert!(self.rooms.remove(&room), "only what was entered is left"),
            Effect::Leave(_) => {
                assert!(self.granted && !self.left, "one leave, after a grant");
                self.left = true;
            }
            Effect::Close(_) => {
                assert_eq!(self.granted, self.left, "whoever was in has left");
                self.closed = true;
            }
        }
    }
}

fn frame(cmd: CmdId, seq: u32, body: Vec<u8>) -> Frame {
    Frame { client_version: 200, cmd, seq: Seq(seq), body: body.into() }
}

/// One of a few rooms, or none.
fn room(choice: u8) -> String {
    "r".repeat(usize::from(choice % 20))
}

fn auth(choice: u8) -> Vec<u8> {
    let uid = "u".repeat(usize::from(choice % 80));
    let capabilities = if choice >= 128 { vec![NOOP_VERSION.to_owned()] } else { Vec::new() };
    let heartbeat_seconds = i32::from(choice) - 20;
    AuthRequest { uid, capabilities, heartbeat_seconds, ..AuthRequest::default() }.encode_to_vec()
}

fn granted(choice: u8) -> Granted {
    let expires_at = choice.is_multiple_of(2).then_some(Timestamp(i64::from(choice) * 100));
    Granted {
        head: Version(i64::from(choice)),
        server_time: Timestamp(5_000),
        epoch: StoreEpoch(0),
        expires_at,
        login: LoginEpoch(1),
    }
}
