//! Reference adapters: always there, small, obviously right.
//!
//! [`MemoryStore`] shows what the [`Store`](crate::storage::Store) contracts mean, and is what tests and the simulation run on; it keeps
//! nothing across a restart. [`MemoryRoutes`] and [`MemoryBus`] are production code for a server of one process: routes and
//! parcels are hints, so there is nothing to keep.
//!
//! [`MemoryLocks`] are for one process, too. [`MemoryBlocklist`] is for tests.
//!
//! None of them spawns, waits or reads a clock but one that it is given, and everything iterates in a fixed order, so that a seeded run replays.

mod blocklist;
mod buckets;
mod bus;
mod export;
mod import;
mod locks;
mod nodes;
mod outbox;
mod routes;
mod state;
mod store;
mod timeline;

pub use blocklist::MemoryBlocklist;
pub use bus::MemoryBus;
pub use import::{MemoryImport, NotEmpty};
pub use locks::MemoryLocks;
pub use routes::MemoryRoutes;
pub use state::State;
pub use store::MemoryStore;
