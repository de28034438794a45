//! What stands in the way when a database is opened.

use std::time::{Duration, Instant};

use im_core::storage::{Buckets, Member, SetId, StoredMap};
use im_store::sql::{OpenError, SqlOptions, SqlStore};
use im_test_servers::{MariaDb, Postgres};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::bench::{Kind, database};
use super::crossed::Other;

/// The URL of a new user who may make no tables.
fn guest(kind: Kind, url: &str) -> String {
    let (place, name) = url.rsplit_once('/').unwrap();
    let place = place.rsplit_once('@').unwrap().1;
    let user = user(url);
    match kind {
        Kind::MySql => {
            MariaDb::shared().execute(&format!("CREATE USER {user} IDENTIFIED BY 'guest'"));
            let rows = format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {name}.* TO {user}");
            MariaDb::shared().execute(&rows);
            format!("mysql://{user}:guest@{place}/{name}")
        }
        Kind::Postgres => {
            Postgres::shared().execute(&format!("CREATE USER {user} PASSWORD 'guest'"));
            format!("postgres://{user}:guest@{place}/{name}")
        }
    }
}

/// Called like the database.
fn user(url: &str) -> &str {
    let name = url.rsplit_once('/').unwrap().1;
    &name[name.len().saturating_sub(28)..]
}

/// MySQL lets a user into tables before they are there, PostgreSQL does not.
async fn let_in(kind: Kind, url: &str) {
    if let Kind::Postgres = kind {
        let rows =
            format!("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {}", user(url));
        PgConnection::connect(url).await.unwrap().execute(AssertSqlSafe(rows)).await.unwrap();
    }
}

async fn opens_for_a_guest_once_there_are_tables(kind: Kind) {
    let url = database(kind, "guest");
    let theirs = guest(kind, &url);
    let refused = SqlStore::open(&*theirs).await;
    assert!(matches!(refused, Err(OpenError::MayNotMigrate(_))), "{refused:?}");
    SqlStore::open(&*url).await.unwrap().close().await;
    let_in(kind, &url).await;
    SqlStore::open(&*theirs).await.unwrap().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_mariadb_who_may_not_make_tables_opens_those_of_another() {
    opens_for_a_guest_once_there_are_tables(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_postgresql_who_may_not_make_tables_opens_those_of_another() {
    opens_for_a_guest_once_there_are_tables(Kind::Postgres).await;
}

#[tokio::test]
async fn a_url_that_names_no_database_is_told() {
    let url = database(Kind::MySql, "nameless");
    let refused = SqlStore::open(url.rsplit_once('/').unwrap().0).await;
    let Err(OpenError::Url(Some(cause))) = &refused else { panic!("{refused:?}") };
    assert_eq!(cause.to_string(), "it names no database");
}

#[tokio::test]
async fn nobody_waits_for_minutes_for_a_database_that_is_not_there_because_calls_may_take_as_long() {
    let began = Instant::now();
    let options = SqlOptions::new("mysql://im@127.0.0.1:1/im").call_deadline(Duration::from_secs(300));
    let refused = options.open().await;
    assert!(matches!(refused, Err(OpenError::Unavailable(_))), "{refused:?}");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

async fn does_not_open_alone_if_it_is_one_of_several(kind: Kind) {
    let url = database(kind, "member");
    let map = StoredMap { version: 1, bytes: vec![7] };
    SqlStore::open(&*url).await.unwrap().put_bucket_map(map).await.unwrap();
    let refused = SqlStore::open(&*url).await;
    assert!(matches!(refused, Err(OpenError::OneOfSeveral(0))), "who has the map: {refused:?}");
    let store = SqlOptions::new(&*url).one_of_several().open().await.unwrap();
    let racers = (0..4).map(|place| store.join(Member { set: SetId(place.into()), place }));
    let noted = futures::future::try_join_all(racers).await.unwrap();
    assert!(noted.iter().all(|member| *member == noted[0]), "{noted:?}");
    let refused = SqlStore::open(&*url).await;
    assert!(matches!(refused, Err(OpenError::OneOfSeveral(place)) if place == noted[0].place), "{refused:?}");
    let refused = SqlOptions::new(&*url).import().await;
    assert!(
        matches!(refused, Err(OpenError::OneOfSeveral(_))),
        "a whole store does not belong there: {refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_several_databases_of_mysql_does_not_open_alone() {
    does_not_open_alone_if_it_is_one_of_several(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_several_databases_of_postgresql_does_not_open_alone() {
    does_not_open_alone_if_it_is_one_of_several(Kind::Postgres).await;
}

/// DDL commits by itself in MySQL: a server that was killed while it made tables leaves a step that was begun.
#[tokio::test]
async fn a_step_of_the_schema_of_mariadb_that_was_cut_off_is_taken_again() {
    let url = database(Kind::MySql, "cut_off");
    SqlStore::open(&*url).await.unwrap().close().await;
    let mut other = Other::connect(Kind::MySql, &url).await;
    other.run("DROP TABLE member").await;
    for step in (1..=5).rev() {
        other.run(&format!("UPDATE _sqlx_migrations SET success = (version < {step})")).await;
        other.run(&format!("DELETE FROM _sqlx_migrations WHERE version > {step}")).await;
        let store = SqlStore::open(&*url).await.unwrap();
        assert_eq!(store.member().await.unwrap(), None);
        store.close().await;
    }
}

#[tokio::test]
async fn tables_of_somebody_else_are_told() {
    for (kind, made) in [(Kind::MySql, "messages"), (Kind::Postgres, "owners")] {
        let url = database(kind, "foreign");
        Other::connect(kind, &url).await.run(&format!("CREATE TABLE {made} (x BIGINT)")).await;
        let refused = SqlStore::open(&*url).await.unwrap_err();
        assert!(matches!(refused, OpenError::Damaged(_)), "{refused:?}");
    }
}

#[tokio::test]
async fn tables_of_a_newer_version_are_told_with_what_to_do() {
    let url = database(Kind::Postgres, "newer");
    SqlStore::open(&*url).await.unwrap().close().await;
    let step = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                VALUES (99, 'of the future', true, '', 0)";
    PgConnection::connect(&url).await.unwrap().execute(step).await.unwrap();
    let refused = SqlStore::open(&*url).await.unwrap_err();
    assert!(matches!(refused, OpenError::Newer(99)), "{refused:?}");
    let told = refused.to_string();
    assert!(told.contains("older than the database") && told.contains("Upgrade the program"), "{told}");
}
