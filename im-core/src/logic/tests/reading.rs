use super::bench::*;

#[test]
fn a_pull_pages_to_the_head_and_acknowledges_its_offset() {
    let mut bench = Bench::new();
    let (alice, bob) = (bench.log_in("alice"), bench.log_in("bob"));
    let sends = (1..=12).map(|n| send(&alice, n, "bob", &format!("k{n}"), &n.to_string())).collect();
    bench.turn(sends);
    let first: PullResponse = bench.ask(pull(&bob, 0, 0));
    assert_eq!((first.msgs.len(), first.next_offset, first.head), (10, 10, 12));
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.cursor("bob"), None, "the first page acknowledges nothing");
    let second: PullResponse = bench.ask(pull(&bob, first.next_offset, 100));
    assert_eq!(contents(&second), [(11, "11"), (12, "12")]);
    let last: PullResponse = bench.ask(pull(&bob, 12, 100));
    assert_eq!((last.msgs.len(), last.next_offset, last.head), (0, 12, 12));
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.cursor("bob"), Some(12));
    assert_eq!(bench.refused(pull(&bob, 13, 1)), ErrorCode::VersionAheadOfHead.code());
}

#[test]
fn a_read_needs_to_see_what_its_link_was_told_and_its_answer_tells_the_head() {
    let mut bench = Bench::new();
    let (alice, bob) = (bench.log_in("alice"), bench.log_in("bob"));
    let sends = (1..=9).map(|n| send(&alice, n, "bob", &format!("k{n}"), &n.to_string())).collect();
    let told: Vec<i64> = bench.turn(sends).into_iter().map(|reply| reply.told.0).collect();
    assert_eq!(told, (1..=9).collect::<Vec<_>>(), "versions in the sender's own timeline");
    let sync = SyncRequest { begin: 2, end: 4, ..SyncRequest::default() };
    let asked = [pull(&bob, 3, 2), pull(&bob, 8, 2), request(&bob, CmdId::SYNC, 51, &sync)];
    let asked = asked.map(|request| Request { told: Version(7), ..request });
    let noop = request(&bob, CmdId::NOOP, Seq::NOOP.0, &());
    for request in asked.into_iter().chain([noop]) {
        assert_eq!(bench.turn(vec![request])[0].told, Version(9));
    }
    assert_eq!(*lock(&bench.store.leasts), [7, 8, 7].map(|least| Some(Version(least))));
}

#[test]
fn another_users_timeline_cannot_be_pulled() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    let body = PullRequest { uid: "bob".into(), offset: 0, limit: 1 };
    assert_eq!(bench.refused(request(&alice, CmdId::PULL, 1, &body)), 3);
    let group = SyncRequest { group: 5, ..SyncRequest::default() };
    assert_eq!(bench.refused(request(&alice, CmdId::SYNC, 2, &group)), 4);
}

#[test]
fn a_sync_returns_what_lies_between_and_acknowledges_nothing() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    bench.turn((1..=6).map(|n| send(&alice, n, "bob", &format!("k{n}"), "x")).collect());
    let body = SyncRequest { begin: 2, end: 4, limit: 10, ..SyncRequest::default() };
    let page: SyncResponse = bench.ask(request(&alice, CmdId::SYNC, 9, &body));
    let versions: Vec<i64> = page.msgs.iter().map(|msg| msg.version).collect();
    assert_eq!((versions, page.next_offset, page.head), (vec![3, 4], 4, 6));
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.cursor("alice"), None);
}

#[test]
fn acknowledgements_are_flushed_merged_and_refused_above_the_head() {
    let mut bench = Bench::new();
    let (alice, bob) = (bench.log_in("alice"), bench.log_in("bob"));
    bench.turn((1..=3).map(|n| send(&alice, n, "bob", &format!("k{n}"), "x")).collect());
    let own = TimelineId::User(bob.uid.clone());
    let up_to = |version| Ack { caller: bob.clone(), of: Acked::UpTo(own.clone(), Version(version)) };
    bench.acks(vec![up_to(2), up_to(1)]);
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.cursor("bob"), Some(2));
    bench.acks(vec![up_to(99)]);
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.cursor("bob"), Some(2));
}

#[test]
fn an_acknowledged_msgid_moves_the_cursor_over_a_contiguous_run_only() {
    let mut bench = Bench::new();
    let (alice, bob) = (bench.log_in("alice"), bench.log_in("bob"));
    let replies = bench.turn((1..=3).map(|n| send(&alice, n, "bob", &format!("k{n}"), "x")).collect());
    let msgids: Vec<i64> =
        replies.into_iter().map(|reply| C2cResponse::decode(reply.body).unwrap().msgid).collect();
    let one = |n: usize| Ack { caller: bob.clone(), of: Acked::Message(MsgId(msgids[n])) };
    bench.acks(vec![one(1)]);
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.cursor("bob"), None);
    bench.acks(vec![one(0), Ack { caller: bob.clone(), of: Acked::Message(MsgId(5)) }]);
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.cursor("bob"), Some(2));
}

#[test]
fn a_noop_of_a_client_that_asked_carries_the_head() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    bench.turn(vec![send(&alice, 1, "bob", "k", "x")]);
    let reply: NoopReply = bench.ask(request(&alice, CmdId::NOOP, Seq::NOOP.0, &()));
    assert_eq!(reply.version, 1);
}

#[test]
fn the_integrators_commands_are_served_and_unknown_ones_refused() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    let reply =
        bench.turn(vec![request(&alice, CmdId(5_000), 1, &NoopReply { version: 3, ..NoopReply::default() })]);
    assert_eq!(NoopReply::decode(reply[0].body.clone()).unwrap().version, 3);
    assert_eq!(bench.refused(request(&alice, CmdId(6_000), 2, &())), ErrorCode::UnknownCommand.code());
}

#[test]
fn a_handler_that_panics_is_answered_as_unavailable() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    let asked = vec![request(&alice, CmdId(5_001), 1, &()), request(&alice, CmdId(5_001), 2, &())];
    let replies = bench.turn(asked);
    let codes = replies.iter().map(|reply| ErrorResponse::decode(reply.body.clone()).unwrap().err_code);
    assert_eq!(codes.collect::<Vec<_>>(), [7, 7]);
}
