//! A whole cluster in one thread: servers, links, devices and a store, with virtual time and seeded chance.
//!
//! The servers run [`Logic`](crate::logic::Logic) and [`Session`](crate::session::Session), the devices run
//! [`Client`](crate::client::Client), unchanged; around them everything goes wrong that may: processes crash, the store loses what it has not
//! synced, links delay, stall and break, the bus loses, doubles and reorders, logins race, clocks step, and a hostile client says what it likes.
//! Then the world heals, comes to rest, and every device is compared with what was sent.
//!
//! One seed is one run, step for step. [`run`] runs a seed and [`replay`] runs it again with a log. [`run_over`] runs it over several databases and a
//! layer that makes a store of them ([`Sharding`]), whose buckets are moved meanwhile.
//!
//! ```text
//! cargo run --profile simulation -p im-core --features testing --example simulate -- --seeds 10000
//! cargo run --profile simulation -p im-core --features testing --example simulate -- --replay 4711
//! ```
//!
//! | file | what |
//! |---|---|
//! | `kernel`, `executor`, `event`, `dice` | time, tasks, what is to happen, chance |
//! | `store`, `databases`, `outside` | the ports of the servers, with their faults |
//! | `sharding`, `backing` | how servers come to their store: there is one, or a layer from elsewhere makes one of several databases |
//! | `world` | who lives there and what happens to them |
//! | `invariants` | the promises, one file each |
//! | `mutants` | servers and clients with a known mistake, which have to be caught |

mod backing;
#[cfg(test)]
mod conformance;
mod counts;
mod databases;
mod dice;
mod event;
mod executor;
mod history;
mod invariants;
mod kernel;
mod mutants;
mod outside;
mod run;
mod scenario;
mod sharding;
mod store;
mod world;

pub use counts::Counts;
pub use kernel::Log;
pub use mutants::Mutant;
pub use run::{Broken, Outcome, Summary, replay, replay_over, run, run_all, run_all_over, run_over};
pub use sharding::{Moved, Opened, Sharding};
