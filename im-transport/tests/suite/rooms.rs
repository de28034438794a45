//! Live chat: who is in a room, and what the members hear.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use im_core::ports::{RoomEntry, RoomPolicy, RoomWord};
use im_proto::v1::{
    RoomJoinRequest, RoomJoinResponse, RoomLeaveRequest, RoomLeaveResponse, RoomPush, RoomSendRequest,
    RoomSendResponse,
};
use im_proto::{CmdId, ErrorCode, Seq};
use im_transport::Server;
use prost::Message as _;

use super::parts::{eventually, gate, server, session};
use super::raw::{Raw, encoded};
use super::{Transport, login, start};

fn joining(room: &str, leave: &str) -> RoomJoinRequest {
    RoomJoinRequest { room: room.to_owned(), leave: leave.to_owned() }
}

fn word(room: &str, text: &str) -> RoomSendRequest {
    RoomSendRequest { room: room.to_owned(), content: text.to_owned().into(), ..RoomSendRequest::default() }
}

/// Enters a room, perhaps out of another; the error, or how many are in it then.
async fn enter(link: &mut Raw, room: &str, leave: &str) -> Result<i64, i32> {
    link.ask(CmdId::ROOM_JOIN, &joining(room, leave)).await;
    let answer: RoomJoinResponse = link.expect(CmdId::ROOM_JOIN).await;
    if answer.err_code == 0 { Ok(answer.members) } else { Err(answer.err_code) }
}

async fn leave(link: &mut Raw, room: &str) {
    link.ask(CmdId::ROOM_LEAVE, &RoomLeaveRequest { room: room.to_owned() }).await;
    assert_eq!(link.expect::<RoomLeaveResponse>(CmdId::ROOM_LEAVE).await, RoomLeaveResponse::default());
}

async fn say(link: &mut Raw, room: &str, text: &str) -> RoomSendResponse {
    link.ask(CmdId::ROOM_SEND, &word(room, text)).await;
    link.expect(CmdId::ROOM_SEND).await
}

async fn hear(link: &mut Raw) -> (String, String) {
    let push: RoomPush = link.expect(CmdId::ROOM_PUSH).await;
    (push.from, String::from_utf8(push.content.to_vec()).unwrap())
}

/// Whatever was for the link has come before the answer to this.
async fn expect_nothing(link: &mut Raw) {
    link.frame(CmdId::NOOP, Seq::NOOP, b"").await;
    assert_eq!(link.next().await.unwrap().cmd, CmdId::NOOP);
}

async fn member(transport: &impl Transport, server: &Server, user: &str, room: &str) -> Raw {
    let mut link = login(transport, server, user, "phone").await;
    enter(&mut link, room, "").await.unwrap();
    link
}

pub async fn what_is_said_in_a_room_reaches_its_other_members_and_nobody_else(transport: &impl Transport) {
    let server = start(transport, server()).await;
    let mut alice = login(transport, &server, "alice", "phone").await;
    let mut bob = login(transport, &server, "bob", "phone").await;
    let mut carol = member(transport, &server, "carol", "other").await;
    assert_eq!(enter(&mut alice, "lobby", "").await, Ok(1));
    assert_eq!(enter(&mut bob, "lobby", "").await, Ok(2));
    assert_eq!(enter(&mut bob, "lobby", "").await, Ok(2), "a second join changes nothing");
    let request = RoomSendRequest { client_msg_id: "id".to_owned(), content_type: 7, ..word("lobby", "hi") };
    alice.ask(CmdId::ROOM_SEND, &request).await;
    let answer: RoomSendResponse = alice.expect(CmdId::ROOM_SEND).await;
    assert_eq!((answer.err_code, answer.members), (0, 1));
    let push: RoomPush = bob.expect(CmdId::ROOM_PUSH).await;
    let expected = RoomPush {
        from: "alice".to_owned(),
        room: "lobby".to_owned(),
        content: "hi".into(),
        msgid: answer.msgid,
        timestamp: answer.timestamp,
        missed: 0,
        content_type: 7,
        client_msg_id: "id".to_owned(),
    };
    assert_eq!(push, expected);
    say(&mut bob, "lobby", "hello").await;
    assert_eq!(hear(&mut alice).await, ("bob".to_owned(), "hello".to_owned()));
    expect_nothing(&mut carol).await;
    expect_nothing(&mut bob).await;
}

pub async fn who_leaves_a_room_hears_and_says_nothing_more_there(transport: &impl Transport) {
    let server = start(transport, server()).await;
    let mut alice = member(transport, &server, "alice", "lobby").await;
    let mut bob = member(transport, &server, "bob", "lobby").await;
    leave(&mut bob, "lobby").await;
    leave(&mut bob, "lobby").await;
    assert_eq!(say(&mut alice, "lobby", "anybody?").await.members, 0);
    assert_eq!(say(&mut bob, "lobby", "me").await.err_code, ErrorCode::Forbidden.code());
    expect_nothing(&mut bob).await;
    expect_nothing(&mut alice).await;
    assert_eq!(enter(&mut bob, "lobby", "").await, Ok(2));
}

pub async fn a_link_changes_rooms_in_one_step(transport: &impl Transport) {
    let limits = session(|limits| limits.rooms = 1);
    let server = start(transport, server().session_limits(limits)).await;
    let mut alice = member(transport, &server, "alice", "old").await;
    let mut bob = member(transport, &server, "bob", "old").await;
    let mut carol = member(transport, &server, "carol", "new").await;
    assert_eq!(enter(&mut bob, "new", "").await, Err(ErrorCode::TooMany.code()));
    assert_eq!(enter(&mut bob, "new", "old").await, Ok(2));
    assert_eq!(say(&mut alice, "old", "gone?").await.members, 0);
    say(&mut carol, "new", "welcome").await;
    assert_eq!(hear(&mut bob).await, ("carol".to_owned(), "welcome".to_owned()));
    expect_nothing(&mut bob).await;
}

pub async fn join_and_send_may_be_written_together(transport: &impl Transport) {
    let server = start(transport, server()).await;
    let mut bob = member(transport, &server, "bob", "lobby").await;
    let mut alice = login(transport, &server, "alice", "phone").await;
    let mut bytes = encoded(CmdId::ROOM_JOIN, Seq(2), &joining("lobby", ""));
    bytes.extend_from_slice(&encoded(CmdId::ROOM_SEND, Seq(3), &word("lobby", "hi")));
    bytes.extend_from_slice(&encoded(
        CmdId::ROOM_LEAVE,
        Seq(4),
        &RoomLeaveRequest { room: "lobby".to_owned() },
    ));
    bytes.extend_from_slice(&encoded(CmdId::ROOM_JOIN, Seq(5), &joining("lobby", "")));
    alice.write(&bytes).await;
    assert_eq!(alice.expect::<RoomJoinResponse>(CmdId::ROOM_JOIN).await.members, 2);
    assert_eq!(alice.expect::<RoomSendResponse>(CmdId::ROOM_SEND).await.members, 1);
    alice.expect::<RoomLeaveResponse>(CmdId::ROOM_LEAVE).await;
    assert_eq!(alice.expect::<RoomJoinResponse>(CmdId::ROOM_JOIN).await.members, 2);
    assert_eq!(hear(&mut bob).await, ("alice".to_owned(), "hi".to_owned()));
    say(&mut bob, "lobby", "still there?").await;
    assert_eq!(hear(&mut alice).await, ("bob".to_owned(), "still there?".to_owned()));
}

pub async fn what_each_link_says_arrives_in_order_and_in_one_order_for_all(transport: &impl Transport) {
    const EACH: usize = 500;
    let server = start(transport, server()).await;
    let mut speakers = Vec::new();
    let mut listeners = Vec::new();
    for number in 0..3 {
        speakers.push(member(transport, &server, &format!("speaker{number}"), "lobby").await);
        listeners.push(member(transport, &server, &format!("listener{number}"), "lobby").await);
    }
    let speak = |mut link: Raw| async move {
        let mut bytes = Vec::new();
        for number in 0..EACH {
            let seq = Seq(10 + u32::try_from(number).unwrap());
            bytes.extend_from_slice(&encoded(CmdId::ROOM_SEND, seq, &word("lobby", &number.to_string())));
        }
        link.write(&bytes).await;
        // Its answers, and what the two others say.
        for _ in 0..EACH * 3 {
            link.next().await.unwrap();
        }
        link
    };
    let listen = |mut link: Raw| async move {
        let mut heard = Vec::new();
        for _ in 0..EACH * 3 {
            heard.push(hear(&mut link).await);
        }
        (link, heard)
    };
    let spoken = futures::future::join_all(speakers.into_iter().map(speak));
    let heard = futures::future::join_all(listeners.into_iter().map(listen));
    let (mut speakers, heard) = futures::join!(spoken, heard);
    for number in 0..3 {
        let name = format!("speaker{number}");
        let own = heard[0].1.iter().filter(|(from, _)| *from == name).map(|(_, text)| text.clone());
        assert_eq!(own.collect::<Vec<_>>(), (0..EACH).map(|at| at.to_string()).collect::<Vec<_>>());
    }
    assert!(heard.iter().all(|(_, all)| *all == heard[0].1), "one order for all");
    expect_nothing(&mut speakers[0]).await;
}

pub async fn a_link_that_ends_is_in_no_room(transport: &impl Transport) {
    let server = start(transport, server()).await;
    let mut alice = member(transport, &server, "alice", "lobby").await;
    drop(member(transport, &server, "bob", "lobby").await);
    let mut carol = member(transport, &server, "carol", "lobby").await;
    carol.ask(CmdId::LOGOUT, &im_proto::v1::LogoutRequest::default()).await;
    assert_eq!(carol.next().await.unwrap().cmd, CmdId::LOGOUT);
    let mut kicked = member(transport, &server, "dave", "lobby").await;
    let _newer = login(transport, &server, "dave", "phone").await;
    kicked.expect_kickout().await;
    eventually("only alice is left", async || say(&mut alice, "lobby", "?").await.members == 0).await;
    assert_eq!(say(&mut alice, "lobby", "!").await.err_code, 0);
}

pub async fn a_room_that_cannot_be_is_refused_and_keeps_the_link(transport: &impl Transport) {
    let server = start(transport, server()).await;
    let mut link = login(transport, &server, "alice", "phone").await;
    let not_found = ErrorCode::NotFound.code();
    for room in ["", &"x".repeat(65)] {
        assert_eq!(enter(&mut link, room, "").await, Err(not_found));
        assert_eq!(say(&mut link, room, "hi").await.err_code, not_found);
        link.ask(CmdId::ROOM_LEAVE, &RoomLeaveRequest { room: room.to_owned() }).await;
        assert_eq!(link.expect::<RoomLeaveResponse>(CmdId::ROOM_LEAVE).await.err_code, not_found);
    }
    assert_eq!(enter(&mut link, &"x".repeat(64), "").await, Ok(1));
    assert_eq!(say(&mut link, &"x".repeat(64), &"y".repeat((16 << 10) + 1)).await.err_code, 5);
    assert_eq!(say(&mut link, "elsewhere", "hi").await.err_code, ErrorCode::Forbidden.code());
    for cmd in [CmdId::ROOM_JOIN, CmdId::ROOM_LEAVE, CmdId::ROOM_SEND] {
        link.frame(cmd, Seq(77), &[0xff]).await;
        let frame = link.next().await.unwrap();
        assert_eq!((frame.cmd, frame.seq), (cmd, Seq(77)));
        assert_eq!(RoomLeaveResponse::decode(frame.body).unwrap().err_code, 1);
    }
}

/// Lets nobody into `closed`, decides about `slow` too slowly, takes no word of rudeness, and panics.
struct Doorkeeper;

#[async_trait]
impl RoomPolicy for Doorkeeper {
    async fn enter(&self, entries: Vec<RoomEntry>) -> Vec<Result<(), ErrorCode>> {
        if entries.iter().any(|entry| entry.room.as_str() == "slow") {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
        }
        let verdict = |entry: &RoomEntry| match entry.room.as_str() {
            "closed" => Err(ErrorCode::Forbidden),
            _ => Ok(()),
        };
        entries.iter().map(verdict).collect()
    }

    fn say(&self, word: &RoomWord) -> Result<(), ErrorCode> {
        match &word.content[..] {
            b"rude" => Err(ErrorCode::Forbidden),
            b"unspeakable" => panic!("it was said"),
            _ => Ok(()),
        }
    }
}

pub async fn the_integrator_says_who_comes_in_and_what_is_said(transport: &impl Transport) {
    let mut policy = im_core::logic::Policy::default();
    policy.room_deadline = Duration::from_millis(300);
    let server = start(transport, server().rooms(Arc::new(Doorkeeper)).policy(policy)).await;
    let mut alice = member(transport, &server, "alice", "lobby").await;
    let mut bob = member(transport, &server, "bob", "lobby").await;
    assert_eq!(enter(&mut alice, "closed", "lobby").await, Err(ErrorCode::Forbidden.code()));
    assert_eq!(enter(&mut alice, "slow", "lobby").await, Err(ErrorCode::Unavailable.code()));
    assert_eq!(say(&mut alice, "lobby", "rude").await.err_code, ErrorCode::Forbidden.code());
    assert_eq!(say(&mut alice, "lobby", "unspeakable").await.err_code, ErrorCode::Unavailable.code());
    say(&mut alice, "lobby", "kind").await;
    assert_eq!(hear(&mut bob).await, ("alice".to_owned(), "kind".to_owned()));
}

pub async fn a_thousand_links_hear_everything_over_many_turns(transport: &impl Transport) {
    let limits = gate(|limits| limits.members_per_turn = 64);
    let server = start(transport, server().gate_limits(limits)).await;
    let mut speaker = member(transport, &server, "speaker", "hall").await;
    let mut links = Vec::new();
    for number in 0..1_000 {
        links.push(member(transport, &server, &format!("u{number}"), "hall").await);
    }
    let words: Vec<String> = (0..10).map(|number| format!("word {number}")).collect();
    for text in &words {
        assert_eq!(say(&mut speaker, "hall", text).await.members, 1_000);
    }
    for link in &mut links {
        for text in &words {
            assert_eq!(hear(link).await, ("speaker".to_owned(), text.clone()));
        }
    }
}

pub async fn a_slow_reader_is_told_what_it_missed_and_keeps_nobody_waiting(transport: &impl Transport) {
    const MESSAGES: i64 = 3_000;
    let limits = gate(|limits| limits.room_backlog = 64 << 10);
    let server = start(transport, server().gate_limits(limits)).await;
    let mut speaker = member(transport, &server, "speaker", "hall").await;
    let mut slow = member(transport, &server, "slow", "hall").await;
    let mut quick = member(transport, &server, "quick", "hall").await;
    let filler = "x".repeat(15_000);
    // 45 MB: more than any socket holds.
    for number in 1..=MESSAGES {
        assert_eq!(say(&mut speaker, "hall", &format!("{number} {filler}")).await.err_code, 0);
        assert!(hear(&mut quick).await.1.starts_with(&format!("{number} ")));
    }
    let (mut last, mut missed) = (0, 0);
    while last < MESSAGES {
        let push: RoomPush = slow.expect(CmdId::ROOM_PUSH).await;
        if push.missed > 0 {
            assert_eq!((push.from.as_str(), push.room.as_str(), push.content.len()), ("", "hall", 0));
            (last, missed) = (last + push.missed, missed + push.missed);
            continue;
        }
        last += 1;
        assert!(push.content.starts_with(format!("{last} ").as_bytes()), "after a gap of the size told");
    }
    assert!(missed > 0, "not everything is kept for who does not read");
    say(&mut speaker, "hall", "again").await;
    assert_eq!(hear(&mut slow).await.1, "again");
}
