//! The embedded store: the conformance suite, crashes, full and damaged disks.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, missing_docs)]

mod bench;
mod failures;
mod kill;
mod open;
mod posts;
mod torn;

use bench::{SqliteBench, SqlitePair};
use im_core::testing::conformance::{
    run_blocklist_suite, run_buckets_suite, run_outbox_suite, run_store_suite, run_transfer_suite,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_sqlite_store_conforms() {
    let report = run_store_suite(SqliteBench::default).await;
    report.record("SQLite", "store");
    assert!(report.passed(), "{report}");
    assert!(report.not_tried.is_empty(), "{report}");
    assert!(report.cases >= 60, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sqlite_blocklist_conforms() {
    let report = run_blocklist_suite(SqliteBench::default).await;
    report.record("SQLite", "blocklist");
    assert!(report.passed() && report.not_tried.is_empty(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sqlite_store_conforms_when_it_is_copied() {
    let report = run_transfer_suite(SqliteBench::default).await;
    report.record("SQLite", "transfer");
    assert!(report.passed(), "{report}");
    assert!(report.not_tried.is_empty(), "{report}");
    assert!(report.cases >= 30, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sqlite_store_conforms_as_one_database_of_several() {
    let report = run_outbox_suite(SqliteBench::default).await;
    report.record("SQLite", "outbox");
    assert!(report.passed(), "{report}");
    assert!(report.not_tried.is_empty(), "{report}");
    assert!(report.cases >= 15, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sqlite_store_conforms_when_buckets_move() {
    let report = run_buckets_suite(SqlitePair::default).await;
    report.record("SQLite", "buckets");
    assert!(report.passed(), "{report}");
    assert!(report.not_tried.is_empty(), "{report}");
    assert!(report.cases >= 20, "{report}");
}
