//! A store that remembers heads, over a database that is not as it left it.

use std::sync::Arc;
use std::time::Duration;

use im_core::id::Version;
use im_core::storage::{Bucket, Buckets as _, Head, Store, StoreErrorKind, Timelines as _};
use im_store::sql::SqlStore;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection};

use crate::bench::{Kind, database};
use crate::posts::{direct, entries, user};

/// A store that has written three messages from alice to bob, the third one from memory.
async fn knowing(url: &str) -> SqlStore {
    let store = SqlStore::open(url).await.unwrap();
    for msgid in 1..=3 {
        assert_eq!(append(&store, msgid).await, msgid);
    }
    store
}

/// Appends a message from alice to bob, to both at the same version.
async fn append(store: &dyn Store, msgid: i64) -> i64 {
    let placed = store.append(vec![direct("alice", "bob", msgid, 50)]).await.remove(0).unwrap();
    assert_eq!(placed.copy, Some(placed.home));
    placed.home.0
}

/// A connection that nobody of ours knows of.
enum Raw {
    MySql(MySqlConnection),
    Postgres(PgConnection),
}

impl Raw {
    async fn connect(kind: Kind, url: &str) -> Self {
        match kind {
            Kind::MySql => Self::MySql(MySqlConnection::connect(url).await.unwrap()),
            Kind::Postgres => Self::Postgres(PgConnection::connect(url).await.unwrap()),
        }
    }

    async fn run(&mut self, text: &str) {
        let text = sqlx::raw_sql(AssertSqlSafe(text.to_owned()));
        match self {
            Self::MySql(connection) => drop(text.execute(connection).await.unwrap()),
            Self::Postgres(connection) => drop(text.execute(connection).await.unwrap()),
        }
    }
}

async fn run(kind: Kind, url: &str, texts: &[&str]) {
    let mut connection = Raw::connect(kind, url).await;
    for text in texts {
        connection.run(text).await;
    }
}

/// As after an older state was restored, in which the same numbers came to be others'.
async fn swapped(kind: Kind) {
    let url = database(kind, "swapped");
    let store = knowing(&url).await;
    let swap = ["ualice' WHERE name = 'ubob", "ubob' WHERE name = 'nobody"];
    let swap = swap.map(|change| format!("UPDATE owners SET name = '{change}'"));
    let first = "UPDATE owners SET name = 'nobody' WHERE name = 'ualice'";
    run(kind, &url, &[first, &swap[0], &swap[1]]).await;
    assert_eq!(append(&store, 4).await, 4);
    let last = entries(&store, "alice").await.pop().unwrap();
    assert_eq!((last.version.0, last.message), (4, direct("alice", "bob", 4, 50).message));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_number_of_a_known_user_in_mariadb_is_not_taken_for_him() {
    swapped(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_number_of_a_known_user_in_postgresql_is_not_taken_for_him() {
    swapped(Kind::Postgres).await;
}

async fn emptied(kind: Kind) {
    let url = database(kind, "emptied");
    let store = knowing(&url).await;
    let tables = ["entries", "messages", "conversations", "owners"];
    let texts = tables.map(|table| format!("DELETE FROM {table}"));
    run(kind, &url, &texts.each_ref().map(String::as_str)).await;
    assert_eq!(append(&store, 1).await, 1, "the first one, again");
    let heads = store.heads(vec![user("alice"), user("bob")]).await.unwrap();
    assert_eq!(heads, [Head { floor: Version(0), head: Version(1) }; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn known_users_who_are_not_in_mariadb_any_more_begin_anew() {
    emptied(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn known_users_who_are_not_in_postgresql_any_more_begin_anew() {
    emptied(Kind::Postgres).await;
}

async fn in_turn(kind: Kind) {
    let url = database(kind, "in_turn");
    let stores = [knowing(&url).await, SqlStore::open(&*url).await.unwrap()];
    for (msgid, store) in (4..20).zip(stores.iter().cycle()) {
        assert_eq!(append(store, msgid).await, msgid);
    }
    let versions: Vec<_> = entries(&stores[0], "bob").await.iter().map(|entry| entry.version.0).collect();
    assert_eq!(versions, (1..20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_over_mariadb_that_write_in_turn_know_of_each_others_messages() {
    in_turn(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_over_postgresql_that_write_in_turn_know_of_each_others_messages() {
    in_turn(Kind::Postgres).await;
}

/// Only one of two known users' buckets is fenced, by another server.
async fn fenced(kind: Kind, whose: &str) {
    let url = database(kind, "fenced");
    let (store, mover) = (knowing(&url).await, SqlStore::open(&*url).await.unwrap());
    let id = mover.next_move().await.unwrap();
    mover.index_buckets(1_000).await.unwrap();
    mover.depart(id, vec![Bucket::of(&user(whose))], 1).await.unwrap();
    assert_eq!(append(&store, 4).await, 4, "it goes on while it is copied");
    mover.fence(id, Duration::from_secs(60)).await.unwrap();
    let refused = store.append(vec![direct("alice", "bob", 5, 50)]).await.remove(0);
    assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::Moved);
    mover.unfence(id).await.unwrap();
    assert_eq!(append(&store, 5).await, 5);
    mover.fence(id, Duration::from_secs(60)).await.unwrap();
    mover.release(id).await.unwrap();
    let refused = store.append(vec![direct("alice", "bob", 6, 50)]).await.remove(0);
    assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::Moved);
}

#[tokio::test(flavor = "multi_thread")]
async fn known_users_in_mariadb_are_not_written_to_behind_a_fence() {
    fenced(Kind::MySql, "alice").await;
    fenced(Kind::MySql, "bob").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn known_users_in_postgresql_are_not_written_to_behind_a_fence() {
    fenced(Kind::Postgres, "alice").await;
    fenced(Kind::Postgres, "bob").await;
}

/// A known user's bucket is fenced by a transaction that has begun before an append and commits while that waits for it.
async fn overtaken(kind: Kind) {
    let url = database(kind, "overtaken");
    let store = Arc::new(knowing(&url).await);
    let fence = format!(
        "UPDATE buckets SET state = 2, id = 1, dest = 1, until_ms = {} WHERE bucket = {}",
        i64::MAX,
        Bucket::of(&user("bob")).number()
    );
    let [begin, locks] = match kind {
        Kind::MySql => ["BEGIN", "DO 0"],
        Kind::Postgres => ["BEGIN", "LOCK TABLE bucket_map IN EXCLUSIVE MODE"],
    };
    let mut changer = Raw::connect(kind, &url).await;
    for text in [begin, locks, &fence] {
        changer.run(text).await;
    }
    let append = tokio::spawn({
        let store = store.clone();
        async move { store.append(vec![direct("alice", "bob", 4, 50)]).await.remove(0) }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!append.is_finished(), "it waits");
    changer.run("COMMIT").await;
    assert_eq!(append.await.unwrap().unwrap_err().kind(), StoreErrorKind::Moved);
    assert_eq!(entries(&*store, "alice").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_from_memory_that_waits_for_a_fence_of_mariadb_sees_it() {
    overtaken(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_from_memory_that_waits_for_a_fence_of_postgresql_sees_it() {
    overtaken(Kind::Postgres).await;
}
