use im_proto::v1::{
    RoomJoinRequest, RoomJoinResponse, RoomLeaveRequest, RoomPush, RoomSendRequest, RoomSendResponse,
};

use super::bench::*;
use crate::router::Delivery;

fn join(caller: &Arc<Caller>, room: &str, leave: &str) -> Request {
    let body = RoomJoinRequest { room: room.into(), leave: leave.into() };
    request(caller, CmdId::ROOM_JOIN, 1, &body)
}

fn say(caller: &Arc<Caller>, seq: u32, text: &str) -> Request {
    let body = RoomSendRequest { room: "a".into(), content: text.to_owned().into(), ..Default::default() };
    request(caller, CmdId::ROOM_SEND, seq, &body)
}

fn members(bench: &mut Bench, caller: &Arc<Caller>, room: &str, leave: &str) -> i64 {
    bench.ask::<RoomJoinResponse>(join(caller, room, leave)).members
}

/// What the bus carried to rooms.
fn parcels(bench: &mut Bench) -> Vec<Delivery> {
    bench.pool.run_until_stalled();
    let mut parcels = Vec::new();
    while let Some(Some(batch)) = bench.arrives.next().now_or_never() {
        parcels.extend(batch);
    }
    parcels
}

#[test]
fn a_word_crosses_the_bus_once_however_many_members_there_are() {
    let mut bench = Bench::new();
    let links = ["alice", "bob", "carol"].map(|name| bench.log_in(name));
    let counts = links.each_ref().map(|link| members(&mut bench, link, "a", ""));
    assert_eq!(counts, [1, 2, 3]);
    let replies = bench.turn(vec![say(&links[0], 1, "one"), say(&links[0], 2, "two")]);
    let answers = replies.into_iter().map(|reply| RoomSendResponse::decode(reply.body).unwrap());
    assert!(answers.into_iter().all(|answer| (answer.err_code, answer.members) == (0, 2)));
    let parcels = parcels(&mut bench);
    let words: Vec<_> = parcels
        .iter()
        .map(|delivery| match &delivery.parcel {
            Parcel::Room(room, push) => {
                assert_eq!((delivery.conn, room.as_str()), (links[0].conn, "a"));
                RoomPush::decode(push.body.clone()).unwrap().content
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(words, ["one", "two"]);
}

#[test]
fn nothing_crosses_the_bus_for_a_room_without_members() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    assert_eq!(bench.ask::<RoomSendResponse>(say(&alice, 1, "anybody?")).members, 0);
    assert_eq!(parcels(&mut bench), []);
}

#[test]
fn a_leave_and_a_join_of_one_turn_keep_their_order() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    members(&mut bench, &alice, "a", "");
    let leave = request(&alice, CmdId::ROOM_LEAVE, 0, &RoomLeaveRequest { room: "a".into() });
    let replies = bench.turn(vec![leave, join(&alice, "a", "")]);
    assert_eq!(RoomJoinResponse::decode(replies[1].body.clone()).unwrap().members, 1);
    let bob = bench.log_in("bob");
    assert_eq!(members(&mut bench, &bob, "a", ""), 2);
    assert_eq!(members(&mut bench, &alice, "b", "a"), 1);
    assert_eq!(members(&mut bench, &bob, "b", ""), 2);
}

#[test]
fn a_link_that_goes_before_it_is_let_in_is_not_counted() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    let entering = bench.logic.serve(Turn { requests: vec![join(&alice, "a", "")], ..Turn::default() });
    let leaving = bench.logic.serve(Turn { leaves: vec![alice], ..Turn::default() });
    let groups = leaving.into_iter().chain(entering);
    let replies: Vec<Reply> =
        bench.pool.run_until(futures::future::join_all(groups)).into_iter().flatten().collect();
    let refused = ErrorResponse::decode(replies[0].body.clone()).unwrap();
    assert_eq!(refused.err_code, ErrorCode::Unavailable.code());
    let bob = bench.log_in("bob");
    assert_eq!(members(&mut bench, &bob, "a", ""), 1);
}

#[test]
fn what_the_bus_does_not_take_in_time_is_refused_beyond_a_bound() {
    let mut bench = Bench::with(Policy { room_bytes: 700, ..Policy::default() });
    let alice = bench.log_in("alice");
    members(&mut bench, &alice, "a", "");
    let said = (1..=3).map(|seq| say(&alice, seq, &"x".repeat(50))).collect();
    let code = |reply: Reply| RoomSendResponse::decode(reply.body).unwrap().err_code;
    let codes: Vec<i32> = bench.turn(said).into_iter().map(code).collect();
    assert_eq!(codes, [0, 0, ErrorCode::Unavailable.code()]);
    bench.pool.run_until_stalled();
    assert_eq!(bench.ask::<RoomSendResponse>(say(&alice, 4, "again")).err_code, 0);
}
