//! What proves an adapter, and what proves the whole: suites that an outside adapter can run, and a simulated cluster.

pub mod conformance;
pub mod sim;

pub use crate::storage::StoreLayer;
