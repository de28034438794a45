//! Routes, the bus and locks in Redis: alone, watched by Sentinel, or a Cluster.
//!
//! [`RedisRoutes`], [`RedisBus`] and [`RedisLocks`] share a [`Redis`]. What they keep there may all be lost: gates bring their links back, readers find what a
//! push did not tell them, and of two who believe that they have a lock the newer one's token is greater.
//!
//! | name, after the prefix | what |
//! |---|---|
//! | `:u:` uid | a hash, link → epoch, node, life of the node, type of the device, since, seen, device. It expires when nobody speaks of its links |
//! | `:nodes` | a hash, node → life, end of its lease, renewals, a number of the process |
//! | `:o:` 0 to 1023 | a sorted set, uid → when a gate last spoke of the user: who is online, to be counted and listed |
//! | `:l:` name | a lock: token, end of its lease, holder |
//! | `:k:` uid, `:g:` epoch `:` group, `:c:` epoch `:` uid | caches of blocks, of groups' newest entries and of conversation lists |
//! | `:b:` node | a channel, what the node's links are to get but kicks |
//! | `:x:` node | a channel, kicks of the node's links |
//!
//! In a database with another number than 0 the names of channels have that number before the node, because Redis keeps no channels of databases apart:
//! `im:b:3:7`.
//!
//! Every script works on one key, so that a Cluster takes it. Redis' own clock orders logins and ends leases; let the servers that may replace each
//! other keep the same time.

mod bus;
mod cached;
mod error;
mod feed;
mod kicks;
mod leases;
mod link;
mod locks;
mod online;
mod options;
mod parcel;
mod record;
mod rehearsal;
mod routes;
mod scripts;
mod url;

pub use bus::RedisBus;
pub use cached::{CacheCounts, CachedBlocklist, CachedStore};
pub use error::RedisError;
pub use link::Redis;
pub use locks::RedisLocks;
pub use options::RedisOptions;
pub use routes::RedisRoutes;
