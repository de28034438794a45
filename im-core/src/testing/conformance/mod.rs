//! The contracts of the storage and router traits, as cases that any adapter can run.
//!
//! An adapter's author writes a bench, which opens the adapter on fresh data, and runs the suite over it. The report names
//! every case that failed and the contract line that it broke. Nothing here needs a runtime: the adapter's test brings its own. A case that panics has failed, and so has one
//! that is not over after five minutes; the others go on.
//!
//! ```
//! use std::sync::Arc;
//! use im_core::memory::MemoryStore;
//! use im_core::storage::Store;
//! use im_core::testing::conformance::{StoreBench, run_store_suite};
//!
//! #[derive(Default)]
//! struct Bench(std::sync::Mutex<MemoryStore>);
//!
//! #[async_trait::async_trait]
//! impl StoreBench for Bench {
//!     async fn open(&self) -> Arc<dyn Store> {
//!         self.reopen().await
//!     }
//!     async fn reopen(&self) -> Arc<dyn Store> {
//!         # /*
//!         … close the store and open it on the same data …
//!         # */
//!         # let _ = &self.0; Arc::new(MemoryStore::default())
//!     }
//! }
//!
//! let report = futures::executor::block_on(run_store_suite(Bench::default));
//! println!("{report}");
//! # assert!(!report.passed(), "this bench forgets everything");
//! ```

mod blocklist;
mod buckets;
mod bus;
mod case;
mod check;
mod fixture;
mod local_store;
mod locks;
mod outbox;
mod patience;
mod report;
mod routes;
mod store;
mod transfer;

pub use blocklist::{BlocklistBench, blocklist_cases, run_blocklist_suite};
pub use buckets::{BucketsBench, buckets_cases, run_buckets_suite};
pub use bus::{BusBench, bus_cases, run_bus_suite};
pub use case::Case;
pub use check::{Failure, Outcome};
pub use local_store::{LocalStoreBench, local_store_cases, run_local_store_suite};
pub use locks::{LocksBench, locks_cases, run_locks_suite};
pub use outbox::{OutboxBench, outbox_cases, run_outbox_suite};
pub use report::{Failed, Report};
pub use routes::{RoutesBench, routes_cases, run_routes_suite};
pub use store::{StoreBench, run_store_suite, store_cases};
pub use transfer::{Refused, TransferBench, run_transfer_suite, transfer_cases};
