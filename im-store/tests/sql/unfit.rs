//! Errors that are about the connection or the server, not the statement: what they end, and what goes on.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use im_core::storage::{Placed, StoreError, StoreErrorKind, Timelines as _};
use im_store::sql::{SqlOptions, SqlStore};
use sqlx::{AssertSqlSafe, Executor, Row};

use crate::bench::{Kind, database};
use crate::crossed::Other;
use crate::posts::{direct, user};

/// Far more than it takes, on a machine under load.
const PATIENCE: Duration = Duration::from_secs(30);

/// A database that answers appends as it is told.
struct Moody {
    kind: Kind,
    store: SqlStore,
    other: Other,
    msgid: i64,
}

impl Moody {
    async fn start(kind: Kind) -> Self {
        let url = database(kind, "unfit");
        let store = SqlOptions::new(&*url).connections(3).open().await.unwrap();
        let mut other = Other::connect(kind, &url).await;
        if let Kind::Postgres = kind {
            let refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
                          $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = TG_ARGV[0]; END $$";
            other.run(refuse).await;
        }
        Self { kind, store, other, msgid: 0 }
    }

    async fn append(&mut self) -> Result<Placed, StoreError> {
        self.msgid += 1;
        self.store.append(vec![direct("alice", "bob", self.msgid, 10)]).await.remove(0)
    }

    /// Appends while the database answers with this error: a number of MySQL's, or an SQLSTATE of PostgreSQL's.
    async fn append_in(&mut self, code: &str) -> StoreErrorKind {
        let refuse = match self.kind {
            Kind::MySql => format!("SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {code}"),
            Kind::Postgres => format!("EXECUTE FUNCTION refuse('{code}')"),
        };
        self.other.run(&format!("CREATE TRIGGER mood BEFORE INSERT ON messages FOR EACH ROW {refuse}")).await;
        let refused = self.append().await.unwrap_err().kind();
        let on = if let Kind::Postgres = self.kind { " ON messages" } else { "" };
        self.other.run(&format!("DROP TRIGGER mood{on}")).await;
        refused
    }

    /// The store's connections, by the server's numbers for them, once there are three.
    async fn connections(&mut self) -> BTreeSet<i64> {
        let opened = tokio::time::timeout(PATIENCE, async {
            loop {
                // One that is quick may leave its connection to the next.
                let heads = join_all((0..3).map(|_| self.store.heads(vec![user("alice")]))).await;
                assert!(heads.iter().all(Result::is_ok), "{heads:?}");
                let open = self.open().await;
                if open.len() == 3 {
                    return open;
                }
            }
        });
        opened.await.unwrap()
    }

    async fn open(&mut self) -> BTreeSet<i64> {
        const MYSQL: &str = "SELECT CAST(p.id AS SIGNED) FROM information_schema.processlist p \
             WHERE p.db = DATABASE() AND p.id <> CONNECTION_ID()";
        const POSTGRES: &str = "SELECT a.pid::BIGINT FROM pg_stat_activity a WHERE a.datname = current_database() \
             AND a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()";
        match &mut self.other {
            Other::MySql(other) => numbers(other.fetch_all(AssertSqlSafe(MYSQL)).await.unwrap()),
            Other::Postgres(other) => numbers(other.fetch_all(AssertSqlSafe(POSTGRES)).await.unwrap()),
        }
    }

    /// Waits until of these connections so many are left.
    async fn until_left(&mut self, of: &BTreeSet<i64>, left: usize, code: &str) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while self.open().await.intersection(of).count() != left {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(waited.await.is_ok(), "{code}: of {of:?}, these are open: {:?}", self.open().await);
    }
}

fn numbers<R: Row>(rows: Vec<R>) -> BTreeSet<i64>
where
    usize: sqlx::ColumnIndex<R>,
    i64: for<'r> sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
{
    rows.iter().map(|row| row.get(0)).collect()
}

/// After such an error so many of three connections are left, and the next append is taken.
async fn leaves(kind: Kind, left: usize, codes: &[&str]) {
    let mut database = Moody::start(kind).await;
    for code in codes {
        let open = database.connections().await;
        assert_eq!(database.append_in(code).await, StoreErrorKind::Unavailable, "{code}");
        database.until_left(&open, left, code).await;
        database.append().await.unwrap();
    }
}

const MYSQL_SERVER: [&str; 10] =
    ["1290", "1792", "1836", "1874", "1036", "1047", "1053", "3032", "3100", "3168"];

const POSTGRES_SERVER: [&str; 7] = ["25006", "57P01", "57P02", "57P03", "58000", "58030", "58P01"];

#[tokio::test(flavor = "multi_thread")]
async fn all_connections_to_a_mariadb_that_says_it_cannot_serve_are_given_up() {
    leaves(Kind::MySql, 0, &MYSQL_SERVER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_connections_to_a_postgresql_that_says_it_cannot_serve_are_given_up() {
    leaves(Kind::Postgres, 0, &POSTGRES_SERVER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_its_server_ends_is_given_up_alone() {
    leaves(Kind::MySql, 2, &["1927", "3101", "3169", "4031"]).await;
    leaves(Kind::Postgres, 2, &["57P04", "57P05", "25P03", "25P04", "08006"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_whose_statement_failed_serves_on() {
    leaves(Kind::MySql, 3, &["1365", "1205", "1021"]).await;
    leaves(Kind::Postgres, 3, &["22012", "53100", "57014"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_tables_of_mariadb_are_told_as_damage() {
    let mut database = Moody::start(Kind::MySql).await;
    for code in ["1034", "1035", "1194", "1195", "1712", "1877"] {
        assert_eq!(database.append_in(code).await, StoreErrorKind::Corrupt, "{code}");
    }
}

/// It fails once in each connection, and the next try is on the same one.
#[tokio::test(flavor = "multi_thread")]
async fn an_append_to_a_row_of_mariadb_that_changed_meanwhile_is_tried_again() {
    let mut database = Moody::start(Kind::MySql).await;
    let once = "CREATE TRIGGER mood BEFORE INSERT ON messages FOR EACH ROW IF @failed IS NULL THEN \
                SET @failed = 1; SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1020; END IF";
    database.other.run(once).await;
    database.append().await.unwrap();
}
