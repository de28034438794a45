use super::bench::*;

#[test]
fn a_message_is_stored_for_both_acknowledged_and_pushed() {
    let mut bench = Bench::new();
    let (alice, bob) = (bench.log_in("alice"), bench.log_in("bob"));
    let response: C2cResponse = bench.ask(send(&alice, 1, "bob", "k1", "hi"));
    assert_eq!((response.version, response.err_code), (1, 0));
    assert_eq!(bench.carried(), [(bob.conn, Ok(1))]);
    for reader in [&alice, &bob] {
        let page: PullResponse = bench.ask(pull(reader, 0, 0));
        assert_eq!((contents(&page), page.next_offset, page.head), (vec![(1, "hi")], 1, 1));
        let msg = &page.msgs[0];
        assert_eq!((msg.from.as_str(), msg.to.as_str(), msg.cmdid), ("alice", "bob", 1006));
        assert_eq!((msg.msgid, msg.send_time), (response.msgid, response.timestamp));
    }
}

#[test]
fn pushes_that_do_not_fit_before_a_slow_router_are_dropped_and_their_messages_are_not() {
    let mut bench = Bench::with(Policy { fan_out_bytes: 1_000, ..Policy::default() });
    let (alice, bob) = (bench.log_in("alice"), bench.log_in("bob"));
    for (n, content) in [(1, "x".repeat(2_000)), (2, "y".to_owned())] {
        let response: C2cResponse = bench.ask(send(&alice, n, "bob", "", &content));
        assert_eq!(response.err_code, 0);
    }
    assert_eq!(bench.carried(), [(bob.conn, Ok(2))]);
    let page: PullResponse = bench.ask(pull(&bob, 0, 0));
    assert_eq!(page.head, 2);
}

#[test]
fn a_repeat_gets_the_first_answer_and_other_content_is_an_error() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    let first: C2cResponse = bench.ask(send(&alice, 1, "bob", "k1", "hi"));
    bench.pass(Duration::from_secs(60));
    let repeat: C2cResponse = bench.ask(send(&alice, 2, "bob", "k1", "hi"));
    assert_eq!(repeat, first);
    let reused = ErrorCode::ClientMsgIdReused.code();
    assert_eq!(bench.refused(send(&alice, 3, "bob", "k1", "other")), reused);
    assert_eq!(bench.refused(send(&alice, 4, "carol", "k1", "hi")), reused);
}

#[test]
fn without_a_client_id_the_link_the_command_and_the_number_make_a_repeat() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    let first: C2cResponse = bench.ask(send(&alice, 1, "bob", "", "hi"));
    let repeat: C2cResponse = bench.ask(send(&alice, 1, "bob", "", "hi"));
    let next: C2cResponse = bench.ask(send(&alice, 2, "bob", "", "hi"));
    assert_eq!((repeat.version, next.version), (first.version, 2));
}

#[test]
fn wrong_sends_are_refused_and_store_nothing() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    let forged = C2cRequest { from: "bob".into(), to: "carol".into(), ..C2cRequest::default() };
    assert_eq!(bench.refused(request(&alice, CmdId::C2C_SEND, 1, &forged)), 3);
    assert_eq!(bench.refused(send(&alice, 2, "", "k", "x")), 4);
    assert_eq!(bench.refused(send(&alice, 3, "bob", &"k".repeat(65), "x")), 5);
    assert_eq!(bench.refused(send(&alice, 4, "bob", "k", &"x".repeat(300 << 10))), 5);
    let junk = Request { body: Bytes::from_static(&[0xff]), ..send(&alice, 5, "bob", "k", "x") };
    assert_eq!(bench.refused(junk), 1);
    let page: PullResponse = bench.ask(pull(&alice, 0, 0));
    assert_eq!(page.head, 0);
}

#[test]
fn after_a_failure_later_sends_to_the_same_conversation_fail_until_the_first_comes_again() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    lock(&bench.store.next).push(true);
    assert_eq!(bench.refused(send(&alice, 1, "bob", "a", "1")), 7);
    assert_eq!(bench.refused(send(&alice, 2, "bob", "b", "2")), 7);
    let other: C2cResponse = bench.ask(send(&alice, 3, "carol", "c", "3"));
    assert_eq!(other.err_code, 0);
    let both = vec![send(&alice, 4, "bob", "a", "1"), send(&alice, 5, "bob", "b", "2")];
    let versions: Vec<i64> =
        bench.turn(both).into_iter().map(|reply| C2cResponse::decode(reply.body).unwrap().version).collect();
    assert_eq!(versions, [2, 3]);
}

#[test]
fn turns_that_come_while_a_batch_is_written_make_the_next_batch_together() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    let turn = |n: u32| Turn { requests: vec![send(&alice, n, "bob", "", "x")], ..Turn::default() };
    let groups: Vec<_> = (1..=3).flat_map(|n| bench.logic.serve(turn(n))).collect();
    let replies = bench.pool.run_until(futures::future::join_all(groups)).concat();
    let versions: Vec<i64> =
        replies.into_iter().map(|reply| C2cResponse::decode(reply.body).unwrap().version).collect();
    assert_eq!(versions, [1, 2, 3]);
    assert_eq!(*lock(&bench.store.batches), [3]);
}

#[test]
fn what_does_not_fit_in_the_queue_fails_and_keeps_the_order() {
    let group_commit = GroupCommitLimits { queue_bytes: 1_000, ..GroupCommitLimits::default() };
    let mut bench = Bench::with(Policy { group_commit, ..Policy::default() });
    let alice = bench.log_in("alice");
    let large = send(&alice, 1, "bob", "a", &"x".repeat(2_000));
    let turns = [large, send(&alice, 2, "bob", "b", "y"), send(&alice, 3, "carol", "c", "z")];
    let groups: Vec<_> = turns
        .into_iter()
        .flat_map(|request| bench.logic.serve(Turn { requests: vec![request], ..Turn::default() }))
        .collect();
    let replies = bench.pool.run_until(futures::future::join_all(groups)).concat();
    let codes: Vec<i32> =
        replies.into_iter().map(|reply| C2cResponse::decode(reply.body).unwrap().err_code).collect();
    assert_eq!(codes, [7, 7, 0], "the one to bob that would fit waits for the one that did not");
}

#[test]
fn posts_of_a_dropped_caller_are_stored_and_pushed_all_the_same() {
    let mut bench = Bench::new();
    let (alice, bob) = (bench.log_in("alice"), bench.log_in("bob"));
    let turn = Turn { requests: vec![send(&alice, 1, "bob", "a", "1")], ..Turn::default() };
    drop(bench.logic.serve(turn));
    assert_eq!(bench.carried(), [(bob.conn, Ok(1))]);
    let page: PullResponse = bench.ask(pull(&alice, 0, 0));
    assert_eq!(contents(&page), [(1, "1")]);
}

#[test]
fn pushes_come_in_the_order_of_storing_whichever_turn_is_answered_first() {
    let mut bench = Bench::new();
    let (alice, bob) = (bench.log_in("alice"), bench.log_in("bob"));
    let turn = |n: u32| Turn { requests: vec![send(&alice, n, "bob", "", "x")], ..Turn::default() };
    let mut groups: Vec<_> = (1..=3).flat_map(|n| bench.logic.serve(turn(n))).collect();
    bench.pool.run_until_stalled();
    groups.reverse();
    bench.pool.run_until(futures::future::join_all(groups));
    assert_eq!(bench.carried(), [(bob.conn, Ok(1)), (bob.conn, Ok(2)), (bob.conn, Ok(3))]);
}
