use super::bench::*;

#[test]
fn a_login_of_the_same_device_type_kicks_the_older_one() {
    let mut bench = Bench::new();
    let old = bench.log_in("alice");
    let (phone, _) = bench.log_in_on("alice", "alice", DeviceType::IOS);
    assert_eq!(bench.carried(), []);
    bench.log_in("alice");
    assert_eq!(bench.carried(), [(old.conn, Err(KickReason::LoggedInElsewhere))]);
    let links = vec![(old.uid.clone(), old.conn), (phone.uid.clone(), phone.conn)];
    let evicted = bench.logic.evicted(links);
    assert_eq!(bench.pool.run_until(evicted).unwrap(), [old.conn]);
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
    let alice = Uid::new("alice").unwrap();
    let all = links.iter().map(|conn| (alice.clone(), *conn)).collect();
    assert_eq!(bench.pool.run_until(bench.logic.evicted(all)).unwrap(), [links[0]]);
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
