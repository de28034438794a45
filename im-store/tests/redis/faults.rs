//! What callers see of a Redis that is killed, stalls or fails over.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use futures::StreamExt;
use im_core::id::{ConnId, DeviceId, DeviceType, LoginEpoch, NodeId, Uid};
use im_core::router::{Bus, Continuity, Delivery, KickPolicy, Parcel, Route, RouteError, Routes};
use im_core::session::KickReason;
use im_core::time::Timestamp;
use im_store::redis::{RedisBus, RedisOptions, RedisRoutes};
use im_test_servers::{Proxy, Redis, RedisSentinel};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::Bench;

const LEASE: Duration = Duration::from_secs(60);

/// A call's deadline, and what a machine under load may take beyond it.
const LONGEST: Duration = Duration::from_secs(5);

/// From the moment at which Redis is there again.
const RESUMES_WITHIN: Duration = Duration::from_secs(5);

fn route(conn: i64) -> Route {
    Route {
        uid: Uid::new("bob").unwrap(),
        device: DeviceId::new(&format!("device {conn}")).unwrap(),
        device_type: DeviceType::IOS,
        conn: ConnId(conn),
        node: NodeId(1),
        epoch: LoginEpoch(0),
        since: Timestamp(1_000),
    }
}

async fn conns(routes: &RedisRoutes) -> Result<Vec<i64>, RouteError> {
    let found = routes.find(vec![Uid::new("bob").unwrap()]).await?;
    Ok(found[0].iter().map(|route| route.conn.0).collect())
}

/// Asks until there is an answer.
async fn answers(routes: &RedisRoutes) -> Vec<i64> {
    let asked = Instant::now();
    loop {
        match conns(routes).await {
            Ok(conns) => return conns,
            Err(RouteError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(error) => panic!("{error}"),
        }
        assert!(asked.elapsed() < RESUMES_WITHIN, "Redis is there and no call succeeds");
    }
}

async fn fails_in_time(routes: &RedisRoutes) {
    let asked = Instant::now();
    let failed = routes.register(route(9), KickPolicy::Never).await;
    assert!(matches!(failed, Err(RouteError::Unavailable(Some(_)))), "{failed:?}");
    assert!(asked.elapsed() < LONGEST, "it took {:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_redis_is_unavailable_and_comes_back_with_the_links_that_are_confirmed() {
    let server = Redis::start();
    let routes = RedisRoutes::new(Bench(server.url().to_owned()).redis().await);
    assert_eq!(routes.renew(NodeId(1), 1, LEASE).await.unwrap(), Continuity::Kept);
    let mut held = route(1);
    held.epoch = routes.register(held.clone(), KickPolicy::Never).await.unwrap().epoch;
    server.kill();
    fails_in_time(&routes).await;
    server.restart();
    assert_eq!(answers(&routes).await, Vec::<i64>::new());
    assert_eq!(routes.renew(NodeId(1), 1, LEASE).await.unwrap(), Continuity::PerhapsLost);
    assert_eq!(routes.renew(NodeId(1), 1, LEASE).await.unwrap(), Continuity::Kept);
    routes.confirm(vec![held.clone()], KickPolicy::Never).await.unwrap();
    assert_eq!(conns(&routes).await.unwrap(), [1]);
    let later = routes.register(route(2), KickPolicy::Never).await.unwrap();
    assert!(later.epoch > held.epoch);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_redis_is_unavailable_within_the_deadline() {
    let server = Redis::start();
    let proxy = Proxy::start(server.port());
    let redis = RedisOptions::new(format!("redis://127.0.0.1:{}", proxy.port()));
    let routes = RedisRoutes::new(redis.call_deadline(Duration::from_millis(500)).open().await.unwrap());
    routes.renew(NodeId(1), 1, LEASE).await.unwrap();
    routes.register(route(1), KickPolicy::Never).await.unwrap();
    for fault in [Proxy::stall, Proxy::cut] {
        fault(&proxy);
        let asked = Instant::now();
        // Many at one time fail together, not one after the other.
        let all = (0..200).map(|_| routes.remove(vec![(Uid::new("carol").unwrap(), ConnId(1))]));
        let failed = futures::future::join_all(all).await;
        assert!(failed.iter().all(Result::is_err));
        assert!(asked.elapsed() < LONGEST, "it took {:?}", asked.elapsed());
        proxy.heal();
        assert_eq!(answers(&routes).await, [1]);
    }
}

/// A way to a Redis on which answers take so long, whatever they are; its port.
async fn slow_way(port: u16, pause: Duration) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
            let ((mut asks, mut hears), (mut answers, mut is_asked)) =
                (client.into_split(), server.into_split());
            tokio::spawn(async move { tokio::io::copy(&mut asks, &mut is_asked).await });
            tokio::spawn(async move {
                let mut buffer = vec![0; 1 << 16];
                while let Ok(read @ 1..) = answers.read(&mut buffer).await {
                    tokio::time::sleep(pause).await;
                    hears.write_all(&buffer[..read]).await.unwrap();
                }
            });
        }
    });
    own
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_a_slow_redis_do_not_wait_one_after_the_other() {
    let server = Redis::start();
    // What is known of the nodes is old by the time it comes.
    let port = slow_way(server.port(), Duration::from_millis(600)).await;
    let redis = RedisOptions::new(format!("redis://127.0.0.1:{port}")).open().await.unwrap();
    let routes = RedisRoutes::new(redis);
    let asked = Instant::now();
    let found = futures::future::join_all((0..50).map(|_| conns(&routes))).await;
    assert!(found.iter().all(|found| found.as_ref().is_ok_and(Vec::is_empty)), "{found:?}");
    assert!(asked.elapsed() < 4 * LONGEST, "it took {:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_that_lost_writes_is_noticed_and_the_new_master_is_found() {
    let group = RedisSentinel::start();
    let routes = RedisRoutes::new(Bench(group.url()).redis().await);
    routes.renew(NodeId(1), 1, LEASE).await.unwrap();
    let mut early = route(1);
    early.epoch = routes.register(early.clone(), KickPolicy::Never).await.unwrap().epoch;
    group.catch_up();
    group.part();
    routes.renew(NodeId(1), 1, LEASE).await.unwrap();
    let mut late = route(2);
    late.epoch = routes.register(late.clone(), KickPolicy::Never).await.unwrap().epoch;
    tokio::task::block_in_place(|| group.fail_over());
    assert_eq!(answers(&routes).await, [1]);
    assert_eq!(routes.renew(NodeId(1), 1, LEASE).await.unwrap(), Continuity::PerhapsLost);
    routes.confirm(vec![early, late], KickPolicy::Never).await.unwrap();
    assert_eq!(conns(&routes).await.unwrap(), [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_ends_with_its_connection_and_the_next_one_works() {
    let server = Redis::start();
    let proxy = Proxy::start(server.port());
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let bus =
        RedisBus::new(RedisOptions::new(url).call_deadline(Duration::from_millis(500)).open().await.unwrap());
    let parcel = Parcel::Kick { reason: KickReason::GoingAway, retry_after: None };
    let kick = vec![Delivery { node: NodeId(1), conn: ConnId(7), parcel }];
    for fault in [Proxy::cut, Proxy::stall] {
        let mut subscription = bus.subscribe(NodeId(1)).await.unwrap();
        bus.publish(kick.clone()).await.unwrap();
        assert_eq!(subscription.next().await, Some(kick.clone()));
        fault(&proxy);
        let ended = tokio::time::timeout(LONGEST, subscription.next()).await;
        assert_eq!(ended.expect("it ends"), None);
        assert!(bus.publish(kick.clone()).await.is_err());
        proxy.heal();
        let healed = Instant::now();
        while bus.publish(kick.clone()).await.is_err() {
            assert!(healed.elapsed() < RESUMES_WITHIN);
        }
    }
}

#[tokio::test]
async fn an_address_where_no_redis_is_says_so() {
    let port = Redis::start().port();
    let failed = RedisOptions::new(format!("redis://127.0.0.1:{port}")).open().await.unwrap_err();
    assert_eq!(failed.to_string(), "Redis cannot be reached: is it running, and is the address right?");
}
