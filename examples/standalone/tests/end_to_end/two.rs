//! Two servers over one MariaDB and one Redis.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use im_test_servers::{MariaDb, Proxy, Redis, RedisSentinel};

use super::kill::{Sender, assert_has_everything, received};
use super::links::Link;
use super::programs::{Server, free_port, tokens};

/// Within this time one of two conflicting logins is gone, whatever happened to Redis.
const ONE_SURVIVES: Duration = Duration::from_secs(10);

/// Within this time a user who is online hears, whatever happened to Redis: less than a heartbeat.
const HEARS: Duration = Duration::from_secs(30);

/// A route's lease.
const LEASE: Duration = Duration::from_secs(10);

/// The reasons of a kickout.
const GOING_AWAY: i32 = 3;

fn servers(data: &Path, routes: [&str; 2]) -> [Server; 2] {
    let store = MariaDb::shared().database("two");
    [("a", routes[0]), ("b", routes[1])].map(|(node, routes)| {
        let address = format!("127.0.0.1:{}", free_port());
        Server::start_with(data, &address, &store, &[("IM_NODE", node), ("IM_ROUTES", routes)])
    })
}

#[test]
fn users_on_different_servers_chat() {
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::start();
    let [a, b] = servers(folder.path(), [redis.url(), redis.url()]);
    let (data, there) = (folder.path().to_owned(), b.address.clone());
    let online = thread::spawn(move || received(&data, &there, "bob", ["phone", "1"]));
    Sender::start(folder.path(), &a.address, "bob", 64).finish();
    assert_has_everything(&online.join().unwrap());
    assert_has_everything(&received(folder.path(), &a.address, "bob", ["desk", "3"]));
}

#[test]
fn who_is_online_hears_everything_though_redis_fails_over_and_the_senders_server_stops() {
    let redis = RedisSentinel::start();
    hears_everything(&redis.url(), || redis.master().kill());
}

#[test]
fn who_is_online_hears_everything_though_redis_is_flushed_and_the_senders_server_stops() {
    let redis = Redis::start();
    hears_everything(redis.url(), || redis.flush());
}

/// Nobody is left to hint at what found no way to bob, so his own server has to look.
fn hears_everything(routes: &str, lose: impl FnOnce()) {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = servers(folder.path(), [routes; 2]);
    let (data, there) = (folder.path().to_owned(), b.address.clone());
    let online = thread::spawn(move || received(&data, &there, "bob", ["phone", "1"]));
    let mut alice = Sender::start(folder.path(), &a.address, "bob", 64);
    alice.wait_for(100);
    lose();
    alice.finish();
    let (code, took) = a.terminate();
    let stopped = Instant::now();
    assert_eq!(code, Some(0), "after {took:?}");
    assert_has_everything(&online.join().unwrap());
    println!("the server stopped in {took:?}, and bob heard everything {:?} later", stopped.elapsed());
    assert!(stopped.elapsed() < HEARS, "bob hears late: after {:?}", stopped.elapsed());
}

#[test]
fn of_racing_logins_on_both_one_survives() {
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::start();
    let servers = servers(folder.path(), [redis.url(), redis.url()]);
    for round in 0..4 {
        let mut pairs = race(folder.path(), &servers, round);
        assert_one_survives(&mut pairs, Instant::now());
    }
}

#[test]
fn of_racing_logins_on_both_one_survives_a_flush() {
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::start();
    let servers = servers(folder.path(), [redis.url(), redis.url()]);
    for round in 0..4 {
        let mut pairs = thread::scope(|scope| {
            let flushes = scope.spawn(|| {
                for pause in [20, 30, 50, 80] {
                    thread::sleep(Duration::from_millis(pause));
                    redis.flush();
                }
            });
            let pairs = race(folder.path(), &servers, round);
            flushes.join().unwrap();
            pairs
        });
        redis.flush();
        assert_one_survives(&mut pairs, Instant::now());
    }
}

#[test]
fn of_racing_logins_on_both_one_survives_a_failover_that_loses_them() {
    let folder = tempfile::tempdir().unwrap();
    let redis = RedisSentinel::start();
    let servers = servers(folder.path(), [&redis.url(), &redis.url()]);
    // The replica knows one half of the first logins, and nothing of the second ones.
    let mut early = race(folder.path(), &servers, 0);
    redis.part();
    let mut late = race(folder.path(), &servers, 1);
    redis.fail_over();
    let failed_over = Instant::now();
    assert_one_survives(&mut early, failed_over);
    assert_one_survives(&mut late, failed_over);
}

#[test]
fn a_server_that_is_cut_off_from_redis_sends_its_links_away_before_its_lease_ends() {
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::start();
    let proxy = Proxy::start(redis.port());
    let servers = servers(folder.path(), [redis.url(), &format!("redis://127.0.0.1:{}", proxy.port())]);
    let users: Vec<String> = ["alice", "bob", "carol"].map(str::to_owned).to_vec();
    let tokens = tokens(folder.path(), &users);
    let log_in =
        |server: usize, user: usize| Link::ask(&servers[server].address, &users[user], &tokens[user]);
    let (mut here, mut there) = (log_in(0, 0), log_in(1, 1));
    assert!(here.is_granted() && there.is_granted());
    proxy.stall();
    let stalled = Instant::now();
    while there.kicked().is_none() {
        assert!(stalled.elapsed() < LEASE, "bob is still online where nobody finds him");
    }
    println!("sent away after {:?}", stalled.elapsed());
    assert_eq!(there.kicked(), Some(GOING_AWAY));
    assert!(!log_in(1, 2).is_granted());
    assert!(here.kicked().is_none() && !here.is_closed());
    proxy.heal();
    let healed = Instant::now();
    while !log_in(1, 2).is_granted() {
        assert!(healed.elapsed() < LEASE, "it does not come back");
        thread::sleep(Duration::from_millis(100));
    }
    println!("serves again after {:?}", healed.elapsed());
}

/// 250 users log in on both servers at the same time.
fn race(data: &Path, servers: &[Server; 2], round: u32) -> Vec<[Link; 2]> {
    let users: Vec<String> = (0..250).map(|user| format!("racer-{round}-{user}")).collect();
    let tokens = tokens(data, &users);
    let log_in = |server: &Server| -> Vec<Link> {
        let asked = users.iter().zip(&tokens).map(|(user, token)| Link::ask(&server.address, user, token));
        let mut links: Vec<Link> = asked.collect();
        links.iter_mut().for_each(|link| _ = link.is_granted());
        links
    };
    thread::scope(|scope| {
        let there = scope.spawn(|| log_in(&servers[1]));
        let here = log_in(&servers[0]);
        here.into_iter().zip(there.join().unwrap()).map(|(one, other)| [one, other]).collect()
    })
}

fn assert_one_survives(pairs: &mut [[Link; 2]], since: Instant) {
    loop {
        let left: Vec<usize> = pairs
            .iter_mut()
            .map(|pair| pair.iter_mut().filter_map(|link| (!link.is_closed()).then_some(())).count())
            .collect();
        assert!(left.iter().all(|left| *left > 0), "both logins of a user are gone");
        let twice = left.iter().filter(|left| **left == 2).count();
        if twice == 0 {
            break;
        }
        thread::sleep(Duration::from_millis(20));
        assert!(since.elapsed() < ONE_SURVIVES, "{twice} users still have two links that conflict");
    }
    println!("one survives of {} pairs after {:?}", pairs.len(), since.elapsed());
    // And stays.
    thread::sleep(Duration::from_secs(1));
    assert!(pairs.iter_mut().all(|[one, other]| one.is_closed() != other.is_closed()));
}
