//! The log store: the conformance suite, crashes, full and damaged disks.
#![cfg(feature = "log")]
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod bench;
mod failures;
mod files;
#[path = "../sqlite/kill.rs"]
mod kill;
#[path = "../sqlite/posts.rs"]
mod posts;
mod random;
mod refused;
mod rot;
mod torn;

use bench::LogBench;
use im_core::testing::conformance::{run_store_suite, run_transfer_suite};

#[tokio::test(flavor = "multi_thread")]
async fn the_log_store_conforms() {
    let report = run_store_suite(LogBench::default).await;
    report.record("log", "store");
    assert!(report.passed(), "{report}");
    assert!(report.not_tried.is_empty(), "{report}");
    assert!(report.cases >= 60, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_store_conforms_when_it_moves_every_message_into_the_index() {
    let report = run_store_suite(|| LogBench::with_checkpoints_after(1)).await;
    report.record("log, all in the index", "store");
    assert!(report.passed(), "{report}");
    assert!(report.not_tried.is_empty(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_store_conforms_when_it_is_copied() {
    for checkpoint_messages in [1, 7, 100_000] {
        let report = run_transfer_suite(|| LogBench::with_checkpoints_after(checkpoint_messages)).await;
        report.record("log", "transfer");
        assert!(report.passed(), "{report}");
        let not_tried: Vec<_> = report.not_tried.iter().map(|case| case.name).collect();
        assert_eq!(not_tried, ["a_timeline_begins_above_its_floor"], "the log keeps everything");
        assert!(report.cases >= 30, "{report}");
    }
}
