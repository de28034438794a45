//! Kicks, which pushes must not take with them.

use std::time::{Duration, Instant};

use futures::StreamExt;
use im_core::id::{ConnId, NodeId};
use im_core::router::{Bus, Delivery, Parcel};
use im_core::session::KickReason;
use im_core::testing::conformance::run_bus_suite;
use im_store::redis::{RedisBus, RedisOptions};
use im_test_servers::Redis as Server;

use crate::{Bench, accept};

fn kick(conn: i64) -> Delivery {
    let parcel = Parcel::Kick { reason: KickReason::Administrator, retry_after: None };
    Delivery { node: NodeId(7), conn: ConnId(conn), parcel }
}

/// The connections that are subscribed to one channel or more, the oldest first.
fn subscribers(server: &Server) -> Vec<u64> {
    let id = |line: &str| line.strip_prefix("id=")?.split(' ').next()?.parse().ok();
    let mut ids: Vec<u64> = server.run("CLIENT LIST TYPE pubsub").lines().filter_map(id).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_cuts_every_slow_subscriber_loses_pushes_alone() {
    // Less than one of the suite's large pushes.
    let limit = ["--client-output-buffer-limit", "pubsub", "256kb", "256kb", "0"];
    let server = Server::start_with(&limit);
    let report = run_bus_suite(|| Bench(server.url().to_owned())).await;
    accept(&report, "Redis that cuts subscribers", "bus");
}

#[tokio::test(flavor = "multi_thread")]
async fn kicks_wait_for_a_gate_whose_pushes_were_cut() {
    let server = Server::start();
    let bus = RedisBus::new(RedisOptions::new(server.url()).open().await.unwrap());
    let mut subscription = bus.subscribe(NodeId(7)).await.unwrap();
    let ids = subscribers(&server);
    assert_eq!(ids.len(), 2, "one for kicks and one for pushes");
    // As Redis does with a subscriber that reads too slowly.
    server.run(&format!("CLIENT KILL ID {}", ids[1]));
    assert_eq!(subscription.next().await, None);
    bus.publish(vec![kick(1), kick(2)]).await.unwrap();
    let mut subscription = bus.subscribe(NodeId(7)).await.unwrap();
    bus.publish(vec![kick(3)]).await.unwrap();
    let mut kicked = Vec::new();
    while kicked.len() < 3 {
        let batch = tokio::time::timeout(Duration::from_secs(30), subscription.next()).await;
        kicked.extend(batch.expect("kicks come").expect("the subscription lasts"));
    }
    assert_eq!(kicked, [kick(1), kick(2), kick(3)]);
    // Both connections end with the subscription.
    drop(subscription);
    let asked = Instant::now();
    while !subscribers(&server).is_empty() {
        assert!(asked.elapsed() < Duration::from_secs(30), "a connection is left");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_ends_with_the_connection_of_its_kicks_too() {
    let server = Server::start();
    let bus = RedisBus::new(RedisOptions::new(server.url()).open().await.unwrap());
    let mut subscription = bus.subscribe(NodeId(7)).await.unwrap();
    server.run(&format!("CLIENT KILL ID {}", subscribers(&server)[0]));
    assert_eq!(subscription.next().await, None);
    let mut subscription = bus.subscribe(NodeId(7)).await.unwrap();
    bus.publish(vec![kick(3)]).await.unwrap();
    assert_eq!(subscription.next().await, Some(vec![kick(3)]));
}
