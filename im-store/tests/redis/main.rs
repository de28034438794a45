//! Routes, the bus and locks in Redis, against real servers: alone, with a Sentinel, and as a cluster.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, missing_docs)]

mod apart;
mod faults;
mod kicks;
mod locks;
mod online;
#[path = "../sqlite/posts.rs"]
#[allow(dead_code)]
mod posts;
mod starts;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use im_core::ports::Locks;
use im_core::router::{Bus, Routes};
use im_core::testing::conformance::{
    BusBench, LocksBench, Report, RoutesBench, run_bus_suite, run_locks_suite, run_routes_suite,
};
use im_store::redis::{Redis, RedisBus, RedisLocks, RedisOptions, RedisRoutes};
use im_test_servers::{RedisCluster, RedisSentinel};
use tokio::sync::OnceCell;

/// Keys of its own in a Redis.
pub(crate) struct Bench(pub(crate) String);

impl Bench {
    pub(crate) async fn redis(&self) -> Redis {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let prefix = format!("im-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        RedisOptions::new(&self.0).prefix(prefix).open().await.unwrap()
    }
}

#[async_trait]
impl RoutesBench for Bench {
    async fn open(&self) -> Arc<dyn Routes> {
        Arc::new(RedisRoutes::new(self.redis().await))
    }

    async fn outlast(&self, ttl: Duration) -> bool {
        tokio::time::sleep(ttl).await;
        true
    }
}

#[async_trait]
impl BusBench for Bench {
    async fn open(&self) -> Arc<dyn Bus> {
        Arc::new(RedisBus::new(self.redis().await))
    }
}

/// Locks of its own in a Redis.
struct Shared(Bench, OnceCell<Redis>);

#[async_trait]
impl LocksBench for Shared {
    async fn open(&self) -> Arc<dyn Locks> {
        let redis = self.1.get_or_init(|| self.0.redis()).await;
        Arc::new(RedisLocks::new(redis.clone()))
    }

    async fn outlast(&self, ttl: Duration) {
        tokio::time::sleep(ttl).await;
    }
}

fn accept(report: &Report, adapter: &str, suite: &str) {
    report.record(adapter, suite);
    assert!(report.passed() && report.not_tried.is_empty(), "{report}");
}

async fn conforms(url: &str, name: &str) {
    accept(&run_routes_suite(|| Bench(url.to_owned())).await, name, "routes");
    accept(&run_bus_suite(|| Bench(url.to_owned())).await, name, "bus");
    accept(&run_locks_suite(|| Shared(Bench(url.to_owned()), OnceCell::new())).await, name, "locks");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_conforms() {
    conforms(im_test_servers::Redis::shared().url(), "Redis").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_sentinel_names_conforms() {
    let group = RedisSentinel::start();
    conforms(&group.url(), "Redis with Sentinel").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_conforms() {
    let cluster = RedisCluster::start();
    conforms(&cluster.url(), "Redis Cluster").await;
}
