#![allow(clippy::unwrap_used)]

mod rooms;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use im_proto::v1::{AuthRequest, AuthResponse, ErrorResponse, Kickout, LogoutRequest, MsgidAck, PushAck};
use im_proto::{CmdId, ErrorCode, Frame, OutFrame, Seq, Suffix};
use prost::Message as _;

use super::*;
use crate::time::Tick;

const CONN: ConnId = ConnId(7);
const VERSION: u32 = 200;

/// A session with a clock that the test moves.
struct Link {
    session: Session,
    now: Tick,
}

impl Link {
    fn new() -> Self {
        Self::with(SessionLimits::default())
    }

    fn with(limits: SessionLimits) -> Self {
        let now = Tick::from_millis(0);
        Self { session: Session::new(CONN, NodeId(1), Arc::new(limits), now), now }
    }

    fn ready() -> Self {
        let mut link = Self::new();
        link.log_in(AuthRequest::default(), granted());
        link
    }

    fn handle(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.session.handle(self.now, input, &mut effects);
        effects
    }

    fn frame(&mut self, cmd: CmdId, seq: u32, body: impl prost::Message) -> Vec<Effect> {
        let body = body.encode_to_vec().into();
        self.handle(Input::Frame(Frame { client_version: VERSION, cmd, seq: Seq(seq), body }))
    }

    fn log_in(&mut self, request: AuthRequest, granted: Granted) -> Vec<Effect> {
        let request = AuthRequest { uid: "alice".into(), token: "t".into(), ..request };
        let asked = self.frame(CmdId::AUTH, 1, request);
        assert!(matches!(asked[..], [Effect::Login(_)]), "{asked:?}");
        self.handle(Input::Verdict(Verdict::Granted(granted)))
    }

    fn after(&mut self, time: Duration) -> Vec<Effect> {
        self.now = self.now + time;
        self.handle(Input::Timeout)
    }
}

fn granted() -> Granted {
    Granted {
        head: Version(5),
        server_time: Timestamp(1_000),
        epoch: StoreEpoch(3),
        expires_at: None,
        login: crate::id::LoginEpoch(7),
    }
}

fn caller() -> Arc<Caller> {
    Arc::new(Caller {
        uid: Uid::new("alice").unwrap(),
        device: DeviceId::default(),
        device_type: DeviceType::UNSPECIFIED,
        conn: CONN,
        node: NodeId(1),
    })
}

fn written(cmd: CmdId, seq: u32, body: impl prost::Message) -> Effect {
    Effect::Write(OutFrame {
        client_version: VERSION,
        cmd,
        seq: Seq(seq),
        body: body.encode_to_vec().into(),
        suffix: Suffix::NONE,
    })
}

fn empty(cmd: CmdId, seq: u32) -> Effect {
    written(cmd, seq, ())
}

fn refusal(code: ErrorCode) -> ErrorResponse {
    ErrorResponse { err_code: code.code(), err_msg: code.to_string() }
}

#[test]
fn a_client_logs_in_and_learns_its_head() {
    let mut link = Link::new();
    let effects = link.log_in(AuthRequest::default(), granted());
    let response = AuthResponse { version: 5, server_time: 1_000, epoch: 3, ..AuthResponse::default() };
    assert_eq!(effects, [written(CmdId::AUTH, 1, response)]);
    assert_eq!(link.session.caller(), Some(&caller()));
}

#[test]
fn only_capabilities_that_exist_are_granted() {
    let mut link = Link::new();
    let request =
        AuthRequest { capabilities: vec!["x".into(), NOOP_VERSION.into()], ..AuthRequest::default() };
    let effects = link.log_in(request, granted());
    let response = AuthResponse {
        version: 5,
        server_time: 1_000,
        epoch: 3,
        capabilities: vec![NOOP_VERSION.into()],
        ..AuthResponse::default()
    };
    assert_eq!(effects, [written(CmdId::AUTH, 1, response)]);
}

#[test]
fn an_auth_through_the_identify_number_is_answered_with_it() {
    let mut link = Link::new();
    let request = AuthRequest { uid: "alice".into(), ..AuthRequest::default() };
    link.frame(CmdId::AUTH, Seq::IDENTIFY.0, request);
    let effects = link.handle(Input::Verdict(Verdict::Granted(granted())));
    assert!(matches!(&effects[..], [Effect::Write(frame)] if frame.seq == Seq::IDENTIFY));
}

#[test]
fn a_refused_auth_is_answered_and_then_the_link_closes() {
    let mut link = Link::new();
    link.frame(CmdId::AUTH, 3, AuthRequest { uid: "alice".into(), ..AuthRequest::default() });
    let verdict =
        Verdict::Refused { code: ErrorCode::RefusedToken, message: "no".into(), cause: "forged".into() };
    let effects = link.handle(Input::Verdict(verdict));
    let response = AuthResponse { status: -1, err_code: 2, err_msg: "no".into(), ..AuthResponse::default() };
    assert_eq!(effects, [written(CmdId::AUTH, 3, response), Effect::Close(CloseReason::Refused)]);
}

#[test]
fn an_auth_that_cannot_be_anybodys_is_refused_with_the_reason() {
    let long = || "x".repeat(65);
    let wrong = [
        (AuthRequest::default(), "uid: an id of this kind must not be empty"),
        (
            AuthRequest { uid: long(), ..AuthRequest::default() },
            "uid: an id of 65 bytes is longer than the 64 allowed",
        ),
        (
            AuthRequest { uid: "alice".into(), device_id: long(), ..AuthRequest::default() },
            "device_id: an id of 65 bytes is longer than the 64 allowed",
        ),
    ];
    for (request, why) in wrong {
        let effects = Link::new().frame(CmdId::AUTH, 3, request);
        let response =
            AuthResponse { status: -1, err_code: 2, err_msg: why.into(), ..AuthResponse::default() };
        let [answer, Effect::Close(reason)] = &effects[..] else { panic!("{effects:?}") };
        assert_eq!((answer, reason.to_string()), (&written(CmdId::AUTH, 3, response), why.to_owned()));
    }
}

#[test]
fn an_auth_that_does_not_decode_is_answered_and_closes() {
    let mut link = Link::new();
    let body = Bytes::from_static(&[0xff]);
    let effects =
        link.handle(Input::Frame(Frame { client_version: VERSION, cmd: CmdId::AUTH, seq: Seq(3), body }));
    let [Effect::Write(frame), Effect::Close(CloseReason::UndecodableAuth)] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(AuthResponse::decode(frame.body.clone()).unwrap().err_code, 1);
}

#[test]
fn before_auth_noop_is_echoed_and_any_other_command_closes() {
    let mut link = Link::new();
    assert_eq!(link.frame(CmdId::NOOP, Seq::NOOP.0, ()), [empty(CmdId::NOOP, Seq::NOOP.0)]);
    let effects = link.frame(CmdId::PULL, 2, ());
    assert_eq!(effects, [Effect::Close(CloseReason::BeforeAuth(1010))]);
}

#[test]
fn a_command_that_does_not_wait_for_the_verdict_closes() {
    let mut link = Link::new();
    link.frame(CmdId::AUTH, 1, AuthRequest { uid: "alice".into(), ..AuthRequest::default() });
    let effects = link.frame(CmdId::C2C_SEND, 2, ());
    assert_eq!(effects, [Effect::Close(CloseReason::BeforeAuth(1006))]);
    assert_eq!(link.handle(Input::Verdict(Verdict::Granted(granted()))), []);
}

#[test]
fn a_reserved_number_with_another_command_closes() {
    let wrong = [
        (CmdId::PULL, Seq::NOOP),
        (CmdId::PULL, Seq::IDENTIFY),
        (CmdId::NOOP, Seq::SIGNALLING),
        (CmdId::C2C_SEND, Seq::PUSH),
        (CmdId::NOOP, Seq::PUSH),
    ];
    for (cmd, seq) in wrong {
        let mut link = Link::ready();
        let effects = link.frame(cmd, seq.0, ());
        let reason = CloseReason::ReservedSeq { seq: seq.0, cmd: cmd.0 };
        assert_eq!(effects, [Effect::Leave(caller()), Effect::Close(reason)]);
    }
}

#[test]
fn signalling_keeps_the_link_alive_and_is_not_answered() {
    let mut link = Link::ready();
    link.now = Tick::from_millis(600_000);
    assert_eq!(link.frame(CmdId::SIGNALLING, Seq::SIGNALLING.0, ()), []);
    assert_eq!(link.session.next_deadline(), Some(Tick::from_millis(1_230_000)));
}

#[test]
fn a_noop_is_echoed_or_for_clients_that_asked_goes_to_the_use_cases() {
    let mut link = Link::ready();
    assert_eq!(link.frame(CmdId::NOOP, Seq::NOOP.0, ()), [empty(CmdId::NOOP, Seq::NOOP.0)]);

    let mut link = Link::new();
    let request = AuthRequest { capabilities: vec![NOOP_VERSION.into()], ..AuthRequest::default() };
    link.log_in(request, granted());
    let effects = link.frame(CmdId::NOOP, Seq::NOOP.0, ());
    assert!(matches!(&effects[..], [Effect::Request(request)] if request.ticket.cmd == CmdId::NOOP));
}

#[test]
fn a_reply_carries_what_its_own_request_carried() {
    let mut link = Link::ready();
    let frame = Frame { client_version: 7, cmd: CmdId(5000), seq: Seq(9), body: Bytes::from_static(b"q") };
    let effects = link.handle(Input::Frame(frame));
    let [Effect::Request(request)] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(request.body, &b"q"[..]);
    link.frame(CmdId(5000), 10, ());
    let effects = link.handle(Input::Reply(request.reply(Bytes::from_static(b"a"))));
    let [Effect::Write(frame)] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((frame.client_version, frame.cmd, frame.seq), (7, CmdId(5000), Seq(9)));
}

#[test]
fn a_refusal_answers_its_request_with_the_code_and_its_words() {
    let ticket = Ticket { cmd: CmdId(2_000), seq: Seq(7), client_version: 200, weight: 64 };
    let request = Request { caller: caller(), ticket, told: Version::ZERO, body: Bytes::new() };
    let reply = request.refuse(ErrorCode::NotFound);
    assert_eq!((reply.conn, reply.ticket), (request.caller.conn, ticket));
    assert_eq!(ErrorResponse::decode(reply.body).unwrap(), refusal(ErrorCode::NotFound));
}

#[test]
fn a_push_carries_number_zero_and_the_last_client_version() {
    let mut link = Link::ready();
    let frame =
        Frame { client_version: 201, cmd: CmdId::SIGNALLING, seq: Seq::SIGNALLING, body: Bytes::new() };
    link.handle(Input::Frame(frame));
    let push = Push { cmd: CmdId::C2C_PUSH, body: Bytes::from_static(b"b"), suffix: Suffix::version(4) };
    let effects = link.handle(Input::Push(push));
    let [Effect::Write(frame)] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((frame.client_version, frame.seq, frame.suffix), (201, Seq::PUSH, Suffix::version(4)));
}

#[test]
fn a_request_says_the_greatest_version_that_its_link_was_told() {
    let mut link = Link::ready();
    let mut asks = |input: Option<Input>| {
        input.map(|input| link.handle(input));
        let [Effect::Request(request)] = &link.frame(CmdId::PULL, 9, ())[..] else { panic!("no request") };
        request.clone()
    };
    let push = |version| {
        let suffix = Suffix::version(version);
        Some(Input::Push(Push { cmd: CmdId::C2C_PUSH, body: Bytes::from_static(b"b"), suffix }))
    };
    assert_eq!(asks(None).told, Version(5), "the head at auth");
    let request = asks(push(9));
    assert_eq!(request.told, Version(9), "a push");
    assert_eq!(asks(push(7)).told, Version(9), "an older push");
    let reply = |told| Some(Input::Reply(Reply { told: Version(told), ..request.reply(Bytes::new()) }));
    assert_eq!(asks(reply(12)).told, Version(12), "a reply");
    assert_eq!(asks(reply(0)).told, Version(12), "a reply that says nothing of it");
}

#[test]
fn a_push_before_auth_is_dropped() {
    let mut link = Link::new();
    let push = Push { cmd: CmdId::C2C_PUSH, body: Bytes::new(), suffix: Suffix::NONE };
    assert_eq!(link.handle(Input::Push(push)), []);
}

#[test]
fn acknowledgements_come_as_a_version_or_as_the_answer_to_a_push() {
    let mut link = Link::ready();
    let own = TimelineId::User(Uid::new("alice").unwrap());
    let up_to = link.frame(CmdId::PUSH_ACK, 4, PushAck { version: 9, group: 0 });
    assert_eq!(up_to, [Effect::Ack(Ack { caller: caller(), of: Acked::UpTo(own, Version(9)) })]);
    let one = link.frame(CmdId::C2C_PUSH, 0, MsgidAck { msgid: 77 });
    assert_eq!(one, [Effect::Ack(Ack { caller: caller(), of: Acked::Message(MsgId(77)) })]);
}

#[test]
fn an_undecodable_body_is_answered_and_the_link_stays() {
    let mut link = Link::ready();
    let junk = Bytes::from_static(&[0xff; 3]);
    let frame =
        |cmd, seq| Input::Frame(Frame { client_version: VERSION, cmd, seq: Seq(seq), body: junk.clone() });
    let answer = written(CmdId::PUSH_ACK, 4, refusal(ErrorCode::UndecodableBody));
    assert_eq!(link.handle(frame(CmdId::PUSH_ACK, 4)), [answer]);
    assert_eq!(link.handle(frame(CmdId::C2C_PUSH, 0)), [], "an answer would look like a push");
    let answer = written(CmdId::LOGOUT, 5, refusal(ErrorCode::UndecodableBody));
    assert_eq!(link.handle(frame(CmdId::LOGOUT, 5)), [answer]);
    assert!(link.session.caller().is_some());
}

#[test]
fn a_logout_is_acknowledged_and_the_route_removed() {
    let mut link = Link::ready();
    let foreign = LogoutRequest { uid: "bob".into(), ..LogoutRequest::default() };
    let refused = written(CmdId::LOGOUT, 4, refusal(ErrorCode::Forbidden));
    assert_eq!(link.frame(CmdId::LOGOUT, 4, foreign), [refused]);
    let effects = link.frame(CmdId::LOGOUT, 5, LogoutRequest::default());
    let expected = [empty(CmdId::LOGOUT, 5), Effect::Leave(caller()), Effect::Close(CloseReason::LoggedOut)];
    assert_eq!(effects, expected);
}

#[test]
fn a_second_auth_closes() {
    let mut link = Link::ready();
    let effects = link.frame(CmdId::AUTH, 2, AuthRequest { uid: "bob".into(), ..AuthRequest::default() });
    assert!(matches!(
        &effects[..],
        [Effect::Write(_), Effect::Leave(_), Effect::Close(CloseReason::SecondAuth)]
    ));
}

#[test]
fn a_kicked_link_says_why_and_closes_at_once_when_nothing_is_in_flight() {
    let mut link = Link::ready();
    let kick = Input::Kick { reason: KickReason::LoggedInElsewhere, retry_after: None };
    let effects = link.handle(kick);
    let reason = CloseReason::Kicked(KickReason::LoggedInElsewhere);
    let expected =
        [written(CmdId::KICKOUT, 0, Kickout::default()), Effect::Leave(caller()), Effect::Close(reason)];
    assert_eq!(effects, expected);
}

#[test]
fn a_kicked_link_waits_a_bounded_time_for_replies() {
    let mut link = Link::ready();
    let effects = link.frame(CmdId(5000), 2, ());
    let [Effect::Request(request)] = &effects[..] else { panic!("{effects:?}") };
    let retry_after = Some(Duration::from_millis(250));
    let effects = link.handle(Input::Kick { reason: KickReason::GoingAway, retry_after });
    let body = Kickout { reason: 3, retry_after_ms: 250 };
    assert_eq!(effects, [written(CmdId::KICKOUT, 0, body), Effect::Leave(caller())]);
    assert_eq!(link.frame(CmdId(5000), 3, ()), [], "no more requests are taken");

    let mut late = Link { session: clone_of_draining(), now: link.now };
    let closed = Effect::Close(CloseReason::Kicked(KickReason::GoingAway));
    assert_eq!(late.after(Duration::from_secs(3)), std::slice::from_ref(&closed));

    let effects = link.handle(Input::Reply(request.reply(Bytes::new())));
    assert_eq!(effects, [empty(CmdId(5000), 2), closed]);
}

/// Another session in the state that the test above has reached.
fn clone_of_draining() -> Session {
    let mut link = Link::ready();
    link.frame(CmdId(5000), 2, ());
    link.handle(Input::Kick { reason: KickReason::GoingAway, retry_after: None });
    link.session
}

#[test]
fn a_kick_before_the_first_frame_sends_nothing() {
    let mut link = Link::new();
    let effects = link.handle(Input::Kick { reason: KickReason::GoingAway, retry_after: None });
    assert_eq!(effects, [Effect::Close(CloseReason::Kicked(KickReason::GoingAway))]);
}

#[test]
fn a_link_that_does_not_authenticate_in_time_closes() {
    let mut link = Link::new();
    assert_eq!(link.after(Duration::from_secs(9)), []);
    assert_eq!(link.after(Duration::from_secs(1)), [Effect::Close(CloseReason::AuthDeadline)]);
    assert_eq!(link.session.next_deadline(), None);
}

#[test]
fn a_login_that_is_not_answered_in_time_is_told_to_try_again() {
    let mut link = Link::new();
    link.frame(CmdId::AUTH, 1, AuthRequest { uid: "alice".into(), ..AuthRequest::default() });
    let effects = link.after(Duration::from_secs(10));
    let [Effect::Write(answer), Effect::Close(CloseReason::AuthDeadline)] = &effects[..] else {
        panic!("{effects:?}")
    };
    let answer = AuthResponse::decode(answer.body.clone()).unwrap();
    assert_eq!((answer.status, answer.err_code), (-1, ErrorCode::Unavailable.code()));
}

#[test]
fn an_idle_link_closes_after_the_limit_that_its_heartbeat_gives() {
    let mut link = Link::new();
    link.log_in(AuthRequest { heartbeat_seconds: 60, ..AuthRequest::default() }, granted());
    assert_eq!(link.after(Duration::from_secs(99)), []);
    assert_eq!(
        link.after(Duration::from_secs(1)),
        [Effect::Leave(caller()), Effect::Close(CloseReason::Idle)]
    );
}

#[test]
fn a_token_that_ends_kicks_the_link() {
    let mut link = Link::new();
    let granted = Granted { expires_at: Some(Timestamp(3_000)), ..granted() };
    link.log_in(AuthRequest::default(), granted);
    assert_eq!(link.session.next_deadline(), Some(Tick::from_millis(2_000)));
    let effects = link.after(Duration::from_secs(2));
    assert_eq!(effects[0], written(CmdId::KICKOUT, 0, Kickout { reason: 2, ..Kickout::default() }));
    assert_eq!(effects.last(), Some(&Effect::Close(CloseReason::Kicked(KickReason::TokenEnded))));
}

#[test]
fn a_link_with_too_much_in_flight_is_not_read_until_replies_come() {
    let mut link = Link::with(SessionLimits { requests_in_flight: 2, ..SessionLimits::default() });
    link.log_in(AuthRequest::default(), granted());
    link.frame(CmdId(5000), 2, ());
    assert!(link.session.may_read(link.now));
    let effects = link.frame(CmdId(5000), 3, ());
    assert!(!link.session.may_read(link.now));
    let [Effect::Request(request)] = &effects[..] else { panic!("{effects:?}") };
    link.handle(Input::Reply(request.reply(Bytes::new())));
    assert!(link.session.may_read(link.now));
}

#[test]
fn a_link_over_its_rate_is_not_read_for_a_while() {
    let limits = SessionLimits { frames_per_second: 10, burst: 2, ..SessionLimits::default() };
    let mut link = Link::with(limits);
    link.log_in(AuthRequest::default(), granted());
    link.frame(CmdId::NOOP, Seq::NOOP.0, ());
    assert!(link.session.may_read(link.now));
    link.frame(CmdId::NOOP, Seq::NOOP.0, ());
    assert!(!link.session.may_read(link.now));
    let again = link.session.next_read(link.now).unwrap();
    assert!(link.session.may_read(again));
}

#[test]
fn a_link_without_a_login_is_read_slowly_and_one_with_it_is_not() {
    let limits = SessionLimits { burst_before_auth: 3, ..SessionLimits::default() };
    let mut link = Link::with(limits);
    for _ in 0..3 {
        assert!(link.session.may_read(link.now));
        link.frame(CmdId::NOOP, Seq::NOOP.0, ());
    }
    assert!(!link.session.may_read(link.now));
    link.log_in(AuthRequest::default(), granted());
    assert!(link.session.may_read(link.now));
}

#[test]
fn a_link_that_is_gone_leaves_once() {
    let mut link = Link::ready();
    assert_eq!(link.handle(Input::Gone), [Effect::Leave(caller()), Effect::Close(CloseReason::Gone)]);
    assert_eq!(link.handle(Input::Gone), []);
    assert_eq!(link.after(Duration::from_secs(3_600)), []);
}
