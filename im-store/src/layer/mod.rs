//! Layers: stores made of stores. They know the traits of [`im_core::storage`] alone, so each goes over any adapter.
//!
//! | layer | what it does |
//! |---|---|
//! | [`sharding`] | one store made of several databases |
//! | [`replica`] | one store over a primary and its replicas |
//! | [`retry`] | tries again what failed for now |
//! | [`timeout`] | ends every call within a deadline |
//! | `metrics` (feature `metrics`) | counts calls and posts, and measures how long they take |
//!
//! They go over each other in any order; from the database upwards it is best time-out, metrics, replicas, sharding, the cache of `redis::CachedStore`, retry, and
//! metrics again for what the server sees of all that:
//!
//! - The time-out is next to the database, so that a retry begins a new call instead of sharing the deadline of the first.
//! - Metrics below the retry count every try, and above it what is left.
//! - A primary and its replicas are one database, alone or one of several; a cache stands before one store.
//! - One retry, at the top. Two of them multiply their tries.
//!
//! A layer has nothing to close: what is closed at the end are the stores below.
//!
//! The adapters of this crate end their calls by themselves and try lost deadlocks again. They need no time-out, and a retry only if a database that is away
//! for a moment is to cost the senders time instead of an error.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use im_core::memory::MemoryStore;
//! use im_core::ports::Clock;
//! use im_core::storage::Store;
//! use im_store::layer::retry::Retry;
//! use im_store::layer::timeout::Timeout;
//!
//! fn patient(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Arc<dyn Store> {
//!     let bounded = Timeout::new(store, Duration::from_secs(2), clock.clone());
//!     Arc::new(Retry::new(Arc::new(bounded), clock).tries(4))
//! }
//! ```

#[cfg(feature = "metrics")]
pub mod metrics;
pub mod replica;
pub mod retry;
pub mod sharding;
pub mod timeout;
