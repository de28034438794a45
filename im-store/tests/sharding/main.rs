//! One store over several databases: the conformance suite over each kind, and what is left when calls end halfway.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod bench;
mod crashes;
mod faulty;
mod load;
mod members;
mod moves;
mod random;
mod rivals;
mod sweeps;
mod traffic;

use bench::{Bench, Databases, Memory};
use im_core::testing::conformance::run_store_suite;
#[cfg(all(feature = "mysql", feature = "postgres"))]
use im_test_servers::{MariaDb, Postgres};

async fn conform<D: Databases>(name: &str, databases: impl Fn() -> D) {
    let report = run_store_suite(|| Bench::new(databases())).await;
    report.record(&format!("sharded, {name}"), "store");
    assert!(report.passed(), "{name}: {report}");
    assert!(report.not_tried.is_empty(), "{report}");
    assert!(report.cases >= 60, "{report}");
}

#[tokio::test]
async fn memory_stores_conform_together() {
    for count in [2, 3, 7] {
        conform(&format!("{count} in memory"), || Memory::new(count)).await;
    }
}

#[cfg(all(feature = "mysql", feature = "postgres"))]
#[tokio::test(flavor = "multi_thread")]
async fn a_database_in_mariadb_and_one_in_postgresql_conform_together() {
    let name = format!("{} and {}", MariaDb::shared().name(), Postgres::shared().name());
    conform(&name, bench::Servers::new).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread")]
async fn sqlite_stores_conform_together() {
    conform("2 of SQLite", || bench::Sqlite::new(2)).await;
}
