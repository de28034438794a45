//! One store over a primary and its replicas: the conformance suite over servers and over a replica that lags on purpose, and what readers see of lag, failures and
//! replicas that are another store.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod clock;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod failover;
mod fake;
mod faults;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod lag;
#[path = "../sqlite/posts.rs"]
#[allow(dead_code)]
mod posts;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod promises;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod servers;
#[cfg(all(feature = "mysql", feature = "postgres"))]
#[path = "../sql/bench.rs"]
#[allow(dead_code)]
mod sql;
#[cfg(all(feature = "mysql", feature = "postgres"))]
#[path = "../sql/traffic.rs"]
#[allow(dead_code)]
mod traffic;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use im_core::testing::conformance::run_store_suite;

#[tokio::test]
async fn memory_with_a_replica_that_lags_conforms() {
    let served = Arc::new(AtomicU64::new(0));
    let report = run_store_suite(|| fake::Bench::new(served.clone())).await;
    report.record("memory + replica", "store");
    assert!(report.passed(), "{report}");
    assert!(report.cases >= 60, "{report}");
    assert!(served.load(Ordering::SeqCst) > 0, "the replica has answered reads");
}

#[cfg(all(feature = "mysql", feature = "postgres"))]
async fn conforms(kind: sql::Kind, name: &str) {
    let pair = servers::Pair::start(kind);
    let served = Arc::new(AtomicU64::new(0));
    let report = run_store_suite(|| servers::Bench::new(&pair, served.clone())).await;
    report.record(name, "store");
    assert!(report.passed(), "{report}");
    assert!(report.not_tried.is_empty(), "{report}");
    assert!(report.cases >= 60, "{report}");
    println!("{name}: the replica has answered {} reads", served.load(Ordering::SeqCst));
    assert!(served.load(Ordering::SeqCst) > 0, "the replica has answered reads");
}

#[cfg(all(feature = "mysql", feature = "postgres"))]
#[tokio::test(flavor = "multi_thread")]
async fn mariadb_with_a_replica_conforms() {
    conforms(sql::Kind::MySql, "MariaDB + replica").await;
}

#[cfg(all(feature = "mysql", feature = "postgres"))]
#[tokio::test(flavor = "multi_thread")]
async fn postgresql_with_a_replica_conforms() {
    conforms(sql::Kind::Postgres, "PostgreSQL + replica").await;
}
