use super::bench::*;
use crate::id::MsgIds;

#[test]
fn an_unacknowledged_message_is_hinted_and_then_the_vendor_is_asked() {
    let mut bench = Bench::new();
    let (alice, bob) = (bench.log_in("alice"), bench.log_in("bob"));
    bench.turn((1..=2).map(|n| send(&alice, n, "bob", &format!("k{n}"), "x")).collect());
    assert_eq!(bench.carried().len(), 2);
    bench.pass(Duration::from_secs(6));
    assert_eq!(bench.carried(), [(bob.conn, Ok(2))], "the head is pushed again");
    assert!(lock(&bench.woken.0).is_empty());
    bench.pass(Duration::from_secs(6));
    assert_eq!(*lock(&bench.woken.0), [(bob.uid.clone(), Version(2))]);
    bench.pass(Duration::from_secs(60));
    assert_eq!(lock(&bench.woken.0).len(), 1, "once a message is enough");
}

#[test]
fn an_acknowledged_message_is_neither_hinted_nor_woken_for() {
    let mut bench = Bench::new();
    let (alice, bob) = (bench.log_in("alice"), bench.log_in("bob"));
    bench.turn(vec![send(&alice, 1, "bob", "k", "x")]);
    bench.carried();
    let own = TimelineId::User(bob.uid.clone());
    bench.acks(vec![Ack { caller: bob, of: Acked::UpTo(own, Version(1)) }]);
    bench.pass(Duration::from_secs(30));
    assert_eq!(bench.carried(), []);
    assert!(lock(&bench.woken.0).is_empty());
}

#[test]
fn a_logic_that_stops_stores_what_it_took_and_flushes_what_was_acknowledged() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    bench.turn(vec![send(&alice, 1, "bob", "k", "x")]);
    let own = TimelineId::User(alice.uid.clone());
    bench.acks(vec![Ack { caller: alice.clone(), of: Acked::UpTo(own, Version(1)) }]);
    let late =
        bench.logic.serve(Turn { requests: vec![send(&alice, 2, "bob", "l", "y")], ..Turn::default() });
    bench.logic.stop();
    bench.pool.run_until_stalled();
    let replies = bench.pool.run_until(futures::future::join_all(late)).concat();
    assert_eq!(C2cResponse::decode(replies[0].body.clone()).unwrap().version, 2);
    assert_eq!(bench.cursor("alice"), Some(1));
    assert_eq!(bench.refused(send(&alice, 3, "bob", "m", "z")), ErrorCode::Unavailable.code());
}

#[test]
fn a_look_up_that_hangs_does_not_cost_the_lease() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    lock(&bench.store.hangs).push(());
    bench.turn(vec![send(&alice, 1, "bob", "a", "1")]);
    bench.pass(Duration::from_secs(60));
    let response: C2cResponse = bench.ask(send(&alice, 2, "bob", "b", "2"));
    assert_eq!(response.err_code, 0);
}

#[test]
fn a_server_whose_name_another_one_took_stops() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    let taken = Nodes::lease_node(&*bench.store, "test", Timestamp(0), Duration::from_secs(1));
    let taken = taken.now_or_never().unwrap();
    assert!(taken.is_ok());
    bench.pass(Duration::from_secs(15));
    assert_eq!(bench.refused(send(&alice, 1, "bob", "k", "x")), ErrorCode::Unavailable.code());
    assert!(bench.logic.next_conn().is_err());
    assert!(bench.logic.is_superseded());
}

#[test]
fn a_server_whose_store_begins_another_epoch_stops() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    bench.pass(Duration::from_secs(60));
    assert!(!bench.logic.has_outlived_its_epoch());
    let bumped = crate::storage::Epochs::bump_epoch(&*bench.store, Timestamp(1)).now_or_never().unwrap();
    assert!(bumped.is_ok());
    bench.pass(Duration::from_secs(15));
    assert!(bench.logic.has_outlived_its_epoch());
    assert_eq!(bench.refused(send(&alice, 1, "bob", "k", "x")), ErrorCode::Unavailable.code());
    assert!(!bench.logic.is_superseded());
}

#[test]
fn a_server_that_stops_gives_its_number_back_and_no_id_comes_twice() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    let newest: C2cResponse = bench.ask(send(&alice, 1, "bob", "k", "x"));
    bench.logic.stop();
    bench.pool.run_until_stalled();
    assert!(bench.logic.next_conn().is_err());
    let now = bench.logic.ports().clock.now();
    let next = Nodes::lease_node(&*bench.store, "test", now, Duration::from_secs(1));
    let next = next.now_or_never().unwrap().unwrap();
    let first = MsgIds::new(next.node, next.from, next.until).next(now).unwrap();
    assert!(next.from <= now + Duration::from_millis(1), "{next:?} at {now}");
    assert!(first > MsgId(newest.msgid) && first.0 > alice.conn.0, "{first} after {newest:?}");
}

#[test]
fn a_server_whose_name_another_one_took_leaves_the_others_lease_alone() {
    let mut bench = Bench::new();
    let lease = |bench: &Bench, now| {
        let taken = Nodes::lease_node(&*bench.store, "test", Timestamp(now), Duration::from_secs(100));
        taken.now_or_never().unwrap().unwrap()
    };
    let taken = lease(&bench, 0);
    bench.pass(Duration::from_secs(15));
    assert!(bench.logic.is_superseded());
    bench.pool.run_until_stalled();
    assert_eq!(lease(&bench, 0).from, taken.until);
}

#[test]
fn a_server_that_stood_still_for_longer_than_its_leases_goes_on() {
    let mut bench = Bench::new();
    let (alice, bob) = (bench.log_in("alice"), bench.log_in("bob"));
    bench.pass(Duration::from_secs(1));
    bench.clock.advance(Duration::from_secs(3_600));
    assert!(!bench.logic.is_cut_off(), "its routes are where it is");
    bench.pool.run_until_stalled();
    let response: C2cResponse = bench.ask(send(&alice, 1, "bob", "k", "x"));
    assert_eq!(response.err_code, 0, "its number is its own still");
    assert_eq!(bench.carried(), [(bob.conn, Ok(1))]);
    bench.log_in("carol");
    assert!(!bench.logic.is_superseded());
}

#[test]
fn while_the_store_takes_no_writes_clients_log_in_and_read_and_their_acks_wait() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    bench.ask::<C2cResponse>(send(&alice, 1, "bob", "k", "x"));
    bench.store.read_only.store(true, Ordering::Relaxed);
    bench.pass(Duration::from_secs(60));
    assert_eq!(bench.refused(send(&alice, 2, "bob", "l", "y")), ErrorCode::Unavailable.code());
    let bob = bench.log_in("bob");
    assert_ne!(bob.conn, alice.conn);
    let page: PullResponse = bench.ask(pull(&bob, 0, 10));
    assert_eq!(contents(&page), [(1, "x")]);
    let own = TimelineId::User(bob.uid.clone());
    bench.acks(vec![Ack { caller: bob, of: Acked::UpTo(own, Version(1)) }]);
    bench.pass(Duration::from_secs(60));
    assert_eq!(bench.cursor("bob"), None);
    bench.store.read_only.store(false, Ordering::Relaxed);
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.cursor("bob"), Some(1));
    let response: C2cResponse = bench.ask(send(&alice, 3, "bob", "l", "y"));
    assert_eq!(response.err_code, 0);
    assert!(!bench.logic.is_superseded());
}

#[test]
fn a_server_whose_number_another_one_takes_meanwhile_shares_no_id_with_it_and_stops() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    bench.store.read_only.store(true, Ordering::Relaxed);
    bench.pass(Duration::from_secs(60));
    // The store takes writes again, and the other server comes first.
    bench.store.read_only.store(false, Ordering::Relaxed);
    let now = bench.logic.ports().clock.now();
    let other = Nodes::lease_node(&*bench.store, "other", now, Duration::from_secs(10));
    let other = other.now_or_never().unwrap().unwrap();
    assert_eq!(other.node, bench.logic.node());
    let theirs = MsgIds::new(other.node, other.from, other.until).next(Timestamp(0)).unwrap();
    let late: Vec<ConnId> = (0..10_000).map(|_| bench.logic.next_conn().unwrap()).collect();
    assert!(late.iter().all(|conn| conn.0 < theirs.0), "{:?} and {theirs}", late.last());
    assert_eq!(bench.refused(send(&alice, 1, "bob", "k", "x")), ErrorCode::Unavailable.code());
    bench.pass(Duration::from_secs(2));
    assert!(bench.logic.is_superseded());
    assert!(bench.logic.next_conn().is_err());
}
