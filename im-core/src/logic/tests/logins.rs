use super::bench::*;
use super::faulty::FaultyRoutes;
use crate::id::LoginEpoch;
use crate::router::Route;

#[test]
fn a_login_of_the_same_device_type_kicks_the_older_one() {
    let mut bench = Bench::new();
    let old = bench.log_in("alice");
    let (phone, _) = bench.log_in_on("alice", "alice", DeviceType::IOS);
    assert_eq!(bench.carried(), []);
    bench.log_in("alice");
    assert_eq!(bench.carried(), [(old.conn, Err(KickReason::LoggedInElsewhere))]);
    let gone = bench.logic.confirm(vec![held(&old, 0), held(&phone, 1)]);
    assert_eq!(bench.pool.run_until(gone).unwrap(), [old.conn]);
    assert_eq!(bench.carried(), []);
}

#[test]
fn a_login_that_fails_ends_no_other() {
    let mut bench = Bench::with(Policy { links_per_user: 1, ..Policy::default() });
    let old = bench.log_in("alice");
    bench.store.headless.store(true, Ordering::Relaxed);
    for device_type in [DeviceType::WEB, DeviceType::IOS] {
        let (_, verdict) = bench.log_in_on("alice", "alice", device_type);
        assert!(matches!(verdict, Verdict::Refused { code: ErrorCode::Unavailable, .. }), "{verdict:?}");
    }
    assert_eq!(bench.carried(), []);
    let back = bench.logic.confirm(vec![held(&old, 1)]);
    assert_eq!(bench.pool.run_until(back).unwrap(), []);
    bench.store.headless.store(false, Ordering::Relaxed);
    bench.log_in("alice");
    assert_eq!(bench.carried(), [(old.conn, Err(KickReason::LoggedInElsewhere))]);
}

#[test]
fn a_user_with_too_many_links_loses_the_oldest() {
    let mut bench = Bench::with(Policy { links_per_user: 2, ..Policy::default() });
    let mut links: Vec<ConnId> = Vec::new();
    for kind in [DeviceType::WEB, DeviceType::IOS, DeviceType::TABLET] {
        let (caller, verdict) = bench.log_in_on("alice", "alice", kind);
        assert!(matches!(verdict, Verdict::Granted(_)), "{verdict:?}");
        links.push(caller.conn);
    }
    assert_eq!(bench.carried(), [(links[0], Err(KickReason::LoggedInElsewhere))]);
    let found = bench.logic.ports().routes.find(vec![Uid::new("alice").unwrap()]);
    let found = bench.pool.run_until(found).unwrap();
    assert_eq!(found[0].iter().map(|route| route.conn).collect::<Vec<_>>(), links[1..]);
}

#[test]
fn a_link_that_the_router_lost_comes_back_and_kicks_what_is_older() {
    let mut bench = Bench::new();
    let (old, new) = (bench.log_in("alice"), bench.log_in("alice"));
    bench.carried();
    let routes = bench.logic.ports().routes.clone();
    let lose = routes.remove(vec![(new.uid.clone(), new.conn)]);
    bench.pool.run_until(lose).unwrap();
    let back = bench.logic.confirm(vec![held(&old, 1)]);
    assert_eq!(bench.pool.run_until(back).unwrap(), []);
    let back = bench.logic.confirm(vec![held(&new, 2)]);
    assert_eq!(bench.pool.run_until(back).unwrap(), []);
    assert_eq!(bench.carried(), [(old.conn, Err(KickReason::LoggedInElsewhere))]);
}

/// A link as its gate holds it.
fn held(caller: &Caller, epoch: u64) -> Route {
    Route {
        uid: caller.uid.clone(),
        device: caller.device.clone(),
        device_type: caller.device_type,
        conn: caller.conn,
        node: caller.node,
        epoch: LoginEpoch(epoch),
        since: Timestamp(0),
    }
}

#[test]
fn a_node_that_cannot_renew_its_routes_is_cut_off_before_their_lease_ends() {
    let routes = Arc::new(FaultyRoutes::default());
    let mut bench = Bench::with_routes(Policy::default(), routes.clone());
    bench.pass(Duration::from_secs(30));
    assert!(!bench.logic.is_cut_off());
    routes.away.store(true, Ordering::Relaxed);
    bench.pass(Duration::from_secs(5));
    assert!(!bench.logic.is_cut_off());
    bench.pass(Duration::from_secs(3));
    assert!(bench.logic.is_cut_off());
    let refused = bench.log_in_on("alice", "alice", DeviceType::WEB).1;
    assert!(matches!(refused, Verdict::Refused { code: ErrorCode::Unavailable, .. }), "{refused:?}");
    routes.away.store(false, Ordering::Relaxed);
    bench.pass(Duration::from_secs(4));
    assert!(!bench.logic.is_cut_off());
    bench.log_in("alice");
}

#[test]
fn a_loss_of_the_router_is_counted_once() {
    let routes = Arc::new(FaultyRoutes::default());
    let mut bench = Bench::with_routes(Policy::default(), routes.clone());
    bench.pass(Duration::from_secs(10));
    assert_eq!(bench.logic.route_losses(), 0);
    routes.lost.store(true, Ordering::Relaxed);
    bench.pass(Duration::from_secs(10));
    assert_eq!(bench.logic.route_losses(), 1);
}

#[test]
fn logins_fail_with_what_the_client_should_do_about_it() {
    let mut bench = Bench::new();
    let code = |verdict| match verdict {
        Verdict::Refused { code, .. } => code,
        Verdict::Granted(granted) => panic!("{granted:?}"),
    };
    for token in ["bad", "bob", "expired"] {
        assert_eq!(code(bench.log_in_on("alice", token, DeviceType::WEB).1), ErrorCode::RefusedToken);
    }
    assert_eq!(code(bench.log_in_on("alice", "down", DeviceType::WEB).1), ErrorCode::Unavailable);
}

#[test]
fn a_user_centre_that_does_not_answer_ends_the_login_at_its_deadline() {
    let mut bench = Bench::new();
    let caller = bench.log_in("alice");
    let credentials = Credentials {
        uid: caller.uid.clone(),
        token: "slow".into(),
        device: caller.device.clone(),
        device_type: caller.device_type,
    };
    let logic = bench.logic.clone();
    let done = Arc::new(Mutex::new(None));
    let seen = done.clone();
    let login = async move { *lock(&seen) = Some(logic.login(Login { caller, credentials }).await) };
    bench.pool.spawner().spawn_local(login).unwrap();
    bench.pass(Duration::from_secs(4));
    assert!(lock(&done).is_none());
    bench.pass(Duration::from_secs(2));
    assert!(matches!(*lock(&done), Some(Verdict::Refused { code: ErrorCode::Unavailable, .. })));
}

#[test]
fn a_link_that_acknowledges_and_leaves_at_once_is_forgotten() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    let sent: C2cResponse = bench.ask(send(&alice, 1, "alice", "k", "hi"));
    let acks = vec![Ack { caller: alice.clone(), of: Acked::Message(MsgId(sent.msgid)) }];
    let groups = bench.logic.serve(Turn { acks, leaves: vec![alice], ..Turn::default() });
    bench.pool.run_until(futures::future::join_all(groups));
    assert!(lock(&bench.logic.acks).is_forgotten());
    assert_eq!(bench.cursor("alice"), None);
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.cursor("alice"), Some(1));
}
