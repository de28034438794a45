//! Deployments that share a Redis: nothing of one reaches another.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use im_core::id::{ConnId, DeviceId, DeviceType, GroupId, LoginEpoch, NodeId, RoomId, Uid};
use im_core::memory::{MemoryBlocklist, MemoryStore};
use im_core::message::{Message, Target, TimelineId};
use im_core::ports::Locks;
use im_core::router::{Bus, Delivery, KickPolicy, Parcel, Route, RouterNodes, Routes, Subscription};
use im_core::session::{KickReason, Push};
use im_core::storage::{Block, Blocklist, Conversations, Post, Timelines};
use im_core::time::Timestamp;
use im_proto::{CmdId, Suffix};
use im_store::redis::{
    CachedBlocklist, CachedStore, Redis, RedisBus, RedisError, RedisLocks, RedisOptions, RedisRoutes,
};
use im_test_servers::{Redis as Server, RedisCluster};

use crate::posts;

const LEASE: Duration = Duration::from_secs(300);

/// How long something may be on its way on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(30);

const NODE: NodeId = NodeId(0);

/// Deployments of which each has a server of the same number, and bob there.
struct Deployment {
    redis: Redis,
    routes: RedisRoutes,
    bus: RedisBus,
    arrives: Subscription,
}

impl Deployment {
    async fn start(options: RedisOptions, life: i64, bob: i64) -> Self {
        let redis = options.open().await.unwrap();
        let (routes, bus) = (RedisRoutes::new(redis.clone()), RedisBus::new(redis.clone()));
        routes.renew(NODE, life, LEASE).await.unwrap();
        let route = Route {
            uid: Uid::new("bob").unwrap(),
            device: DeviceId::default(),
            device_type: DeviceType::IOS,
            conn: ConnId(bob),
            node: NODE,
            epoch: LoginEpoch(0),
            since: Timestamp(1_000),
        };
        assert_eq!(routes.register(route, KickPolicy::OnePerUser).await.unwrap().evicted, []);
        let arrives = bus.subscribe(NODE).await.unwrap();
        Self { redis, routes, bus, arrives }
    }

    /// Bob's links.
    async fn bobs(&self) -> Vec<i64> {
        let found = self.routes.find(vec![Uid::new("bob").unwrap()]).await.unwrap();
        found[0].iter().map(|route| route.conn.0).collect()
    }

    async fn lives(&self) -> Vec<i64> {
        match self.routes.nodes().await.unwrap() {
            RouterNodes::Shared(nodes) => nodes.iter().map(|node| node.life).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// Everything that arrives before `last`, and that.
    async fn hears(&mut self, last: &Delivery) -> Vec<Delivery> {
        let mut heard = Vec::new();
        while !heard.contains(last) {
            let batch = tokio::time::timeout(PATIENCE, self.arrives.next()).await.expect("something comes");
            heard.extend(batch.expect("nobody takes the subscription"));
        }
        heard
    }
}

/// A push, what is said in a room, and a kick.
fn parcels(conn: i64) -> Vec<Delivery> {
    let push = Push { cmd: CmdId::C2C_PUSH, body: Bytes::from_static(b"hello"), suffix: Suffix::NONE };
    let room = RoomId::new("lobby").unwrap();
    let kick = Parcel::Kick { reason: KickReason::LoggedInElsewhere, retry_after: None };
    let parcels = [Parcel::Room(room, push.clone()), kick, Parcel::Push(push)];
    parcels.into_iter().map(|parcel| Delivery { node: NODE, conn: ConnId(conn), parcel }).collect()
}

/// Neither finds or hears anything of the other.
async fn assert_apart(one: RedisOptions, other: RedisOptions) {
    let mut one = Deployment::start(one, 1, 11).await;
    let mut other = Deployment::start(other, 2, 22).await;
    assert_eq!((one.bobs().await, other.bobs().await), (vec![11], vec![22]));
    assert_eq!((one.lives().await, other.lives().await), (vec![1], vec![2]));
    for (from, conn) in [(&one, 11), (&other, 22)] {
        from.bus.publish(parcels(conn)).await.unwrap();
        assert_eq!(from.routes.count_online().await.unwrap(), 1);
        assert!(RedisLocks::new(from.redis.clone()).acquire("job", "me", LEASE).await.unwrap().is_some());
    }
    for (to, conn) in [(&mut one, 11), (&mut other, 22)] {
        // Kicks and pushes come over two connections, each in its order.
        let [_, kick, push] = &parcels(conn)[..] else { panic!("three") };
        let mut heard = to.hears(push).await;
        if !heard.contains(kick) {
            heard.extend(to.hears(kick).await);
        }
        assert_eq!(heard.len(), 3, "{heard:?}");
        assert!(heard.iter().all(|delivery| delivery.conn == ConnId(conn)), "{heard:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_databases_of_one_redis_are_apart() {
    let server = Server::start();
    let database = |number| RedisOptions::new(format!("{}/{number}", server.url()));
    assert_apart(database(0), database(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_prefixes_in_one_database_are_apart() {
    let server = Server::start();
    let prefix = |prefix| RedisOptions::new(server.url()).prefix(prefix);
    assert_apart(prefix("im"), prefix("im2")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_prefixes_in_one_cluster_are_apart_also_as_hash_tags() {
    let cluster = RedisCluster::start();
    let prefix = |prefix| RedisOptions::new(cluster.url()).prefix(prefix);
    assert_apart(prefix("{shop}"), prefix("{forum}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_that_could_hide_in_anothers_names_is_refused() {
    let server = Server::start();
    for prefix in ["im:u", "", "im *"] {
        let refused = RedisOptions::new(server.url()).prefix(prefix).open().await.unwrap_err();
        assert!(matches!(&refused, RedisError::Prefix(told) if told == prefix), "{refused}");
    }
}

/// What the caches keep.
async fn fill_caches(redis: &Redis) {
    let store = CachedStore::open(Arc::new(MemoryStore::default()), redis.clone()).await.unwrap();
    let bob = Uid::new("bob").unwrap();
    store.conversations(&bob, None, 10).await.unwrap();
    let timeline = TimelineId::Group(GroupId(7));
    let Post { message, .. } = posts::direct("alice", "bob", 1, 20);
    let message = Message { to: Target::Group(GroupId(7)), kind: CmdId::C2G_SEND, ..message };
    for placed in store.append(vec![Post { message, home: timeline, copy: None }]).await {
        placed.unwrap();
    }
    let list = CachedBlocklist::new(Arc::new(MemoryBlocklist::default()), redis.clone());
    list.blocked(vec![Block { owner: bob.clone(), other: bob }]).await.unwrap();
}

/// The names of the keys in database 3, and of the channels.
fn names(server: &Server) -> (Vec<String>, Vec<String>) {
    // An inline command begins in database 0.
    let keys = server.run("EVAL \"redis.call('SELECT', 3) return redis.call('KEYS', '*')\" 0");
    let names = |text: String| text.lines().map(str::to_owned).collect();
    (names(keys), names(server.run("PUBSUB CHANNELS")))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_name_begins_with_the_prefix() {
    let server = Server::start();
    let options = RedisOptions::new(format!("{}/3", server.url())).prefix("mine");
    let deployment = Deployment::start(options, 1, 11).await;
    RedisLocks::new(deployment.redis.clone()).acquire("job", "me", LEASE).await.unwrap();
    fill_caches(&deployment.redis).await;
    let asked = Instant::now();
    // The cache of groups is filled beside the answer.
    let (keys, channels) = loop {
        let (keys, channels) = names(&server);
        let kind = |name: &String| name.split(':').nth(1).map(str::to_owned);
        let kinds: BTreeSet<String> = keys.iter().chain(&channels).filter_map(kind).collect();
        if kinds.iter().eq(["b", "c", "g", "k", "l", "nodes", "o", "u", "x"]) {
            break (keys, channels);
        }
        assert!(asked.elapsed() < PATIENCE, "{kinds:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    for name in keys.iter().chain(&channels) {
        assert!(name.starts_with("mine:"), "{name}");
    }
    for name in channels {
        assert!(name.ends_with(":3:0"), "{name}");
    }
}
