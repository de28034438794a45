//! A database that may lose what it has committed is noticed when it is opened.

use std::time::{Duration, Instant};

use im_store::sql::SqlStore;
use im_test_servers::{MariaDb, Postgres};

use crate::servers::PATIENCE;

async fn weak(url: &str) -> Vec<String> {
    let store = SqlStore::open(url).await.unwrap();
    let weak = store.weak_settings().await.unwrap();
    store.close().await;
    weak
}

/// A replica is there a moment after it was started.
async fn until_weak(url: &str) -> Vec<String> {
    let began = Instant::now();
    loop {
        let weak = weak(url).await;
        if !weak.is_empty() {
            return weak;
        }
        assert!(began.elapsed() < PATIENCE, "nothing is noticed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_that_may_lose_commits_is_noticed() {
    let server = MariaDb::start();
    let url = server.database("promises");
    assert_eq!(weak(&url).await, [""; 0]);
    let _replica = server.replica();
    let semi_sync = "replicas without semi-synchronous replication: rpl_semi_sync_master_enabled = OFF";
    assert_eq!(until_weak(&url).await, [semi_sync]);
    server.execute("SET GLOBAL rpl_semi_sync_master_enabled = ON");
    server.execute("SET GLOBAL rpl_semi_sync_master_wait_point = AFTER_COMMIT");
    assert_eq!(weak(&url).await, ["replicas with rpl_semi_sync_master_wait_point = AFTER_COMMIT"]);
    server.execute("SET GLOBAL rpl_semi_sync_master_wait_point = AFTER_SYNC");
    assert_eq!(weak(&url).await, [""; 0]);
    server.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 2");
    server.execute("SET GLOBAL sync_binlog = 0");
    assert_eq!(weak(&url).await, ["innodb_flush_log_at_trx_commit = 2", "sync_binlog = 0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_mariadb_who_may_not_look_may_serve() {
    let server = MariaDb::start();
    let url = server.database("promises");
    let _replica = server.replica();
    until_weak(&url).await;
    server.execute("CREATE USER im IDENTIFIED BY 'secret'");
    let name = url.rsplit('/').next().unwrap();
    server.execute(&format!("GRANT ALL ON {name}.* TO im"));
    assert_eq!(weak(&url.replace("root@", "im:secret@")).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_that_may_lose_commits_is_noticed() {
    let server = Postgres::start();
    let url = server.database("promises");
    assert_eq!(weak(&url).await, [""; 0]);
    let _replica = server.replica();
    let standbys = "standbys with an empty synchronous_standby_names";
    assert_eq!(until_weak(&url).await, [standbys]);
    let plain = Postgres::start_with(&["fsync=off", "synchronous_commit=off", "full_page_writes=off"]);
    let mut settings = weak(&plain.database("promises")).await;
    settings.sort();
    assert_eq!(settings, ["fsync = off", "full_page_writes = off", "synchronous_commit = off"]);
}
