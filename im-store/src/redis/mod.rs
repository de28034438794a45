//! Routes and the bus in Redis: alone, watched by Sentinel, or a Cluster.
//!
//! [`RedisRoutes`] and [`RedisBus`] share a [`Redis`]. What they keep there may all be lost: gates bring their links back, readers find what a push
//! did not tell them.
//!
//! | key, after the prefix | what |
//! |---|---|
//! | `:u:` uid | a hash, link → epoch, node, life of the node, type of the device, since, seen, device. It expires when nobody speaks of its links |
//! | `:nodes` | a hash, node → life, end of its lease, renewals |
//! | `:o:` 0 to 1023 | a sorted set, uid → when a gate last spoke of the user: who is online, to be counted and listed |
//! | `:b:` node | a channel, what the node's links are to get |
//!
//! Every script works on one key, so that a Cluster takes it. Redis' own clock orders logins and ends leases; let the servers that may replace each
//! other keep the same time.

mod bus;
mod leases;
mod link;
mod online;
mod options;
mod parcel;
mod record;
mod routes;
mod scripts;
mod url;

pub use bus::RedisBus;
pub use link::Redis;
pub use options::{RedisError, RedisOptions};
pub use routes::RedisRoutes;
