use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use im_proto::{CmdId, ErrorCode, Seq};

use super::bench::{Bench, acked, entry, outgoing, sent, uid, writes};
use crate::client::{Effect, Input, LocalEntry, Rejection, Saved, SendError};
use crate::id::{ClientMsgId, Version};
use crate::message::Target;

#[test]
fn messages_leave_in_the_order_they_came_and_each_is_acked_once() {
    let mut bench = Bench::ready();
    let first = writes(&bench.send("1", "bob")).remove(0);
    let second = writes(&bench.send("2", "bob")).remove(0);
    assert_eq!((first.cmd, second.cmd), (CmdId::C2C_SEND, CmdId::C2C_SEND));
    assert_eq!(acked(&bench.acks(&first, 1)), ["1"]);
    assert_eq!(acked(&bench.acks(&second, 2)), ["2"]);
    assert_eq!(acked(&bench.acks(&second, 2)), [""; 0]);
    assert_eq!(bench.client.unacked(), 0);
}

#[test]
fn an_own_message_becomes_an_entry_by_its_ack_alone() {
    let mut bench = Bench::ready();
    let send = writes(&bench.send("1", "bob")).remove(0);
    let effects = bench.acks(&send, 1);
    let own = LocalEntry {
        from: uid("alice"),
        to: Target::User(uid("bob")),
        client_msg_id: Some(ClientMsgId::new("1").unwrap()),
        content: Bytes::from_static(b"1"),
        ..entry(1)
    };
    assert_eq!(effects[0], Effect::Apply { entries: vec![own], cursor: Version(1) });
    assert_eq!(acked(&effects), ["1"]);
    assert_eq!(effects.len(), 2, "nothing is pulled: {effects:?}");
}

#[test]
fn an_own_ack_that_is_ahead_of_a_push_waits_for_it() {
    let mut bench = Bench::ready();
    let send = writes(&bench.send("1", "bob")).remove(0);
    let effects = bench.acks(&send, 2);
    assert_eq!(acked(&effects), ["1"]);
    assert_eq!(writes(&effects)[0].cmd, CmdId::PULL);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Apply { .. })));
    let Effect::Apply { entries, cursor } = &bench.push(1)[0] else { panic!("both are due now") };
    assert_eq!((entries.len(), *cursor, entries[1].from.as_str()), (2, Version(2), "alice"));
}

#[test]
fn a_new_link_resends_every_unacked_message_oldest_first() {
    let mut bench = Bench::ready();
    let first = writes(&bench.send("1", "bob")).remove(0);
    bench.send("2", "carol");
    bench.send("3", "bob");
    bench.acks(&first, 1);
    bench.give(Input::Applied(Version(1)));
    bench.give(Input::Disconnected);
    bench.wait();
    let effects = bench.log_in(1);
    assert_eq!(sent(&effects), ["2", "3"]);
}

#[test]
fn messages_saved_by_an_earlier_process_leave_first() {
    let saved = Saved { outgoing: vec![outgoing("1", "bob"), outgoing("2", "bob")], ..Saved::default() };
    let mut bench = Bench::new(saved, |_| {});
    assert_eq!(bench.give(Input::Start), [Effect::Connect]);
    assert_eq!(bench.send("3", "bob"), []);
    assert_eq!(sent(&bench.log_in(0)), ["1", "2", "3"]);
}

#[test]
fn the_window_is_respected_and_an_ack_opens_it() {
    let mut bench = Bench::ready_at(0, |config| config.window = 2);
    let first = writes(&bench.send("1", "bob")).remove(0);
    assert_eq!(sent(&bench.send("2", "bob")), ["2"]);
    assert_eq!(bench.send("3", "bob"), []);
    assert_eq!(sent(&bench.acks(&first, 1)), ["3"]);
}

#[test]
fn bytes_in_flight_are_bounded_but_one_message_always_goes() {
    let mut bench = Bench::ready_at(0, |config| config.window_bytes = 1);
    let first = writes(&bench.send("1", "bob")).remove(0);
    assert_eq!(bench.send("2", "bob"), []);
    assert_eq!(sent(&bench.acks(&first, 1)), ["2"]);
}

#[test]
fn a_retryable_failure_rewinds_to_the_failed_message_after_a_pause() {
    let mut bench = Bench::ready();
    let first = writes(&bench.send("1", "bob")).remove(0);
    let second = writes(&bench.send("2", "bob")).remove(0);
    assert_eq!(bench.fails(&first, ErrorCode::Unavailable), []);
    assert_eq!(bench.fails(&second, ErrorCode::Unavailable), [], "an answer to an earlier attempt");
    assert_eq!(bench.send("3", "bob"), [], "the conversation is held back");
    assert_eq!(sent(&bench.wait()), ["1", "2", "3"]);
}

#[test]
fn an_ack_of_an_earlier_attempt_of_a_rewound_message_is_ignored() {
    let mut bench = Bench::ready();
    let first = writes(&bench.send("1", "bob")).remove(0);
    let second = writes(&bench.send("2", "bob")).remove(0);
    bench.fails(&first, ErrorCode::RateLimited);
    assert_eq!(bench.acks(&second, 1), []);
    let again = writes(&bench.wait());
    assert_eq!(acked(&bench.acks(&again[0], 1)), ["1"]);
    assert_eq!(acked(&bench.acks(&again[1], 2)), ["2"]);
}

#[test]
fn every_attempt_has_a_sequence_number_of_its_own() {
    let mut bench = Bench::ready();
    let mut seqs = BTreeSet::new();
    let mut frame = writes(&bench.send("1", "bob")).remove(0);
    for _ in 0..5 {
        assert!(seqs.insert(frame.seq.0) && frame.seq != Seq::PUSH && !frame.seq.is_reserved());
        bench.fails(&frame, ErrorCode::Unavailable);
        frame = writes(&bench.wait()).remove(0);
    }
}

#[test]
fn a_failure_holds_back_its_own_conversation_only() {
    let mut bench = Bench::ready();
    let first = writes(&bench.send("1", "bob")).remove(0);
    let other = writes(&bench.send("2", "carol")).remove(0);
    bench.fails(&first, ErrorCode::Unavailable);
    assert_eq!(acked(&bench.acks(&other, 1)), ["2"]);
    assert_eq!(sent(&bench.send("3", "carol")), ["3"]);
}

#[test]
fn a_permanent_refusal_drops_that_message_alone() {
    let mut bench = Bench::ready();
    let first = writes(&bench.send("1", "bob")).remove(0);
    let second = writes(&bench.send("2", "bob")).remove(0);
    let rejection = Rejection {
        client_msg_id: ClientMsgId::new("1").unwrap(),
        code: Some(ErrorCode::Forbidden),
        message: "no".to_owned(),
    };
    assert_eq!(bench.fails(&first, ErrorCode::Forbidden), [Effect::Rejected(rejection)]);
    assert_eq!(acked(&bench.acks(&second, 1)), ["2"]);
}

#[test]
fn a_code_of_a_newer_protocol_is_a_permanent_refusal() {
    let mut bench = Bench::ready();
    let first = writes(&bench.send("1", "bob")).remove(0);
    let body = im_proto::v1::C2cResponse { err_code: 99, ..Default::default() };
    let effects = bench.reply(&first, &body);
    assert!(matches!(&effects[..], [Effect::Rejected(Rejection { code: None, .. })]));
}

#[test]
fn an_answer_that_does_not_come_breaks_the_link() {
    let mut bench = Bench::ready();
    bench.send("1", "bob");
    let effects = bench.wait();
    assert!(matches!(&effects[..], [Effect::Disconnect, Effect::Offline { .. }]), "{effects:?}");
    assert_eq!(bench.wait(), [Effect::Connect]);
    assert_eq!(sent(&bench.log_in(0)), ["1"]);
}

#[test]
fn more_bytes_in_flight_have_more_time() {
    let mut bench = Bench::ready();
    let mut effects = Vec::new();
    let mut large = outgoing("1", "bob");
    large.content = Bytes::from(vec![0; 400 << 10]);
    bench.client.send(bench.now, large, &mut effects).unwrap();
    assert_eq!(bench.client.next_deadline().unwrap().since(bench.now), Duration::from_secs(10 + 100));
}

#[test]
fn a_full_queue_refuses_more() {
    let mut bench = Bench::new(Saved::default(), |config| config.max_outgoing = 1);
    bench.give(Input::Start);
    bench.send("1", "bob");
    let second = outgoing("2", "bob");
    assert_eq!(bench.client.send(bench.now, second, &mut Vec::new()), Err(SendError::QueueFull));
}

#[test]
fn a_message_larger_than_a_frame_is_refused_at_once() {
    let mut large = outgoing("1", "bob");
    large.content = Bytes::from(vec![0; 1 << 20]);
    assert_eq!(Bench::ready().client.check(&large), Err(SendError::TooLarge));
}
