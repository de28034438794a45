//! A network that breaks or stalls between one of two servers and their database, in mid-append.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use im_core::storage::Store;
use im_store::sql::{SqlOptions, SqlStore};
use im_test_servers::Proxy;

use crate::bench::{Kind, database};
use crate::posts::user;
use crate::traffic::{Traffic, turn};

const FAULTS: usize = 3;

/// Short: it is how long a call waits for a network that stalls.
const DEADLINE: Duration = Duration::from_secs(2);

/// From the moment at which the network is whole again.
const RESUMES_WITHIN: Duration = Duration::from_secs(5);

async fn open(url: &str) -> Arc<SqlStore> {
    Arc::new(SqlOptions::new(url).call_deadline(DEADLINE).open().await.unwrap())
}

async fn survives(kind: Kind, fault: fn(&Proxy)) {
    let _turn = turn().await;
    let url = database(kind, "network");
    let (server, path) = url.rsplit_once('/').unwrap();
    let (host, port) = server.rsplit_once(':').unwrap();
    let proxy = Proxy::start(port.parse().unwrap());
    let near: Arc<dyn Store> = open(&url).await;
    let far: Arc<dyn Store> = open(&format!("{host}:{}/{path}", proxy.port())).await;
    let traffic = Arc::new(Traffic::default());
    let mut tasks = tokio::task::JoinSet::new();
    for (writer, store) in (0..).zip([&far, &near].into_iter().cycle().take(6)) {
        tasks.spawn(traffic.clone().write(store.clone(), writer));
    }
    tasks.spawn(traffic.clone().watch(far.clone(), user("user 0")));
    let mut outages = Vec::new();
    for _ in 0..FAULTS {
        traffic.go_on_for(150).await;
        fault(&proxy);
        let refused = traffic.refusals.load(Ordering::SeqCst);
        while traffic.refusals.load(Ordering::SeqCst) == refused {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // What the far server left locked does not stop the near one for good.
        traffic.go_on_for(150).await;
        proxy.heal();
        let healed = std::time::Instant::now();
        while far.heads(vec![user("user 0")]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        outages.push(healed.elapsed());
    }
    traffic.go_on_for(150).await;
    traffic.end();
    tasks.join_all().await;
    assert!(outages.iter().all(|outage| *outage < RESUMES_WITHIN), "{outages:?}");
    traffic.audit(&*near).await;
    let count = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::SeqCst);
    println!(
        "{}: acknowledged {}, refused {}, outages after the fault {outages:?}",
        kind.server(),
        count(&traffic.acks),
        count(&traffic.refusals)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_lost_when_connections_to_mariadb_are_cut() {
    survives(Kind::MySql, Proxy::cut).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_lost_when_connections_to_postgresql_are_cut() {
    survives(Kind::Postgres, Proxy::cut).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_lost_when_connections_to_mariadb_stall() {
    survives(Kind::MySql, Proxy::stall).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_lost_when_connections_to_postgresql_stall() {
    survives(Kind::Postgres, Proxy::stall).await;
}
