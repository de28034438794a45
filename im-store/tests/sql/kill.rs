//! A database that dies in mid-append, and comes again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use im_core::storage::Store;
use im_store::sql::SqlStore;
use im_test_servers::{MariaDb, Postgres};

use crate::posts::user;
use crate::traffic::{Traffic, turn};

const KILLS: usize = 4;

/// From the moment at which the database takes connections again.
const RESUMES_WITHIN: Duration = Duration::from_secs(5);

async fn survives(url: String, kill: impl Fn() + Send + 'static, restart: impl Fn() + Send + 'static) {
    let _turn = turn().await;
    let stores = [SqlStore::open(&*url).await.unwrap(), SqlStore::open(&*url).await.unwrap()].map(Arc::new);
    let traffic = Arc::new(Traffic::default());
    let mut tasks = tokio::task::JoinSet::new();
    for (writer, store) in (0..).zip(stores.iter().cycle().take(6)) {
        tasks.spawn(traffic.clone().write(store.clone() as Arc<dyn Store>, writer));
    }
    tasks.spawn(traffic.clone().watch(stores[0].clone(), user("user 0")));
    let mut outages = Vec::new();
    for _ in 0..KILLS {
        traffic.go_on_for(150).await;
        tokio::task::block_in_place(&kill);
        let refused = traffic.refusals.load(Ordering::SeqCst);
        while traffic.refusals.load(Ordering::SeqCst) == refused {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::task::block_in_place(&restart);
        outages.push(traffic.go_on_for(1).await);
    }
    traffic.go_on_for(150).await;
    traffic.end();
    tasks.join_all().await;
    assert!(outages.iter().all(|outage| *outage < RESUMES_WITHIN), "{outages:?}");
    traffic.audit(&*stores[0]).await;
    println!("acknowledged {}, outages after the restart {outages:?}", traffic.acks.load(Ordering::SeqCst));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_lost_when_mariadb_is_killed() {
    let server = Arc::new(MariaDb::start());
    let (killed, restarted) = (server.clone(), server.clone());
    survives(server.database("killed"), move || killed.kill(), move || restarted.restart()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_lost_when_postgresql_is_killed() {
    let server = Arc::new(Postgres::start());
    let (killed, restarted) = (server.clone(), server.clone());
    survives(server.database("killed"), move || killed.kill(), move || restarted.restart()).await;
}
