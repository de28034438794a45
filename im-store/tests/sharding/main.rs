//! One store over several databases: the conformance suite over each kind, and what is left when calls end halfway.
#![allow(clippy::unwrap_used, missing_docs)]

mod bench;

use bench::MemoryShards;
use im_core::testing::conformance::run_store_suite;

#[tokio::test]
async fn memory_stores_conform_together() {
    for databases in [1, 2, 3, 7] {
        let report = run_store_suite(|| MemoryShards::new(databases)).await;
        assert!(report.passed(), "{databases} databases: {report}");
        let not_tried: Vec<_> = report.not_tried.iter().map(|case| case.name).collect();
        assert_eq!(not_tried, ["failed_writes_keep_the_order"], "memory takes every write");
        assert!(report.cases >= 60, "{report}");
    }
}
