//! What code of the server's own may do.

use super::bench::*;
use crate::id::ClientMsgId;
use crate::router::KickPolicy;

fn uid(name: &str) -> Uid {
    Uid::new(name).unwrap()
}

fn outgoing(content: &str) -> Outgoing {
    Outgoing::new(uid("alice"), uid("bob"), content.to_owned())
}

fn named(id: &str, content: &str) -> Outgoing {
    outgoing(content).client_msg_id(ClientMsgId::new(id).unwrap())
}

impl Bench {
    /// Where each message stands in its sender's timeline.
    fn sent(&mut self, messages: Vec<Outgoing>) -> Vec<Result<i64, ErrorCode>> {
        let sent = self.pool.run_until(self.logic.send(messages));
        sent.into_iter().map(|placed| placed.map(|placed| placed.home.0)).collect()
    }
}

#[test]
fn a_message_is_stored_for_both_and_pushed_to_all_links_of_both() {
    let mut bench = Bench::new();
    let (alice, bob) = (bench.log_in("alice"), bench.log_in("bob"));
    assert_eq!(bench.sent(vec![outgoing("hi")]), [Ok(1)]);
    let mut carried = bench.carried();
    carried.sort_by_key(|(conn, _)| *conn);
    assert_eq!(carried, [(alice.conn, Ok(1)), (bob.conn, Ok(1))]);
    for reader in [&alice, &bob] {
        let page: PullResponse = bench.ask(pull(reader, 0, 0));
        assert_eq!(contents(&page), [(1, "hi")]);
        assert_eq!((page.msgs[0].from.as_str(), page.msgs[0].client_msg_id.as_str()), ("alice", ""));
    }
}

#[test]
fn a_message_is_known_again_by_its_id_and_without_one_never() {
    let mut bench = Bench::new();
    assert_eq!(bench.sent(vec![outgoing("hi"), outgoing("hi")]), [Ok(1), Ok(2)]);
    assert_eq!(bench.sent(vec![named("k", "x")]), [Ok(3)]);
    assert_eq!(
        bench.sent(vec![named("k", "x"), named("k", "y")]),
        [Ok(3), Err(ErrorCode::ClientMsgIdReused)]
    );
    let alice = bench.log_in("alice");
    let response: C2cResponse = bench.ask(send(&alice, 1, "bob", "k", "x"));
    assert_eq!(response.version, 3, "it is the sender's, whoever sends it");
}

#[test]
fn answers_are_in_the_order_of_the_messages() {
    let mut bench = Bench::with(Policy { max_content: 3, ..Policy::default() });
    let messages = ["a", "long", "b", "long", "long", "c"].map(outgoing).into();
    let large = Err(ErrorCode::TooLarge);
    assert_eq!(bench.sent(messages), [Ok(1), large, Ok(2), large, large, Ok(3)]);
    assert_eq!(bench.sent(Vec::new()), []);
}

#[test]
fn a_message_that_fails_holds_back_no_other() {
    let mut bench = Bench::new();
    lock(&bench.store.next).push(true);
    assert_eq!(bench.sent(vec![named("k", "x")]), [Err(ErrorCode::Unavailable)]);
    assert_eq!(bench.sent(vec![named("l", "y"), named("k", "x")]), [Ok(1), Ok(2)]);
}

#[test]
fn pages_and_heads_are_read_within_the_limits() {
    let mut bench = Bench::with(Policy { default_page: 1, max_page: 2, ..Policy::default() });
    bench.sent(["a", "b", "c"].map(outgoing).into());
    let heads = bench.logic.heads(vec![uid("bob"), uid("carol")]);
    let heads = bench.pool.run_until(heads).unwrap();
    assert_eq!(heads.iter().map(|head| head.head.0).collect::<Vec<_>>(), [3, 0]);
    let ask = |after, limit| PageAsk { limit, ..PageAsk::after(uid("bob"), Version(after)) };
    let asks = vec![ask(0, None), ask(1, Some(9)), ask(4, None)];
    let pages = bench.pool.run_until(bench.logic.read(asks));
    let counts: Vec<_> = pages.iter().map(|page| page.as_ref().map(|page| page.entries.len())).collect();
    assert_eq!(counts, [Ok(1), Ok(2), Err(&ErrorCode::VersionAheadOfHead)]);
}

#[test]
fn a_push_and_a_kick_reach_all_links_of_a_user_and_nobody_else() {
    let mut bench = Bench::with(Policy { max_content: 8, kick: KickPolicy::Never, ..Policy::default() });
    let (first, second) = (bench.log_in("alice"), bench.log_in("alice"));
    bench.log_in("bob");
    let logic = bench.logic.clone();
    let (alice, carol) = (uid("alice"), uid("carol"));
    let body = Bytes::from(C2cPush { version: 7, ..C2cPush::default() }.encode_to_vec());
    for (user, links) in [(&alice, 2), (&carol, 0)] {
        let pushed = bench.pool.run_until(logic.push(user, CmdId::C2C_PUSH, body.clone()));
        assert_eq!(pushed, Ok(links));
    }
    assert_eq!(bench.carried(), [(first.conn, Ok(7)), (second.conn, Ok(7))]);
    let large = bench.pool.run_until(logic.push(&alice, CmdId::C2C_PUSH, Bytes::from_static(b"too large")));
    assert_eq!(large, Err(ErrorCode::TooLarge));
    let kicked = bench.pool.run_until(logic.kick(&alice, KickReason::Administrator));
    assert_eq!(kicked, Ok(2));
    assert_eq!(bench.carried(), [first.conn, second.conn].map(|conn| (conn, Err(KickReason::Administrator))));
    let online = bench.pool.run_until(logic.online(vec![carol, alice])).unwrap();
    assert_eq!(online.iter().map(|routes| routes.len()).collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn whom_nothing_reaches_for_now_is_told() {
    let mut bench = Bench::new();
    bench.log_in("alice");
    bench.bus.away.store(true, Ordering::Relaxed);
    let logic = bench.logic.clone();
    let pushed = bench.pool.run_until(logic.push(&uid("alice"), CmdId::C2C_PUSH, Bytes::new()));
    assert_eq!(pushed, Err(ErrorCode::Unavailable));
    let kicked = bench.pool.run_until(logic.kick(&uid("alice"), KickReason::Administrator));
    assert_eq!(kicked, Err(ErrorCode::Unavailable));
}
