use bytes::Bytes;
use im_proto::v1::{
    RoomJoinRequest, RoomJoinResponse, RoomLeaveResponse, RoomPush, RoomSendRequest, RoomSendResponse,
};
use im_proto::{CmdId, ErrorCode, Frame};
use prost::Message;

use super::bench::{Bench, commands, only_write, pushed, uid, writes};
use crate::client::{Effect, Heard, Input, RoomAction, RoomEvent, Saying};
use crate::id::{ClientMsgId, MsgId, RoomId};
use crate::message::ContentType;
use crate::time::Timestamp;

fn room(name: &str) -> RoomId {
    RoomId::new(name).unwrap()
}

fn id(name: &str) -> ClientMsgId {
    ClientMsgId::new(name).unwrap()
}

impl Bench {
    fn join(&mut self, to: &str, leave: Option<&str>) -> Vec<Effect> {
        self.give(Input::Room(RoomAction::Join { room: room(to), leave: leave.map(room) }))
    }

    fn say(&mut self, to: &str, name: &str) -> Vec<Effect> {
        let content = Bytes::from_static(b"hi");
        let saying =
            Saying { room: room(to), client_msg_id: id(name), content_type: ContentType(0), content };
        self.give(Input::Room(RoomAction::Say(saying)))
    }

    fn let_in(&mut self, join: &Frame) -> Vec<Effect> {
        self.reply(join, &RoomJoinResponse { members: 3, ..Default::default() })
    }

    fn refuse(&mut self, join: &Frame, code: ErrorCode) -> Vec<Effect> {
        self.reply(join, &RoomJoinResponse { err_code: code.code(), ..Default::default() })
    }

    fn inside(name: &str) -> Self {
        let mut bench = Self::ready();
        let join = only_write(&bench.join(name, None));
        bench.let_in(&join);
        bench
    }

    fn hears(&mut self, push: &RoomPush) -> Vec<Effect> {
        self.give(Input::Frame(pushed(CmdId::ROOM_PUSH, push)))
    }
}

fn joined(name: &str) -> Effect {
    Effect::Room(RoomEvent::Joined { room: room(name), members: 3 })
}

fn left(name: &str) -> Effect {
    Effect::Room(RoomEvent::Left(room(name)))
}

fn unsaid(name: &str) -> Effect {
    Effect::Room(RoomEvent::Unsaid { client_msg_id: id(name), code: None })
}

fn asked(frame: &Frame) -> (String, String) {
    assert_eq!(frame.cmd, CmdId::ROOM_JOIN);
    let request = RoomJoinRequest::decode(frame.body.clone()).unwrap();
    (request.room, request.leave)
}

#[test]
fn a_room_is_entered_and_what_is_said_there_is_heard() {
    let mut bench = Bench::ready();
    let join = only_write(&bench.join("a", None));
    assert_eq!(asked(&join), ("a".to_owned(), String::new()));
    assert_eq!(bench.let_in(&join), [joined("a")]);
    let push = RoomPush {
        from: "bob".into(),
        room: "a".into(),
        content: "hi".into(),
        msgid: 7,
        timestamp: 8,
        content_type: 2,
        client_msg_id: "k".into(),
        ..Default::default()
    };
    let heard = Heard {
        room: room("a"),
        from: uid("bob"),
        msgid: MsgId(7),
        sent_at: Timestamp(8),
        content_type: ContentType(2),
        content: "hi".into(),
        client_msg_id: Some(id("k")),
    };
    assert_eq!(bench.hears(&push), [Effect::Room(RoomEvent::Heard(heard))]);
    let missed = RoomPush { room: "a".into(), missed: 5, ..Default::default() };
    assert_eq!(bench.hears(&missed), [Effect::Room(RoomEvent::Missed { room: room("a"), messages: 5 })]);
    assert_eq!(bench.hears(&RoomPush { room: "b".into(), ..push }), [], "not a room that it is in");
}

#[test]
fn what_is_said_is_answered_and_may_follow_the_join_at_once() {
    let mut bench = Bench::ready();
    let join = only_write(&bench.join("a", None));
    let say = only_write(&bench.say("a", "1"));
    let request = RoomSendRequest::decode(say.body.clone()).unwrap();
    assert_eq!(
        (request.room.as_str(), &request.content[..], request.client_msg_id.as_str()),
        ("a", &b"hi"[..], "1")
    );
    bench.let_in(&join);
    let answer = RoomSendResponse { msgid: 7, members: 2, ..Default::default() };
    let said = RoomEvent::Said { client_msg_id: id("1"), msgid: MsgId(7), members: 2 };
    assert_eq!(bench.reply(&say, &answer), [Effect::Room(said)]);
    let say = only_write(&bench.say("a", "2"));
    let refused = RoomSendResponse { err_code: 3, ..Default::default() };
    let code = Some(ErrorCode::Forbidden);
    let unsaid = RoomEvent::Unsaid { client_msg_id: id("2"), code };
    assert_eq!(bench.reply(&say, &refused), [Effect::Room(unsaid)]);
}

#[test]
fn rooms_are_changed_in_one_step_and_left() {
    let mut bench = Bench::inside("a");
    let join = only_write(&bench.join("b", Some("a")));
    assert_eq!(asked(&join), ("b".to_owned(), "a".to_owned()));
    assert_eq!(bench.let_in(&join), [left("a"), joined("b")]);
    assert_eq!(bench.say("a", "1"), [unsaid("1")]);
    let leave = only_write(&bench.give(Input::Room(RoomAction::Leave(room("b")))));
    assert_eq!(leave.cmd, CmdId::ROOM_LEAVE);
    assert_eq!(bench.reply(&leave, &RoomLeaveResponse::default()), [left("b")]);
    assert_eq!(bench.say("b", "2"), [unsaid("2")]);
}

#[test]
fn after_a_lost_link_rooms_are_entered_again_and_what_was_in_flight_is_given_up() {
    let mut bench = Bench::inside("a");
    bench.say("a", "1");
    let effects = bench.give(Input::Disconnected);
    assert!(matches!(&effects[..], [lost, Effect::Offline { .. }] if *lost == unsaid("1")), "{effects:?}");
    assert_eq!(bench.say("a", "2"), [unsaid("2")]);
    bench.wait();
    let effects = bench.log_in(0);
    let join = writes(&effects).pop().unwrap();
    assert_eq!(asked(&join).0, "a");
    assert_eq!(bench.let_in(&join), [joined("a")]);
}

#[test]
fn a_room_that_was_chosen_without_a_link_is_entered_at_login() {
    let mut bench = Bench::inside("a");
    bench.give(Input::Disconnected);
    assert_eq!(bench.join("b", Some("a")), [left("a")]);
    bench.wait();
    let joins: Vec<_> = writes(&bench.log_in(0)).iter().map(asked).collect();
    assert_eq!(joins, [("b".to_owned(), String::new())]);
}

#[test]
fn a_refusal_is_final_and_a_room_that_cannot_be_entered_for_now_is_tried_again() {
    let mut bench = Bench::ready();
    let join = only_write(&bench.join("a", None));
    let refused = RoomEvent::Refused { room: room("a"), code: Some(ErrorCode::Forbidden) };
    assert_eq!(bench.refuse(&join, ErrorCode::Forbidden), [Effect::Room(refused)]);
    let join = only_write(&bench.join("b", None));
    assert_eq!(bench.refuse(&join, ErrorCode::Unavailable), []);
    assert_eq!(bench.say("b", "1"), [unsaid("1")]);
    let again = bench.wait();
    assert_eq!(commands(&again), [CmdId::ROOM_JOIN]);
    assert_eq!(bench.let_in(&only_write(&again)), [joined("b")]);
}

#[test]
fn a_client_that_changes_its_mind_stays_where_it_wanted_to_be_last() {
    let mut bench = Bench::inside("a");
    let there = only_write(&bench.join("b", Some("a")));
    let back = only_write(&bench.join("a", None));
    assert_eq!(bench.let_in(&there), [left("a"), joined("b")]);
    assert_eq!(bench.let_in(&back), [joined("a")]);
    assert!(
        bench.hears(&RoomPush { from: "bob".into(), room: "a".into(), ..RoomPush::default() }).len() == 1
    );
}
