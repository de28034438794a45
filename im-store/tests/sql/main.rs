//! The stores in database servers: the conformance suite, and what servers that share a database do to each other.
#![cfg(all(feature = "mysql", feature = "postgres"))]
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod bench;
mod crossed;
mod dropped;
mod kill;
mod memory;
mod network;
mod open;
#[path = "../sqlite/posts.rs"]
#[allow(dead_code)]
mod posts;
mod standby;
mod traffic;
mod unfit;

use bench::{Kind, SqlBench, SqlPair};
use im_core::testing::conformance::{
    run_blocklist_suite, run_buckets_suite, run_outbox_suite, run_store_suite, run_transfer_suite,
};

async fn conforms(kind: Kind) {
    let report = run_store_suite(|| SqlBench::new(kind)).await;
    report.record(&kind.server(), "store");
    assert!(report.passed(), "{report}");
    assert!(report.not_tried.is_empty(), "{report}");
    assert!(report.cases >= 60, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_in_mariadb_conforms() {
    conforms(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_in_postgresql_conforms() {
    conforms(Kind::Postgres).await;
}

async fn the_blocklist_conforms(kind: Kind) {
    let report = run_blocklist_suite(|| SqlBench::new(kind)).await;
    report.record(&kind.server(), "blocklist");
    assert!(report.passed() && report.not_tried.is_empty(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_blocklist_in_mariadb_conforms() {
    the_blocklist_conforms(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_blocklist_in_postgresql_conforms() {
    the_blocklist_conforms(Kind::Postgres).await;
}

async fn conforms_when_copied(kind: Kind) {
    let report = run_transfer_suite(|| SqlBench::new(kind)).await;
    report.record(&kind.server(), "transfer");
    assert!(report.passed(), "{report}");
    assert!(report.not_tried.is_empty(), "{report}");
    assert!(report.cases >= 30, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_in_mariadb_conforms_when_it_is_copied() {
    conforms_when_copied(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_in_postgresql_conforms_when_it_is_copied() {
    conforms_when_copied(Kind::Postgres).await;
}

async fn conforms_as_one_of_several(kind: Kind) {
    let report = run_outbox_suite(|| SqlBench::new(kind)).await;
    report.record(&kind.server(), "outbox");
    assert!(report.passed(), "{report}");
    assert!(report.not_tried.is_empty(), "{report}");
    assert!(report.cases >= 15, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_in_mariadb_conforms_as_one_database_of_several() {
    conforms_as_one_of_several(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_in_postgresql_conforms_as_one_database_of_several() {
    conforms_as_one_of_several(Kind::Postgres).await;
}

async fn conforms_when_buckets_move(kind: Kind) {
    let report = run_buckets_suite(|| SqlPair::new(kind)).await;
    report.record(&kind.server(), "buckets");
    assert!(report.passed(), "{report}");
    assert!(report.not_tried.is_empty(), "{report}");
    assert!(report.cases >= 20, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_in_mariadb_conforms_when_buckets_move() {
    conforms_when_buckets_move(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_in_postgresql_conforms_when_buckets_move() {
    conforms_when_buckets_move(Kind::Postgres).await;
}
