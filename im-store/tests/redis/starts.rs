//! Servers that start at a Redis: beside whom, and what they are told of a Redis that could not serve them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use futures::future::BoxFuture;
use im_core::id::NodeId;
use im_core::logic::{Logic, Policy, Ports, StartError, Stranger};
use im_core::memory::MemoryStore;
use im_core::ports::{AuthError, Authenticator, Clock, Credentials, Identity, LogWakeUp, OpenRooms};
use im_core::router::{Bus, RouteError, RouterNodes, Routes};
use im_core::time::{Tick, Timestamp};
use im_store::redis::{Redis, RedisBus, RedisOptions, RedisRoutes};
use im_test_servers::{Redis as Server, RedisCluster};

struct RealClock(Instant);

impl Clock for RealClock {
    fn tick(&self) -> Tick {
        Tick::default() + self.0.elapsed()
    }

    fn now(&self) -> Timestamp {
        Timestamp(0) + SystemTime::UNIX_EPOCH.elapsed().unwrap()
    }

    fn sleep_until(&self, deadline: Tick) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(deadline.since(self.tick())))
    }
}

struct Nobody;

#[async_trait]
impl Authenticator for Nobody {
    async fn authenticate(&self, _: &Credentials, _: Timestamp) -> Result<Identity, AuthError> {
        Err(AuthError::Refused("nobody"))
    }
}

/// A server that renews its leases until it is dropped.
struct Running(Arc<Logic>, tokio::task::JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.1.abort();
    }
}

async fn start(store: &Arc<MemoryStore>, redis: &Redis, name: &str) -> Result<Running, StartError> {
    let ports = Ports {
        store: store.clone(),
        routes: Arc::new(RedisRoutes::new(redis.clone())),
        bus: Arc::new(RedisBus::new(redis.clone())),
        authenticator: Arc::new(Nobody),
        wake_up: Arc::new(LogWakeUp),
        clock: Arc::new(RealClock(Instant::now())),
        rooms: Arc::new(OpenRooms),
        blocklist: None,
        commands: BTreeMap::new(),
    };
    let mut policy = Policy::default();
    policy.node_lease = Duration::from_secs(3);
    policy.route_lease = Duration::from_secs(3);
    let (logic, background) = Logic::start(ports, policy, name).await?;
    Ok(Running(logic, tokio::spawn(im_core::logic::run_all(background))))
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_of_two_stores_do_not_start_at_one_router() {
    let server = Server::start();
    let redis = RedisOptions::new(server.url()).open().await.unwrap();
    let elsewhere = RedisOptions::new(server.url()).prefix("elsewhere").open().await.unwrap();
    let [mine, theirs] = [(); 2].map(|()| Arc::new(MemoryStore::default()));
    // Both have given the number 0 once to a server of this name, and theirs was at a router of its own until now.
    drop(start(&theirs, &elsewhere, "standalone").await.unwrap());
    let first = start(&mine, &redis, "standalone").await.unwrap();
    for _ in 0..2 {
        let refused = start(&theirs, &redis, "standalone").await.err().expect("it is refused");
        let stranger = Stranger::OfAnotherStore { node: first.0.node() };
        assert!(matches!(&refused, StartError::Company(told) if *told == stranger), "{refused}");
    }
    assert!(!first.0.is_superseded() && !first.0.is_cut_off());
    // The same store's servers come and go.
    let second = start(&mine, &redis, "second").await.unwrap();
    drop(first);
    let again = start(&mine, &redis, "standalone").await.unwrap();
    assert_eq!((again.0.node(), second.0.node()), (NodeId(0), NodeId(1)));
}

/// What a server is told that starts at such a Redis.
async fn told(options: RedisOptions) -> String {
    let redis = match options.open().await {
        Ok(redis) => redis,
        Err(error) => return error.to_string(),
    };
    let routes = RedisRoutes::new(redis.clone());
    // Each start has a later life.
    static LIFE: AtomicI64 = AtomicI64::new(1);
    let life = LIFE.fetch_add(1, Ordering::Relaxed);
    if let Err(error) = routes.renew(NodeId(0), life, Duration::from_secs(60)).await {
        return with_causes(&error);
    }
    match RedisBus::new(redis).subscribe(NodeId(0)).await {
        Ok(_) => "it serves".to_owned(),
        Err(error) => with_causes(&error),
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", with_causes(cause)),
        None => error.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_takes_no_writes_is_told_before_anybody_logs_in() {
    let server = Server::start();
    let told = || told(RedisOptions::new(server.url()));
    for (state, well, reason) in [
        ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0", "min-replicas-to-write"),
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", "its memory is full"),
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "it is a replica"),
    ] {
        server.run(state);
        let words = told().await;
        assert!(words.contains(reason), "{state}: {words}");
        server.run(well);
        assert_eq!(told().await, "it serves", "after {state}");
    }
}

/// A user who may do what the documentation says, or a bit less.
async fn told_to_user(server: &Server, less: &str) -> String {
    let all = "-@all +@read +@write +@pubsub +evalsha +script|load +time +ping";
    server.run(&format!("ACL SETUSER im reset on >secret ~im:* &im:* {all} {less}"));
    let words = told(RedisOptions::new(format!("redis://im:secret@127.0.0.1:{}", server.port()))).await;
    server.run("ACL DELUSER im");
    words
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_acl_forbids_is_told_before_anybody_logs_in() {
    let server = Server::start();
    assert_eq!(told_to_user(&server, "").await, "it serves");
    for less in [
        "-evalsha",
        "-script",
        "-time",
        "-hset",
        "-hget",
        "-hdel",
        "-hgetall",
        "-pexpire",
        "-exists",
        "-zadd",
        "-zrem",
        "-zcount",
        "-zrangebyscore",
        "-zremrangebyscore",
        "-publish",
        "-subscribe",
        "resetkeys",
        "resetchannels",
    ] {
        // What others have loaded needs not be loaded again.
        server.run("SCRIPT FLUSH");
        let words = told_to_user(&server, less).await;
        assert!(words.contains("Redis forbids its user"), "{less}: {words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_the_documented_rights_may_serve_in_any_database_and_a_cluster() {
    let rights = "on >secret ~im:* &im:* -@all +@read +@write +@pubsub +evalsha +script|load +time +ping";
    let server = Server::start();
    server.run(&format!("ACL SETUSER im {rights} +select"));
    let url = format!("redis://im:secret@127.0.0.1:{}/3", server.port());
    assert_eq!(told(RedisOptions::new(url)).await, "it serves");
    let cluster = RedisCluster::start();
    for server in cluster.servers() {
        server.run(&format!("ACL SETUSER im {rights} +cluster"));
    }
    let url = cluster.url().replace("://", "://im:secret@");
    assert_eq!(told(RedisOptions::new(url)).await, "it serves");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_which_a_part_is_missing_is_told_before_anybody_logs_in() {
    let cluster = RedisCluster::start();
    assert_eq!(told(RedisOptions::new(cluster.url())).await, "it serves");
    for server in cluster.servers() {
        server.run("CLUSTER DELSLOTSRANGE 0 100");
    }
    let words = told(RedisOptions::new(cluster.url())).await;
    assert!(words.contains("the Redis Cluster is down"), "{words}");
}

const LEASE: Duration = Duration::from_secs(300);

async fn routes(server: &Server) -> RedisRoutes {
    RedisRoutes::new(RedisOptions::new(server.url()).open().await.unwrap())
}

#[tokio::test]
async fn two_processes_do_not_live_as_one_node_also_under_one_life() {
    let server = Server::start();
    let [first, second] = [routes(&server).await, routes(&server).await];
    first.renew(NodeId(0), 7, LEASE).await.unwrap();
    assert!(matches!(second.renew(NodeId(0), 7, LEASE).await, Err(RouteError::Superseded)));
    first.renew(NodeId(0), 7, LEASE).await.unwrap();
}

#[tokio::test]
async fn a_later_life_that_has_ended_is_in_nobodys_way() {
    let server = Server::start();
    let [first, second] = [routes(&server).await, routes(&server).await];
    first.renew(NodeId(0), 7, LEASE).await.unwrap();
    second.renew(NodeId(0), 9, LEASE).await.unwrap();
    assert!(matches!(first.renew(NodeId(0), 7, LEASE).await, Err(RouteError::Superseded)));
    second.release(NodeId(0), 9).await.unwrap();
    first.renew(NodeId(0), 7, LEASE).await.unwrap();
    let RouterNodes::Shared(nodes) = first.nodes().await.unwrap() else { panic!("Redis is shared") };
    assert_eq!(nodes.iter().map(|node| node.life).collect::<Vec<_>>(), [7]);
}
