use std::collections::BTreeSet;
use std::time::Duration;

use im_proto::v1::{AuthRequest, AuthResponse, Kickout, NoopReply};
use im_proto::{CmdId, ErrorCode, FrameError, Seq};
use prost::Message;

use super::bench::{Bench, commands, only_write, outgoing, pushed, writes};
use crate::client::{Effect, EndReason, Input, Saved, SendError};
use crate::id::Version;
use crate::session::KickReason;
use crate::time::Timestamp;

#[test]
fn a_client_connects_and_says_who_it_is() {
    let mut bench = Bench::new(Saved::default(), |_| {});
    assert_eq!(bench.give(Input::Start), [Effect::Connect]);
    let auth = only_write(&bench.give(Input::Connected));
    assert_eq!((auth.cmd, auth.seq, auth.client_version), (CmdId::AUTH, Seq(1), 200));
    let request = AuthRequest::decode(auth.body.clone()).unwrap();
    assert_eq!((request.uid.as_str(), request.device_id.as_str()), ("alice", "phone"));
    assert_eq!((request.heartbeat_seconds, request.capabilities), (580, vec!["noop_version".to_owned()]));
    let granted = AuthResponse { server_time: 5, ..Default::default() };
    let logged_in = Effect::LoggedIn { head: Version(0), server_time: Timestamp(5) };
    assert_eq!(bench.reply(&auth, &granted), [logged_in]);
}

#[test]
fn a_refused_token_ends_the_client() {
    let mut bench = Bench::new(Saved::default(), |_| {});
    bench.give(Input::Start);
    let auth = only_write(&bench.give(Input::Connected));
    let refused = AuthResponse { status: -1, err_code: 2, err_msg: "no".to_owned(), ..Default::default() };
    let reason = EndReason::Refused { code: Some(ErrorCode::RefusedToken), message: "no".to_owned() };
    assert_eq!(bench.reply(&auth, &refused), [Effect::Disconnect, Effect::Ended(reason)]);
    assert_eq!(bench.client.next_deadline(), None);
    assert_eq!(bench.client.check(&outgoing("1", "bob")), Err(SendError::Ended));
}

#[test]
fn a_server_that_is_unavailable_is_asked_again() {
    let mut bench = Bench::new(Saved::default(), |_| {});
    bench.give(Input::Start);
    let auth = only_write(&bench.give(Input::Connected));
    let busy = AuthResponse { status: -1, err_code: 7, ..Default::default() };
    let effects = bench.reply(&auth, &busy);
    assert!(matches!(effects[..], [Effect::Disconnect, Effect::Offline { .. }]));
    assert_eq!(bench.wait(), [Effect::Connect]);
}

#[test]
fn an_auth_without_an_answer_is_tried_on_a_new_link() {
    let mut bench = Bench::new(Saved::default(), |_| {});
    bench.give(Input::Start);
    bench.give(Input::Connected);
    assert!(matches!(bench.wait()[..], [Effect::Disconnect, Effect::Offline { .. }]));
}

#[test]
fn a_login_elsewhere_ends_the_client_and_so_do_the_other_final_kicks() {
    for reason in [KickReason::LoggedInElsewhere, KickReason::Administrator, KickReason::TokenEnded] {
        let mut bench = Bench::ready();
        let kick = pushed(CmdId::KICKOUT, &Kickout { reason: reason.code(), retry_after_ms: 0 });
        let ended = [Effect::Disconnect, Effect::Ended(EndReason::Kicked(reason))];
        assert_eq!(bench.give(Input::Frame(kick)), ended);
        assert_eq!(bench.give(Input::Disconnected), []);
        assert_eq!(bench.client.next_deadline(), None);
    }
}

#[test]
fn a_server_that_goes_away_is_visited_again_when_it_said() {
    let mut bench = Bench::ready();
    let kick = Kickout { reason: KickReason::GoingAway.code(), retry_after_ms: 5_000 };
    let effects = bench.give(Input::Frame(pushed(CmdId::KICKOUT, &kick)));
    let [Effect::Disconnect, Effect::Offline { retry_at }] = effects[..] else { panic!("{effects:?}") };
    let pause = retry_at.since(bench.now);
    assert!((5_000..=5_200).contains(&pause.as_millis()), "{pause:?}");
    assert_eq!(bench.wait(), [Effect::Connect]);
}

#[test]
fn back_off_grows_and_is_spread() {
    let mut bench = Bench::new(Saved::default(), |_| {});
    bench.give(Input::Start);
    let mut pauses = Vec::new();
    for _ in 0..40 {
        let effects = bench.give(Input::ConnectFailed);
        let [Effect::Offline { retry_at }] = effects[..] else { panic!("{effects:?}") };
        pauses.push(retry_at.since(bench.now));
        assert_eq!(bench.wait(), [Effect::Connect]);
    }
    assert!(pauses[0] <= Duration::from_millis(200));
    assert!(pauses.iter().all(|pause| *pause <= Duration::from_secs(30)));
    assert!(pauses[8..].iter().max() > Some(&Duration::from_secs(15)));
    assert!(pauses[8..].iter().collect::<BTreeSet<_>>().len() > 20);
}

#[test]
fn back_off_starts_over_after_a_login_that_lasted() {
    let mut bench = Bench::new(Saved::default(), |_| {});
    bench.give(Input::Start);
    for _ in 0..20 {
        bench.give(Input::ConnectFailed);
        bench.wait();
    }
    bench.log_in(0);
    bench.pass(Duration::from_secs(10));
    let effects = bench.give(Input::Disconnected);
    let [Effect::Offline { retry_at }] = effects[..] else { panic!("{effects:?}") };
    assert!(retry_at.since(bench.now) <= Duration::from_millis(200));
}

#[test]
fn a_silent_link_gets_a_noop_that_must_be_answered() {
    let mut bench = Bench::ready();
    let start = bench.now;
    let noop = only_write(&bench.wait());
    assert_eq!((noop.cmd, noop.seq, noop.body.len()), (CmdId::NOOP, Seq::NOOP, 0));
    assert_eq!(bench.now.since(start), Duration::from_secs(210));
    let effects = bench.wait();
    assert!(matches!(effects[..], [Effect::Disconnect, Effect::Offline { .. }]));
    assert_eq!(bench.now.since(start), Duration::from_secs(220));
}

#[test]
fn an_answered_noop_shows_a_lost_push() {
    let mut bench = Bench::ready();
    let noop = only_write(&bench.wait());
    let effects = bench.reply(&noop, &NoopReply { version: 3, groups: Vec::new() });
    assert_eq!(commands(&effects), [CmdId::PULL]);
}

#[test]
fn what_is_written_puts_the_heartbeat_off() {
    let mut bench = Bench::ready();
    bench.pass(Duration::from_secs(100));
    let send = writes(&bench.send("1", "bob")).remove(0);
    bench.acks(&send, 1);
    let start = bench.now;
    assert_eq!(commands(&bench.wait()), [CmdId::NOOP]);
    assert_eq!(bench.now.since(start), Duration::from_secs(210));
}

#[test]
fn bytes_that_are_no_frame_break_the_link() {
    let mut bench = Bench::ready();
    let effects = bench.give(Input::Malformed(FrameError::HeadTooShort { head_len: 3 }));
    assert!(matches!(effects[..], [Effect::Disconnect, Effect::Offline { .. }]));
}

#[test]
fn a_changed_network_ends_the_waiting() {
    let mut bench = Bench::new(Saved::default(), |_| {});
    bench.give(Input::Start);
    bench.give(Input::ConnectFailed);
    assert_eq!(bench.give(Input::NetworkChanged), [Effect::Connect]);
}

#[test]
fn a_changed_network_probes_an_open_link() {
    let mut bench = Bench::ready();
    assert_eq!(commands(&bench.give(Input::NetworkChanged)), [CmdId::NOOP]);
}

#[test]
fn stopping_says_what_is_applied_and_closes() {
    let mut bench = Bench::ready();
    bench.push(1);
    bench.push(2);
    bench.give(Input::Applied(Version(1)));
    bench.give(Input::Applied(Version(2)));
    let effects = bench.give(Input::Stop);
    assert_eq!(commands(&effects), [CmdId::PUSH_ACK]);
    assert_eq!(effects[1..], [Effect::Disconnect, Effect::Ended(EndReason::Stopped)]);
}

#[test]
fn logging_out_waits_for_the_server() {
    let mut bench = Bench::ready();
    let logout = only_write(&bench.give(Input::Logout));
    assert_eq!(logout.cmd, CmdId::LOGOUT);
    let effects = bench.reply(&logout, &im_proto::v1::LogoutResponse::default());
    assert_eq!(effects, [Effect::Disconnect, Effect::Ended(EndReason::LoggedOut)]);
}

#[test]
fn a_reply_that_nobody_waits_for_is_ignored() {
    let mut bench = Bench::ready();
    let send = writes(&bench.send("1", "bob")).remove(0);
    let mut other = send.clone();
    other.seq = Seq(send.seq.0 + 1_000);
    assert_eq!(bench.acks(&other, 1), []);
}

#[test]
fn a_timeline_that_ends_before_the_cursor_ends_the_client() {
    let mut bench = Bench::ready_at(5, |_| {});
    bench.give(Input::Disconnected);
    bench.wait();
    let reason = EndReason::TimelineLost { head: Version(4), held: Version(5) };
    assert_eq!(bench.log_in(4), [Effect::Disconnect, Effect::Ended(reason)]);
}
