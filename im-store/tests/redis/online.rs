//! Who is online: many users, gates that die, and sets that get lost.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use im_core::id::{ConnId, DeviceId, DeviceType, LoginEpoch, NodeId, Uid};
use im_core::router::{KickPolicy, Route, Routes};
use im_core::time::Timestamp;
use im_store::redis::{RedisOptions, RedisRoutes};
use im_test_servers::{Redis, RedisCluster};

const LEASE: Duration = Duration::from_secs(300);

fn route(number: i64, node: u16) -> Route {
    Route {
        uid: Uid::new(&format!("user {number}")).unwrap(),
        device: DeviceId::new("phone").unwrap(),
        device_type: DeviceType::IOS,
        conn: ConnId(number),
        node: NodeId(node),
        epoch: LoginEpoch(0),
        since: Timestamp(1_000),
    }
}

/// Asks until it is so.
async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let asked = Instant::now();
    while !is_so().await {
        assert!(asked.elapsed() < Duration::from_secs(60), "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Logs users in, and gives their routes as a gate holds them.
async fn log_in(routes: &RedisRoutes, numbers: std::ops::Range<i64>, node: u16) -> Vec<Route> {
    let mut held: Vec<Route> = numbers.map(|number| route(number, node)).collect();
    for link in &mut held {
        link.epoch = routes.register(link.clone(), KickPolicy::Never).await.unwrap().epoch;
    }
    held
}

/// The whole list, by pages of this size.
async fn list(routes: &RedisRoutes, limit: usize) -> Vec<Uid> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = routes.list_online(after, limit).await.unwrap();
        assert!(page.users.len() <= limit);
        all.extend(page.users.iter().map(|user| user[0].uid.clone()));
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_counts_and_lists_many_users_once() {
    let cluster = RedisCluster::start();
    let routes = RedisRoutes::new(RedisOptions::new(cluster.url()).open().await.unwrap());
    routes.renew(NodeId(1), 1, LEASE).await.unwrap();
    log_in(&routes, 0..3_000, 1).await;
    assert_eq!(routes.count_online().await.unwrap(), 3_000);
    for limit in [100, 1_000_000] {
        let listed = list(&routes, limit).await;
        assert_eq!((listed.len(), listed.into_iter().collect::<BTreeSet<_>>().len()), (3_000, 3_000));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_comes_back_with_the_gates_reports() {
    let server = Redis::start();
    let routes = RedisRoutes::new(RedisOptions::new(server.url()).open().await.unwrap());
    routes.renew(NodeId(1), 1, LEASE).await.unwrap();
    let held = log_in(&routes, 0..50, 1).await;
    server.flush();
    routes.renew(NodeId(1), 1, LEASE).await.unwrap();
    assert_eq!((routes.count_online().await.unwrap(), list(&routes, 10).await.len()), (0, 0));
    routes.confirm(held.clone(), KickPolicy::Never).await.unwrap();
    assert_eq!((routes.count_online().await.unwrap(), list(&routes, 10).await.len()), (50, 50));
    // The sets alone, as by a node of a cluster that has no user's links.
    server.run("EVAL \"for _, key in ipairs(redis.call('KEYS', 'im:o:*')) do redis.call('DEL', key) end\" 0");
    assert_eq!(routes.count_online().await.unwrap(), 0);
    routes.confirm(held, KickPolicy::Never).await.unwrap();
    assert_eq!((routes.count_online().await.unwrap(), list(&routes, 10).await.len()), (50, 50));
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_a_gate_that_died_are_listed_no_more_and_counted_for_a_while() {
    let server = Redis::start();
    let ttl = Duration::from_secs(3);
    let routes = RedisRoutes::new(RedisOptions::new(server.url()).online_ttl(ttl).open().await.unwrap());
    routes.renew(NodeId(1), 1, LEASE).await.unwrap();
    routes.renew(NodeId(2), 1, LEASE).await.unwrap();
    let held = log_in(&routes, 0..20, 1).await;
    log_in(&routes, 20..50, 2).await;
    routes.renew(NodeId(2), 1, Duration::from_millis(1)).await.unwrap();
    until("those of the dead gate are not listed", async || list(&routes, 7).await.len() == 20).await;
    until("those of the dead gate do not count", async || {
        routes.confirm(held.clone(), KickPolicy::Never).await.unwrap();
        routes.count_online().await.unwrap() == 20
    })
    .await;
    // Each report clears one set.
    for _ in 0..1_024 {
        routes.confirm(held[..1].to_vec(), KickPolicy::Never).await.unwrap();
    }
    let left = "EVAL \"local n = 0 for _, key in ipairs(redis.call('KEYS', 'im:o:*')) do n = n + redis.call('ZCARD', key) end return n\" 0";
    let left: u64 = server.run(left).trim().trim_start_matches(':').parse().unwrap();
    assert!(left <= 20, "{left} are left");
}
