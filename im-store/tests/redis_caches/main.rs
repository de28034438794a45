//! The caches in Redis: they answer as whom they stand before, whatever becomes of Redis.
#![cfg(all(feature = "redis", feature = "mysql", feature = "postgres"))]
#![allow(clippy::unwrap_used, missing_docs)]

mod blocklist;
#[path = "../sqlite/posts.rs"]
#[allow(dead_code)]
mod posts;
#[path = "../sql/bench.rs"]
#[allow(dead_code)]
mod sql;
mod store;

use std::time::{Duration, Instant};

use im_store::redis::{Redis, RedisOptions};

/// A Redis as a cache uses it.
async fn redis(url: &str, prefix: &str) -> Redis {
    let options = RedisOptions::new(url).prefix(prefix).call_deadline(Duration::from_millis(500));
    options.open().await.unwrap()
}

/// Tries until it holds.
async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let asked = Instant::now();
    while !holds().await {
        assert!(asked.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
