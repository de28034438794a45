//! A database's name that comes to lead to another primary, while the old one stays within reach and is read-only.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use im_core::storage::{Store, StoreErrorKind, Timelines as _};
use im_store::sql::{OpenError, SqlOptions, SqlStore};
use im_test_servers::Proxy;
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection, PgConnection, Row};

use crate::posts::{direct, user};
use crate::servers::{PATIENCE, Pair, open_replica};
use crate::sql::Kind;
use crate::traffic::{Traffic, turn};

/// Short, so that calls are soon refused.
const DEADLINE: Duration = Duration::from_secs(1);

/// From the moment at which the name leads to a primary: a pause between two tries, and what a machine under load takes.
const RESUMES_WITHIN: Duration = Duration::from_secs(5);

/// A primary and its replica, and a name that leads to the one or the other.
struct Named {
    pair: Pair,
    name: Proxy,
    /// The database of the primary, and the same of the replica.
    urls: (String, String),
}

impl Named {
    fn start(kind: Kind) -> Self {
        let pair = Pair::start(kind);
        let urls = pair.database("named");
        match kind {
            // Who may do everything may also write to a server that is read-only.
            Kind::MySql => {
                pair.on_primary("CREATE USER im IDENTIFIED BY 'secret'");
                pair.on_primary(&format!("GRANT ALL ON {}.* TO im", path(&urls.0)));
            }
            Kind::Postgres => {
                pair.on_primary("ALTER SYSTEM SET synchronous_standby_names = '*'");
                pair.on_primary("SELECT pg_reload_conf()");
            }
        }
        let name = Proxy::start(pair.ports().0);
        Self { pair, name, urls }
    }

    /// The database behind the name.
    fn url(&self) -> String {
        let (port, path) = (self.name.port(), path(&self.urls.0));
        match self.pair.kind() {
            Kind::MySql => format!("mysql://im:secret@127.0.0.1:{port}/{path}"),
            Kind::Postgres => format!("postgres://im@127.0.0.1:{port}/{path}"),
        }
    }

    fn options(&self) -> SqlOptions {
        SqlOptions::new(self.url()).connections(4).call_deadline(DEADLINE)
    }

    async fn open(&self) -> Arc<SqlStore> {
        Arc::new(self.options().open().await.unwrap())
    }

    fn lead_to_replica(&self) {
        self.name.lead_to(self.pair.ports().1);
    }

    /// Takes the primary out of service. It stays within reach.
    fn demote(&self) {
        match self.pair.kind() {
            Kind::MySql => self.pair.on_primary("SET GLOBAL read_only = 1"),
            Kind::Postgres => {
                self.pair.on_primary("ALTER SYSTEM SET default_transaction_read_only = on");
                self.pair.on_primary("SELECT pg_reload_conf()");
            }
        }
    }

    /// Makes the replica a primary, with all that was acknowledged.
    async fn promote(&self) {
        if let Kind::MySql = self.pair.kind() {
            let mut primary = MySqlConnection::connect(&self.urls.0).await.unwrap();
            let position: String = primary.fetch_one("SELECT @@gtid_binlog_pos").await.unwrap().get(0);
            let followed = format!("SELECT MASTER_GTID_WAIT('{position}', {})", PATIENCE.as_secs());
            let mut replica = MySqlConnection::connect(&self.urls.1).await.unwrap();
            let followed: i64 = replica.fetch_one(AssertSqlSafe(followed)).await.unwrap().get(0);
            assert_eq!(followed, 0, "the replica does not follow");
        }
        tokio::task::block_in_place(|| match self.pair.kind() {
            Kind::MySql => {
                self.pair.on_replica("STOP SLAVE");
                self.pair.on_replica("SET GLOBAL read_only = 0");
            }
            Kind::Postgres => self.pair.on_replica("SELECT pg_promote(false)"),
        });
    }

    /// How many connections the old primary has to the database, beside this question's.
    async fn left_behind(&self) -> i64 {
        const MYSQL: &str = "SELECT CAST(COUNT(*) AS SIGNED) FROM information_schema.processlist p \
             WHERE p.db = DATABASE() AND p.id <> CONNECTION_ID()";
        const POSTGRES: &str = "SELECT COUNT(*) FROM pg_stat_activity a WHERE a.datname = current_database() \
             AND a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()";
        match self.pair.kind() {
            Kind::MySql => {
                MySqlConnection::connect(&self.urls.0).await.unwrap().fetch_one(MYSQL).await.unwrap().get(0)
            }
            Kind::Postgres => {
                PgConnection::connect(&self.urls.0).await.unwrap().fetch_one(POSTGRES).await.unwrap().get(0)
            }
        }
    }
}

fn path(url: &str) -> &str {
    url.rsplit_once('/').unwrap().1
}

/// Looks again until it holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn is_refused(store: &SqlStore) -> bool {
    let heads = store.heads(vec![user("user 0")]).await;
    heads.is_err_and(|error| error.kind() == StoreErrorKind::Unavailable)
}

async fn append(store: &SqlStore, msgid: i64) -> bool {
    store.append(vec![direct("alice", "bob", msgid, 10)]).await.remove(0).is_ok()
}

async fn follows(kind: Kind) {
    let _turn = turn().await;
    let named = tokio::task::block_in_place(|| Named::start(kind));
    let stores = [named.open().await, named.open().await];
    // It writes nothing, and hears from nobody that the primary was replaced.
    let reader = named.open().await;
    let traffic = Arc::new(Traffic::default());
    let mut tasks = tokio::task::JoinSet::new();
    for (writer, store) in (0..).zip(stores.iter().cycle().take(6)) {
        tasks.spawn(traffic.clone().write(store.clone() as Arc<dyn Store>, writer));
    }
    tasks.spawn(traffic.clone().watch(reader.clone(), user("user 0")));
    traffic.go_on_for(150).await;

    tokio::task::block_in_place(|| named.demote());
    until("what a server reads that was replaced is not believed", async || {
        is_refused(&stores[0]).await && is_refused(&reader).await
    })
    .await;
    until("connections to the old primary are closed", async || named.left_behind().await == 0).await;
    named.promote().await;
    let (acks, refusals) = (traffic.acks.load(Ordering::SeqCst), traffic.refusals.load(Ordering::SeqCst));
    until("sends are refused", async || traffic.refusals.load(Ordering::SeqCst) > refusals).await;
    assert_eq!(traffic.acks.load(Ordering::SeqCst), acks, "nothing is taken by the old primary");

    named.lead_to_replica();
    let outage = traffic.go_on_for(1).await;
    traffic.go_on_for(150).await;
    traffic.end();
    tasks.join_all().await;
    let replica = SqlStore::open(&*named.urls.1).await.unwrap();
    traffic.audit(&replica).await;
    assert_eq!(
        reader.heads(vec![user("user 0")]).await.unwrap(),
        replica.heads(vec![user("user 0")]).await.unwrap()
    );
    println!("{kind:?}: the first ack {outage:?} after the name moved");
    assert!(outage < RESUMES_WITHIN, "{outage:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_name_that_leads_to_a_new_primary_of_mariadb_is_followed() {
    follows(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_name_that_leads_to_a_new_primary_of_postgresql_is_followed() {
    follows(Kind::Postgres).await;
}

/// The name leads to the replica for a while, which is read-only. Who opens it there is told; who reads replicas may.
async fn led_astray(kind: Kind) {
    let named = tokio::task::block_in_place(|| Named::start(kind));
    let store = named.open().await;
    assert!(append(&store, 1).await);
    drop(open_replica(&named.urls.1).await);
    named.lead_to_replica();
    named.name.cut();
    named.name.heal();
    let replica = named.options().open_replica().await.unwrap();
    let opened = tokio::spawn(named.options().open());
    let imported = tokio::spawn(named.options().import());
    until("a replica is not written to, nor believed", async || is_refused(&store).await).await;
    until("a refusal has its cause", async || {
        let refused = store.append(vec![direct("alice", "bob", 2, 10)]).await.remove(0).unwrap_err();
        assert_eq!(refused.kind(), StoreErrorKind::Unavailable);
        std::error::Error::source(&refused).is_some_and(|cause| cause.to_string().contains("read-only"))
    })
    .await;
    assert!(!is_refused(&replica).await, "a replica may be read-only");
    assert!(matches!(opened.await.unwrap(), Err(OpenError::ReadOnly)));
    assert!(matches!(imported.await.unwrap(), Err(OpenError::ReadOnly)));

    named.name.lead_to(named.pair.ports().0);
    let led_back = Instant::now();
    until("sends are taken again", async || append(&store, 2).await).await;
    assert!(led_back.elapsed() < RESUMES_WITHIN, "{:?}", led_back.elapsed());
}

/// Both at once: an opening waits for ten seconds before it gives up.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_name_that_led_to_a_replica_for_a_while_costs_no_more_than_that() {
    tokio::join!(led_astray(Kind::MySql), led_astray(Kind::Postgres));
}

/// Whoever may write to a MariaDB that is read-only does not, either.
#[tokio::test(flavor = "multi_thread")]
async fn a_privilege_to_write_to_a_replaced_primary_is_not_used() {
    let server = im_test_servers::MariaDb::start();
    let store = SqlOptions::new(server.database("root")).call_deadline(DEADLINE).open().await.unwrap();
    assert!(append(&store, 1).await);
    server.execute("SET GLOBAL read_only = 1");
    until("it is noticed", async || is_refused(&store).await).await;
    assert!(!append(&store, 2).await);
    server.execute("SET GLOBAL read_only = 0");
    until("sends are taken again", async || append(&store, 2).await).await;
}
