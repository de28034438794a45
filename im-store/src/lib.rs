//! Storage adapters for [`im_core`]: each behind a feature, none by default.
//!
//! | feature | adapter | for |
//! |---|---|---|
//! | `log` | `log::LogStore` | a server of one process: nothing to install, every ack fsynced, several times as fast as SQLite |
//! | `sqlite` | `sqlite::SqliteStore` | the same, where SQL tools should read the database or back it up while the server runs |
//! | `mysql`, `postgres` | `sql::SqlStore` | any number of servers over one MySQL, MariaDB or PostgreSQL |
//! | `redis` | `redis::RedisRoutes`, `redis::RedisBus`, `redis::RedisLocks` | any number of gates: where users are, how to reach them, and who may do what only one may |
//! | `redis` | `redis::CachedStore`, `redis::CachedBlocklist` | caches before any store and any blocklist |
//! | `sqlite` | `sqlite_local::SqliteLocalStore` | a client: its timeline and what it has still to send |
//!
//! Over any of them: [`layer`]s, among them [`layer::sharding`], one store made of several; [`layer::replica`], one store over a primary and its replicas;
//! [`layer::retry`]; [`layer::timeout`]; and with the feature `metrics`, one that counts.
//!
//! An adapter keeps the contracts of [`im_core::storage`] and is tested with the suite of
//! `im_core::testing::conformance`, the same one for all.
#![cfg_attr(
    feature = "sqlite",
    doc = r#"
```
use std::sync::Arc;

use im_core::id::Uid;
use im_core::message::TimelineId;
use im_core::storage::Store;
use im_store::sqlite::SqliteOptions;

# #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
# let dir = tempfile::tempdir()?;
let store = SqliteOptions::new(dir.path().join("im.db")).open().await?;
let store: Arc<dyn Store> = Arc::new(store);

let heads = store.heads(vec![TimelineId::User(Uid::new("alice")?)]).await?;
assert_eq!(heads[0].head.0, 0, "nobody has written to alice yet");
# Ok(()) }
```"#
)]

#[cfg(any(feature = "sqlite", feature = "mysql", feature = "postgres"))]
mod export;
#[cfg(any(feature = "sqlite", feature = "log"))]
mod file;
pub mod layer;
#[cfg(any(feature = "sqlite", feature = "log"))]
mod lock;
#[cfg(feature = "log")]
pub mod log;
#[cfg(any(feature = "sqlite", feature = "log", feature = "mysql", feature = "postgres"))]
mod name;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(any(feature = "sqlite", feature = "mysql", feature = "postgres"))]
pub mod sql;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(feature = "sqlite")]
pub mod sqlite_local;

/// Tries the README's snippets.
#[cfg(all(doctest, feature = "log"))]
#[doc = include_str!("../README.md")]
struct Readme;
