use std::time::Duration;

use im_proto::v1::{C2cPush, PullRequest, PullResponse, PushAck, SyncRequest};
use im_proto::{CmdId, ErrorCode};
use prost::Message;

use super::bench::{Bench, apply, commands, entry, only_write, pushed, writes};
use crate::client::{Effect, Input};
use crate::id::Version;

#[test]
fn the_next_entry_is_given_out_and_acked_only_once_it_is_applied() {
    let mut bench = Bench::ready();
    assert_eq!(bench.push(1), [apply(&[1])]);
    let ack = only_write(&bench.give(Input::Applied(Version(1))));
    assert_eq!((ack.cmd, PushAck::decode(ack.body).unwrap().version), (CmdId::PUSH_ACK, 1));
}

#[test]
fn acks_are_merged_within_the_delay() {
    let mut bench = Bench::ready();
    for version in 1..=3 {
        bench.push(version);
    }
    assert_eq!(commands(&bench.give(Input::Applied(Version(1)))), [CmdId::PUSH_ACK]);
    assert_eq!(bench.give(Input::Applied(Version(2))), []);
    assert_eq!(bench.give(Input::Applied(Version(3))), []);
    let start = bench.now;
    let ack = only_write(&bench.wait());
    assert_eq!(PushAck::decode(ack.body).unwrap().version, 3);
    assert_eq!(bench.now.since(start), Duration::from_millis(50));
}

#[test]
fn nothing_above_what_was_given_out_counts_as_applied() {
    let mut bench = Bench::ready();
    bench.push(1);
    bench.give(Input::Applied(Version(9)));
    assert_eq!(bench.client.cursor(), Version(1));
}

#[test]
fn a_push_that_is_known_is_ignored() {
    let mut bench = Bench::ready();
    bench.push(1);
    assert_eq!(bench.push(1), []);
}

#[test]
fn a_push_of_what_is_applied_is_acked_again() {
    let mut bench = Bench::ready_at(3, |_| {});
    bench.pass(Duration::from_secs(1));
    let ack = only_write(&bench.push(2));
    assert_eq!(PushAck::decode(ack.body).unwrap().version, 3);
}

#[test]
fn a_gap_is_pulled_and_what_came_ahead_of_it_is_kept() {
    let mut bench = Bench::ready();
    let pull = only_write(&bench.push(3));
    assert_eq!((pull.cmd, PullRequest::decode(pull.body.clone()).unwrap().offset), (CmdId::PULL, 0));
    assert_eq!(bench.page(&pull, &[1, 2], 3), [apply(&[1, 2, 3])]);
    assert!(bench.client.is_caught_up());
}

#[test]
fn a_gap_that_a_late_push_fills_gives_each_entry_once() {
    let mut bench = Bench::ready();
    let pull = only_write(&bench.push(2));
    assert_eq!(bench.push(1), [apply(&[1, 2])]);
    assert_eq!(bench.page(&pull, &[1, 2], 2), []);
}

#[test]
fn what_is_not_applied_is_never_an_offset() {
    let mut bench = Bench::ready();
    bench.push(1);
    let sync = only_write(&bench.push(3));
    assert_eq!((sync.cmd, SyncRequest::decode(sync.body.clone()).unwrap().begin), (CmdId::SYNC, 1));
    assert_eq!(bench.page(&sync, &[2, 3], 3), [apply(&[2, 3])]);
}

#[test]
fn a_login_behind_the_head_pulls_from_the_cursor_page_by_page() {
    let mut bench = Bench::ready_at(5, |_| {});
    bench.give(Input::Disconnected);
    bench.wait();
    let effects = bench.log_in(9);
    let pull = writes(&effects).remove(0);
    assert_eq!(PullRequest::decode(pull.body.clone()).unwrap().offset, 5);
    assert_eq!(commands(&effects), [CmdId::PULL], "the offset is the ack");
    let effects = bench.page(&pull, &[6, 7], 9);
    assert_eq!(effects[0], apply(&[6, 7]));
    let sync = writes(&effects).remove(0);
    assert_eq!(bench.page(&sync, &[8, 9], 9), [apply(&[8, 9])]);
}

#[test]
fn a_login_at_the_head_says_once_more_what_the_device_holds() {
    let mut bench = Bench::ready_at(5, |_| {});
    bench.give(Input::Disconnected);
    bench.wait();
    let effects = bench.log_in(5);
    assert_eq!(commands(&effects), [CmdId::PUSH_ACK]);
}

#[test]
fn a_page_says_that_unlisted_versions_do_not_exist() {
    let mut bench = Bench::ready();
    let pull = only_write(&bench.push(9));
    let effects = bench.page(&pull, &[4, 8], 9);
    assert_eq!(effects, [Effect::Apply { entries: vec![entry(4), entry(8), entry(9)], cursor: Version(9) }]);
}

#[test]
fn a_push_without_a_version_only_hints() {
    let mut bench = Bench::ready();
    let pull = only_write(&bench.push(0));
    assert_eq!(pull.cmd, CmdId::PULL);
    assert_eq!(bench.page(&pull, &[], 0), []);
    assert!(bench.client.is_caught_up());
}

#[test]
fn a_hint_during_a_fetch_makes_another() {
    let mut bench = Bench::ready();
    let pull = only_write(&bench.push(0));
    assert_eq!(bench.push(0), []);
    assert_eq!(commands(&bench.page(&pull, &[], 0)), [CmdId::PULL]);
}

#[test]
fn a_head_without_a_message_is_pulled_to() {
    let mut bench = Bench::ready();
    let head = C2cPush { version: 4, ..Default::default() };
    let pull = only_write(&bench.give(Input::Frame(pushed(CmdId::C2C_PUSH, &head))));
    assert_eq!(pull.cmd, CmdId::PULL);
}

#[test]
fn a_fetch_that_fails_for_now_is_repeated_after_a_pause() {
    let mut bench = Bench::ready();
    let pull = only_write(&bench.push(2));
    let busy = PullResponse { err_code: ErrorCode::Unavailable.code(), ..Default::default() };
    assert_eq!(bench.reply(&pull, &busy), []);
    assert_eq!(commands(&bench.wait()), [CmdId::PULL]);
}

#[test]
fn an_empty_page_below_the_head_is_not_asked_for_in_a_hot_loop() {
    let mut bench = Bench::ready();
    let mut pull = only_write(&bench.push(2));
    let start = bench.now;
    for _ in 0..12 {
        let body = PullResponse { head: 2, ..Default::default() };
        assert_eq!(bench.reply(&pull, &body), []);
        pull = writes(&bench.wait()).remove(0);
    }
    assert!(bench.now.since(start) > Duration::from_secs(5));
}

#[test]
fn entries_ahead_of_a_gap_are_bounded_and_the_farthest_go_first() {
    let mut bench = Bench::ready_at(0, |config| config.max_waiting = 2);
    let pull = only_write(&bench.push(2));
    for version in [4, 5, 3] {
        assert_eq!(bench.push(version), []);
    }
    let effects = bench.page(&pull, &[1], 5);
    assert_eq!(effects[0], apply(&[1, 2, 3]));
    let sync = writes(&effects).remove(0);
    assert_eq!(bench.page(&sync, &[4, 5], 5), [apply(&[4, 5])]);
}

#[test]
fn a_slow_application_is_not_given_more_than_the_bound() {
    let mut bench = Bench::ready_at(0, |config| config.max_unapplied = 2);
    bench.push(1);
    bench.push(2);
    assert_eq!(bench.push(3), []);
    let effects = bench.give(Input::Applied(Version(2)));
    assert_eq!(commands(&effects), [CmdId::PULL]);
    assert_eq!(bench.page(&writes(&effects)[0], &[3], 3), [apply(&[3])]);
}

#[test]
fn a_page_out_of_order_breaks_the_link() {
    let mut bench = Bench::ready();
    let pull = only_write(&bench.push(3));
    let effects = bench.page(&pull, &[2, 1], 3);
    assert!(matches!(effects[..], [Effect::Disconnect, Effect::Offline { .. }]));
}

#[test]
fn an_undecodable_push_breaks_the_link() {
    let mut bench = Bench::ready();
    let mut frame = pushed(CmdId::C2C_PUSH, &C2cPush::default());
    frame.body = bytes::Bytes::from_static(&[0xff]);
    let effects = bench.give(Input::Frame(frame));
    assert!(matches!(effects[..], [Effect::Disconnect, Effect::Offline { .. }]));
}

#[test]
fn a_client_that_only_sends_fetches_nothing() {
    let mut bench = Bench::ready_at(0, |config| config.max_unapplied = 0);
    assert_eq!(bench.push(1), []);
    assert_eq!(bench.push(3), []);
    let send = writes(&bench.send("1", "bob")).remove(0);
    assert!(matches!(bench.acks(&send, 2)[..], [Effect::Acked(_)]));
}
