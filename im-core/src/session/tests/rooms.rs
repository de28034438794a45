use im_proto::v1::{RoomJoinRequest, RoomJoinResponse, RoomLeaveRequest, RoomPush, RoomSendRequest};

use super::*;

fn join(link: &mut Link, seq: u32, room: &str, leave: &str) -> Vec<Effect> {
    let request = RoomJoinRequest { room: room.into(), leave: leave.into() };
    link.frame(CmdId::ROOM_JOIN, seq, request)
}

fn let_in(link: &mut Link, room: &str, leave: &str) -> Vec<Effect> {
    let effects = join(link, 2, room, leave);
    let [Effect::Request(request)] = &effects[..] else { panic!("{effects:?}") };
    let answer = RoomJoinResponse { members: 4, ..RoomJoinResponse::default() };
    link.handle(Input::Reply(request.reply(answer.encode_to_vec().into())))
}

fn room(name: &str) -> RoomId {
    RoomId::new(name).unwrap()
}

fn say(link: &mut Link, room: &str) -> Vec<Effect> {
    link.frame(CmdId::ROOM_SEND, 9, RoomSendRequest { room: room.into(), ..RoomSendRequest::default() })
}

#[test]
fn a_link_that_is_let_into_a_room_is_answered_and_then_enters() {
    let mut link = Link::ready();
    let answer = RoomJoinResponse { members: 4, ..RoomJoinResponse::default() };
    let answered = written(CmdId::ROOM_JOIN, 2, answer);
    assert_eq!(let_in(&mut link, "a", ""), [answered.clone(), Effect::Enter(room("a"))]);
    assert_eq!(let_in(&mut link, "a", ""), std::slice::from_ref(&answered));
    let switched = [answered, Effect::Exit(room("a")), Effect::Enter(room("b"))];
    assert_eq!(let_in(&mut link, "b", "a"), switched);
    assert!(matches!(say(&mut link, "b")[..], [Effect::Request(_)]));
    assert_eq!(say(&mut link, "a"), [written(CmdId::ROOM_SEND, 9, refusal(ErrorCode::Forbidden))]);
}

#[test]
fn a_link_that_is_not_let_in_stays_where_it_was() {
    let mut link = Link::ready();
    let_in(&mut link, "a", "");
    let effects = join(&mut link, 3, "b", "a");
    let [Effect::Request(request)] = &effects[..] else { panic!("{effects:?}") };
    let refused = written(CmdId::ROOM_JOIN, 3, refusal(ErrorCode::Forbidden));
    assert_eq!(link.handle(Input::Reply(request.refuse(ErrorCode::Forbidden))), [refused]);
    assert!(matches!(say(&mut link, "a")[..], [Effect::Request(_)]));
}

#[test]
fn a_link_that_waits_to_be_let_in_is_not_read() {
    let mut link = Link::ready();
    let effects = join(&mut link, 2, "a", "");
    assert!(!link.session.may_read(link.now));
    let second = join(&mut link, 3, "b", "");
    assert_eq!(second, [written(CmdId::ROOM_JOIN, 3, refusal(ErrorCode::Unavailable))]);
    let [Effect::Request(request)] = &effects[..] else { panic!("{effects:?}") };
    link.handle(Input::Reply(request.refuse(ErrorCode::Unavailable)));
    assert!(link.session.may_read(link.now));
}

#[test]
fn a_link_leaves_a_room_at_once_and_the_use_cases_hear_of_it() {
    let mut link = Link::ready();
    let_in(&mut link, "a", "");
    let leave = RoomLeaveRequest { room: "a".into() };
    let effects = link.frame(CmdId::ROOM_LEAVE, 3, leave.clone());
    assert!(matches!(&effects[..], [Effect::Exit(left), Effect::Request(_)] if *left == room("a")));
    assert!(matches!(link.frame(CmdId::ROOM_LEAVE, 4, leave)[..], [Effect::Request(_)]));
}

#[test]
fn a_link_is_in_so_many_rooms_and_no_more() {
    let mut link = Link::with(SessionLimits { rooms: 2, ..SessionLimits::default() });
    link.log_in(AuthRequest::default(), granted());
    let_in(&mut link, "a", "");
    let_in(&mut link, "b", "");
    let too_many = [written(CmdId::ROOM_JOIN, 3, refusal(ErrorCode::TooMany))];
    assert_eq!(join(&mut link, 3, "c", ""), too_many);
    assert_eq!(join(&mut link, 3, "c", "not in it"), too_many);
    assert_eq!(let_in(&mut link, "c", "a").len(), 3);
    assert_eq!(let_in(&mut link, "b", "").len(), 1, "where it is already it may join again");
}

#[test]
fn a_link_that_was_kicked_enters_nothing_any_more() {
    let mut link = Link::ready();
    let effects = join(&mut link, 2, "a", "");
    let [Effect::Request(request)] = &effects[..] else { panic!("{effects:?}") };
    link.handle(Input::Kick { reason: KickReason::GoingAway, retry_after: None });
    let effects = link.handle(Input::Reply(request.reply(Bytes::new())));
    let closed = Effect::Close(CloseReason::Kicked(KickReason::GoingAway));
    assert_eq!(effects, [empty(CmdId::ROOM_JOIN, 2), closed]);
    assert_eq!(link.session.push_version(), None);
}

#[test]
fn what_a_link_missed_of_a_room_is_a_push_without_a_message() {
    let link = Link::ready();
    let body = RoomPush { room: "a".into(), missed: 12, ..RoomPush::default() };
    let frame = link.session.missed(&room("a"), 12).unwrap();
    assert_eq!(Effect::Write(frame), written(CmdId::ROOM_PUSH, 0, body));
    assert_eq!(Link::new().session.missed(&room("a"), 12), None);
}
