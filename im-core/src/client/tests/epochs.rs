use im_proto::CmdId;
use im_proto::v1::{NoopReply, PullRequest, PushAck};
use prost::Message;

use super::bench::{Bench, acked, apply, commands, sent, writes};
use crate::client::{Effect, EndReason, Input, Saved};
use crate::id::{StoreEpoch, Version};

/// Alice's device, which holds everything up to `cursor` of epoch 0, on a new link that is not logged in.
fn reconnecting(cursor: i64) -> Bench {
    let mut bench = Bench::ready_at(cursor, |_| {});
    bench.give(Input::Disconnected);
    bench.wait();
    bench
}

fn begins(effects: &[Effect]) -> bool {
    effects.contains(&Effect::BeginEpoch(StoreEpoch(5)))
}

fn pull_offset(effects: &[Effect]) -> i64 {
    let pull = writes(effects).into_iter().find(|frame| frame.cmd == CmdId::PULL).expect("a pull");
    PullRequest::decode(pull.body).unwrap().offset
}

#[test]
fn another_epoch_is_read_from_the_first_entry() {
    let mut bench = reconnecting(7);
    let effects = bench.log_in_to(5, 2);
    assert!(matches!(effects[0], Effect::LoggedIn { head: Version(2), .. }));
    assert_eq!(effects[1], Effect::BeginEpoch(StoreEpoch(5)));
    assert_eq!((commands(&effects[2..]), pull_offset(&effects)), (vec![CmdId::PULL], 0));
    assert_eq!((bench.client.epoch(), bench.client.cursor()), (StoreEpoch(5), Version(0)));
    let pull = writes(&effects).remove(0);
    assert_eq!(bench.page(&pull, &[1, 2], 2), [apply(&[1, 2])]);
    let ack = writes(&bench.give(Input::Applied(Version(2)))).remove(0);
    assert_eq!(PushAck::decode(ack.body).unwrap().version, 2);
    assert!(bench.client.is_caught_up());
}

#[test]
fn the_same_epoch_goes_on_from_the_cursor() {
    let saved = Saved { epoch: StoreEpoch(5), cursor: Version(7), ..Saved::default() };
    let mut bench = Bench::new(saved, |_| {});
    bench.give(Input::Start);
    let effects = bench.log_in_to(5, 9);
    assert!(!begins(&effects));
    assert_eq!(pull_offset(&effects), 7);
}

#[test]
fn a_server_that_tells_no_epoch_is_one_of_epoch_0() {
    let mut bench = reconnecting(7);
    assert!(matches!(bench.log_in(7)[..], [Effect::LoggedIn { .. }, Effect::Write(_)]));
    let saved = Saved { epoch: StoreEpoch(5), cursor: Version(7), ..Saved::default() };
    let mut bench = Bench::new(saved, |_| {});
    bench.give(Input::Start);
    assert!(bench.log_in(7).contains(&Effect::BeginEpoch(StoreEpoch(0))));
}

#[test]
fn an_epoch_waits_until_everything_of_the_one_before_is_applied() {
    let mut bench = Bench::ready_at(3, |_| {});
    bench.push(4);
    bench.push(5);
    bench.give(Input::Disconnected);
    bench.wait();
    let effects = bench.log_in_to(5, 1);
    assert!(!begins(&effects) && commands(&effects).is_empty(), "{effects:?}");
    assert_eq!(bench.push(2), []);
    assert!(!bench.client.is_caught_up());
    assert_eq!(bench.give(Input::Applied(Version(4))), []);
    let effects = bench.give(Input::Applied(Version(5)));
    assert_eq!((begins(&effects), commands(&effects)), (true, vec![CmdId::PULL]));
    let pull = writes(&effects).remove(0);
    let effects = bench.page(&pull, &[1], 1);
    assert_eq!((effects[0].clone(), commands(&effects)), (apply(&[1]), vec![CmdId::SYNC]), "2 was pushed");
}

#[test]
fn what_is_applied_of_one_epoch_is_not_acknowledged_in_another() {
    let mut bench = Bench::ready();
    bench.push(1);
    bench.push(2);
    bench.give(Input::Disconnected);
    bench.wait();
    bench.log_in_to(5, 9);
    assert_eq!(bench.give(Input::Applied(Version(1))), []);
    assert_eq!(commands(&bench.give(Input::Stop)), []);
}

#[test]
fn sends_go_out_while_an_epoch_waits_and_are_acked() {
    let mut bench = Bench::ready();
    bench.push(1);
    bench.send("1", "bob");
    bench.give(Input::Disconnected);
    bench.wait();
    let effects = bench.log_in_to(5, 0);
    assert_eq!(sent(&effects), ["1"]);
    let send = writes(&effects).remove(0);
    let effects = bench.acks(&send, 1);
    assert_eq!((acked(&effects), effects.len()), (vec!["1"], 1), "its entry is read with the others");
    let effects = bench.give(Input::Applied(Version(1)));
    let pull = writes(&effects).remove(0);
    assert_eq!((begins(&effects), pull_offset(&effects)), (true, 0));
    assert_eq!(bench.page(&pull, &[1], 1)[0], apply(&[1]));
}

#[test]
fn a_link_that_is_lost_while_an_epoch_waits_leaves_nothing_of_it() {
    let mut bench = Bench::ready();
    bench.push(1);
    bench.give(Input::Disconnected);
    bench.wait();
    bench.log_in_to(5, 9);
    bench.give(Input::Disconnected);
    assert_eq!(bench.give(Input::Applied(Version(1))), []);
    bench.wait();
    let effects = bench.log_in(1);
    assert!(!begins(&effects) && bench.client.epoch() == StoreEpoch(0), "the old store is back");
}

#[test]
fn a_push_before_the_login_is_answered_is_fetched_in_the_epoch_that_the_answer_names() {
    for (epoch, offset) in [(0, 7), (5, 0)] {
        let mut bench = reconnecting(7);
        let auth = writes(&bench.give(Input::Connected)).remove(0);
        assert_eq!(bench.push(8), []);
        let effects = bench.grant(&auth, epoch, 7);
        assert_eq!((begins(&effects), pull_offset(&effects)), (epoch == 5, offset));
    }
}

#[test]
fn a_heartbeat_while_an_epoch_waits_tells_of_its_head() {
    let mut bench = Bench::ready();
    bench.push(1);
    bench.give(Input::Disconnected);
    bench.wait();
    bench.log_in_to(5, 1);
    let noop = writes(&bench.wait()).remove(0);
    assert_eq!(noop.cmd, CmdId::NOOP);
    assert_eq!(bench.reply(&noop, &NoopReply { version: 3, groups: Vec::new() }), []);
    let pull = writes(&bench.give(Input::Applied(Version(1)))).remove(0);
    let effects = bench.page(&pull, &[1], 1);
    assert_eq!((effects[0].clone(), commands(&effects)), (apply(&[1]), vec![CmdId::SYNC]));
}

#[test]
fn a_head_below_the_cursor_in_the_same_epoch_still_ends_the_client() {
    let saved = Saved { epoch: StoreEpoch(5), cursor: Version(7), ..Saved::default() };
    let mut bench = Bench::new(saved, |_| {});
    bench.give(Input::Start);
    let reason = EndReason::TimelineLost { head: Version(6), held: Version(7) };
    assert_eq!(bench.log_in_to(5, 6), [Effect::Disconnect, Effect::Ended(reason)]);
}
