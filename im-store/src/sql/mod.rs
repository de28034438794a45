//! The store in a database server: MySQL 8, MariaDB 10.11 or PostgreSQL 15, or later ones.
//!
//! # Durability
//! Every append is one transaction, and the answer comes after its `COMMIT`. What the database then promises is up to its settings: opening it
//! warns if they let it lose what was committed.
//!
//! # Many servers
//! Any number of servers may use one database. Who appends locks the rows of the timelines that it writes, and gives versions under these locks; all
//! take them in the same order. Lost deadlocks are tried again, with a growing pause, up to eight times.
//!
//! # Cost
//! A batch takes the same few statements whether it has 1 post or 64. PostgreSQL gets all rows of all tables as arrays in one, MySQL as lists in twenty
//! sizes, so that every statement is prepared once a connection.
//!
//! # Rows
//! A message is stored once, in `messages`, at its place in the timeline that remembers its send key; `entries` says at which version of whose timeline
//! it stands. `owners` gives users and groups their numbers and holds the heads. The schemas, commented, are in `migrations/mysql/` and
//! `migrations/postgres/`.
//!
//! # One of several databases
//! It can be one database of a [sharded store](crate::layer::sharding): halves of messages are rows of `messages` too, and `outbox` says which of them have
//! to be delivered.
//!
//! Buckets of owners can be moved from it and to it: `buckets` says which it owns. Every append looks there in its own transaction, which is one more statement.
//!
//! # Failures
//! A database that is away, a full disk, a lost lock and a passed deadline are
//! [`Unavailable`](im_core::storage::StoreErrorKind::Unavailable), which is retryable. A connection on which a call did not end is cut, and the next
//! call opens another. Rows that this adapter does not write are [`Corrupt`](im_core::storage::StoreErrorKind::Corrupt).
//!
//! A server that is read-only, shuts down or cannot use its disk is given up: all connections to it are closed, and what was being read from it is not
//! believed. Calls are `Unavailable` until a new connection reaches a server that takes writes. Each connection has to show that of its server when it is opened, and
//! once a second while it is used. A [replica](SqlOptions::open_replica) may be read-only.

#[cfg(any(feature = "mysql", feature = "postgres"))]
mod append;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod blocklist;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod buckets;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod connect;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod conversations;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod cursors;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod dial;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod driver;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod epochs;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod export;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod fault;
pub(crate) mod halves;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod heads;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod import;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod lookup;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod nodes;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod open;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod options;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod outbox;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod ownership;
// SQLite's rows have numbers that the other databases' do without, and the other way round.
#[cfg_attr(not(all(feature = "sqlite", any(feature = "mysql", feature = "postgres"))), allow(dead_code))]
pub(crate) mod plan;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod pool;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod promise;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod schema;
// Without one of the databases, nobody reads its dialect.
#[cfg(any(feature = "mysql", feature = "postgres"))]
#[cfg_attr(not(all(feature = "mysql", feature = "postgres")), allow(dead_code))]
mod statement;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod store;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod timelines;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod tries;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod trouble;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod writing;

#[cfg(any(feature = "mysql", feature = "postgres"))]
use fault::Fault;
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub use import::SqlImport;
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub use open::OpenError;
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub use options::SqlOptions;
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub use store::SqlStore;
