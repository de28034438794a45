//! Who hears what when the bus or the router was away.

use super::bench::*;
use super::faulty::FaultyRoutes;

#[test]
fn a_hint_that_the_bus_does_not_take_comes_again_until_it_does() {
    let mut bench = Bench::new();
    let (alice, bob) = (bench.log_in("alice"), bench.log_in("bob"));
    bench.bus.away.store(true, Ordering::Relaxed);
    bench.turn((1..=2).map(|n| send(&alice, n, "bob", &format!("k{n}"), "x")).collect());
    bench.pass(Duration::from_secs(60));
    assert!(lock(&bench.woken.0).is_empty(), "bob is there");
    bench.bus.away.store(false, Ordering::Relaxed);
    bench.pass(Duration::from_secs(6));
    assert_eq!(bench.carried(), [(bob.conn, Ok(2))]);
    bench.pass(Duration::from_secs(6));
    assert_eq!(*lock(&bench.woken.0), [(bob.uid.clone(), Version(2))]);
}

#[test]
fn whom_a_router_that_is_away_does_not_find_is_hinted_when_it_is_back() {
    let routes = Arc::new(FaultyRoutes::default());
    let mut bench = Bench::with_routes(Policy::default(), routes.clone());
    let (alice, bob) = (bench.log_in("alice"), bench.log_in("bob"));
    routes.blind.store(true, Ordering::Relaxed);
    bench.turn(vec![send(&alice, 1, "bob", "k", "x")]);
    bench.pass(Duration::from_secs(60));
    assert!(lock(&bench.woken.0).is_empty(), "bob is there");
    routes.blind.store(false, Ordering::Relaxed);
    bench.pass(Duration::from_secs(6));
    assert_eq!(bench.carried(), [(bob.conn, Ok(1))]);
}

#[test]
fn a_link_is_hinted_at_the_head_if_it_was_told_of_less() {
    let mut bench = Bench::new();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| bench.log_in(name));
    bench.turn((1..=3).map(|n| send(&alice, n, "bob", &format!("k{n}"), "x")).collect());
    let links = vec![(alice, Version(3)), (bob.clone(), Version(2)), (carol, Version::ZERO)];
    let missed = bench.pool.run_until(bench.logic.missed(links)).unwrap();
    let versions = missed.iter().map(|(conn, push)| (*conn, push.suffix.named_version()));
    assert_eq!(versions.collect::<Vec<_>>(), [(bob.conn, 3)]);
}

#[test]
fn a_server_that_stops_hints_and_wakes_whoever_has_not_acknowledged() {
    let mut bench = Bench::new();
    let (alice, bob) = (bench.log_in("alice"), bench.log_in("bob"));
    bench.bus.away.store(true, Ordering::Relaxed);
    let requests = vec![send(&alice, 1, "bob", "k", "x"), send(&alice, 2, "carol", "l", "y")];
    bench.turn(requests);
    let (logic, over) = (bench.logic.clone(), Arc::new(AtomicBool::new(false)));
    let says = over.clone();
    let handed_over = async move {
        logic.hand_over().await;
        says.store(true, Ordering::Relaxed);
    };
    bench.pool.spawner().spawn_local(handed_over).unwrap();
    bench.pass(Duration::from_secs(2));
    assert_eq!(*lock(&bench.woken.0), [(Uid::new("carol").unwrap(), Version(1))]);
    assert!(!over.load(Ordering::Relaxed), "bob is not hinted yet");
    bench.bus.away.store(false, Ordering::Relaxed);
    bench.pass(Duration::from_secs(1));
    assert!(over.load(Ordering::Relaxed));
    assert_eq!(bench.carried(), [(bob.conn, Ok(1))]);
}
