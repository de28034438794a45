//! Several servers over one database write to each other's owners.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::future::join_all;
use im_core::storage::{Bucket, Buckets as _, Store, Timelines as _};
use im_store::sql::{SqlOptions, SqlStore};
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection, PgConnection, Row};

use crate::bench::{Kind, database};
use crate::posts::{direct, entries};
use crate::traffic::{Traffic, turn};

async fn servers(url: &str, count: usize) -> Vec<Arc<SqlStore>> {
    let open = || async { Arc::new(SqlOptions::new(url).connections(3).open().await.unwrap()) };
    join_all((0..count).map(|_| open())).await
}

async fn crossed(kind: Kind) {
    let _turn = turn().await;
    let stores = servers(&database(kind, "crossed"), 3).await;
    let traffic = Arc::new(Traffic::default());
    let mut tasks = tokio::task::JoinSet::new();
    for (writer, store) in (0..).zip(stores.iter().cycle().take(9)) {
        tasks.spawn(traffic.clone().write(store.clone() as Arc<dyn Store>, writer));
    }
    tasks.spawn(traffic.clone().watch(stores[0].clone(), crate::posts::user("user 0")));
    traffic.go_on_for(3_000).await;
    traffic.end();
    tasks.join_all().await;
    traffic.audit(&*stores[1]).await;
    assert_eq!(traffic.refusals.load(Ordering::SeqCst), 0, "nobody has to wait for so long");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_write_to_the_same_owners_of_mariadb_take_turns() {
    crossed(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_write_to_the_same_owners_of_postgresql_take_turns() {
    crossed(Kind::Postgres).await;
}

/// One send, resent to all servers at once before any has answered.
async fn resent_everywhere(kind: Kind) {
    let stores = servers(&database(kind, "resent"), 3).await;
    for round in 0..20 {
        let resends = stores.iter().cycle().take(6).zip(0..).map(|(store, n)| {
            let mut post = direct("alice", "bob", 100 * round + n, 50);
            post.message.key = direct("alice", "bob", 100 * round, 50).message.key;
            async move { store.append(vec![post]).await.remove(0).unwrap() }
        });
        let placed = join_all(resends).await;
        let firsts = placed.iter().filter(|placed| !placed.repeated).count();
        assert_eq!(firsts, 1, "{placed:?}");
        assert!(placed.iter().all(|other| other.msgid == placed[0].msgid && other.home == placed[0].home));
    }
    assert_eq!(entries(&*stores[0], "bob").await.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_that_comes_to_several_servers_of_mariadb_is_stored_once() {
    resent_everywhere(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_that_comes_to_several_servers_of_postgresql_is_stored_once() {
    resent_everywhere(Kind::Postgres).await;
}

/// Another program.
pub(crate) enum Other {
    MySql(MySqlConnection),
    Postgres(PgConnection),
}

impl Other {
    pub(crate) async fn connect(kind: Kind, url: &str) -> Self {
        match kind {
            Kind::MySql => Self::MySql(MySqlConnection::connect(url).await.unwrap()),
            Kind::Postgres => Self::Postgres(PgConnection::connect(url).await.unwrap()),
        }
    }

    /// Begins a transaction. What it has written makes it the one that a database lets win.
    pub(crate) async fn enter(kind: Kind, url: &str) -> Self {
        let mut other = Self::connect(kind, url).await;
        other.run("CREATE TABLE heavy (id BIGINT PRIMARY KEY)").await;
        other.run("BEGIN").await;
        for row in 0..100 {
            other.run(&format!("INSERT INTO heavy VALUES ({row})")).await;
        }
        other
    }

    pub(crate) async fn run(&mut self, text: &str) {
        let text = AssertSqlSafe(text.to_owned());
        match self {
            Self::MySql(connection) => drop(connection.execute(text).await.unwrap()),
            Self::Postgres(connection) => drop(connection.execute(text).await.unwrap()),
        }
    }

    pub(crate) async fn lock(&mut self, user: &str) {
        self.run(&format!("SELECT * FROM owners WHERE name = '{user}' FOR UPDATE")).await;
    }

    /// Waits until somebody waits for a lock in this database.
    pub(crate) async fn until_one_waits(&mut self) {
        tokio::time::timeout(std::time::Duration::from_secs(30), self.look_for_one()).await.unwrap();
    }

    async fn look_for_one(&mut self) {
        const MYSQL: &str = "SELECT COUNT(*) FROM information_schema.innodb_trx t \
             JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id \
             WHERE p.db = DATABASE() AND t.trx_state = 'LOCK WAIT'";
        const POSTGRES: &str = "SELECT COUNT(*) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
             WHERE a.datname = current_database() AND NOT l.granted";
        loop {
            let waiting: i64 = match self {
                Self::MySql(connection) => connection.fetch_one(MYSQL).await.unwrap().get(0),
                Self::Postgres(connection) => connection.fetch_one(POSTGRES).await.unwrap().get(0),
            };
            if waiting > 0 {
                return;
            }
            // InnoDB shows what it showed before to who asks more than ten times a second.
            tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        }
    }
}

/// The other program takes bob's row and then alice's, an append alice's and then bob's: the append loses, and is tried again. After several appends it asks for
/// nothing first.
async fn deadlock(kind: Kind, before: i64) {
    let url = database(kind, "deadlock");
    let store = Arc::new(SqlStore::open(&*url).await.unwrap());
    for msgid in 1..=before {
        store.append(vec![direct("alice", "bob", msgid, 10)]).await.remove(0).unwrap();
    }
    let mut other = Other::enter(kind, &url).await;
    other.lock("ubob").await;
    let append = tokio::spawn({
        let store = store.clone();
        async move { store.append(vec![direct("alice", "bob", before + 1, 10)]).await.remove(0) }
    });
    other.until_one_waits().await;
    other.lock("ualice").await;
    other.run("COMMIT").await;
    let placed = append.await.unwrap().unwrap();
    let next = before + 1;
    assert_eq!((placed.home.0, placed.copy.map(|copy| copy.0), placed.repeated), (next, Some(next), false));
    let versions: Vec<_> = entries(&*store, "bob").await.iter().map(|entry| entry.version.0).collect();
    assert_eq!(versions, (1..=next).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_loses_a_deadlock_in_mariadb_is_tried_again() {
    deadlock(Kind::MySql, 1).await;
    deadlock(Kind::MySql, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_loses_a_deadlock_in_postgresql_is_tried_again() {
    deadlock(Kind::Postgres, 1).await;
    deadlock(Kind::Postgres, 3).await;
}

/// A mover is stopped while it removes rows, and a later move takes its buckets over: what that one copies in is not removed by the first when it goes on.
async fn taken_over(kind: Kind) {
    let url = database(kind, "cleared");
    let store = Arc::new(SqlStore::open(&*url).await.unwrap());
    store.append(vec![direct("alice", "alice", 1, 10)]).await.remove(0).unwrap();
    let (early, late) = (store.next_move().await.unwrap(), store.next_move().await.unwrap());
    let buckets = vec![Bucket::of_user(&crate::posts::uid("alice"))];
    store.arrive(early, buckets.clone(), 1).await.unwrap();
    let mut other = Other::enter(kind, &url).await;
    other.run("SELECT * FROM entries FOR UPDATE").await;
    let clear = tokio::spawn({
        let store = store.clone();
        async move { store.clear(early, 100).await }
    });
    other.until_one_waits().await;
    let mut arrive = tokio::spawn({
        let store = store.clone();
        async move { store.arrive(late, buckets, 1).await }
    });
    let arrived = tokio::time::timeout(std::time::Duration::from_millis(300), &mut arrive).await;
    assert!(arrived.is_err(), "the later move waits for the rows to be removed: {arrived:?}");
    other.run("COMMIT").await;
    clear.await.unwrap().unwrap();
    arrive.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_in_mariadb_that_is_taken_over_removes_nothing_of_the_later_one() {
    taken_over(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_in_postgresql_that_is_taken_over_removes_nothing_of_the_later_one() {
    taken_over(Kind::Postgres).await;
}

/// A fence that ended, behind which somebody wrote, and that a clock set back makes hold again.
async fn clock_set_back(kind: Kind) {
    let url = database(kind, "set_back");
    let store = servers(&url, 1).await.remove(0);
    let buckets = ["alice", "bob"].map(|name| Bucket::of(&crate::posts::user(name)));
    let id = store.next_move().await.unwrap();
    store.depart(id, buckets.to_vec(), 1).await.unwrap();
    let lease = std::time::Duration::from_millis(300);
    store.fence(id, lease).await.unwrap();
    tokio::time::sleep(lease * 2).await;
    store.append(vec![direct("alice", "alice", 1, 50)]).await.remove(0).unwrap();
    let mut clock = Other::enter(kind, &url).await;
    clock.run("UPDATE buckets SET until_ms = until_ms + 3600000").await;
    clock.run("COMMIT").await;
    let released = store.release(id).await;
    assert_eq!(released.map_err(|error| error.kind()), Err(im_core::storage::StoreErrorKind::LeaseLost));
    store.append(vec![direct("alice", "alice", 2, 50)]).await.remove(0).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_that_was_over_in_mariadb_does_not_hold_again_when_the_clock_is_set_back() {
    clock_set_back(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_that_was_over_in_postgresql_does_not_hold_again_when_the_clock_is_set_back() {
    clock_set_back(Kind::Postgres).await;
}

/// An owner that a server without buckets has created after the move began, so that nothing of it was copied.
async fn unnoted(kind: Kind) {
    let url = database(kind, "unnoted");
    let store = servers(&url, 1).await.remove(0);
    let bucket = Bucket::of(&crate::posts::user("alice"));
    let id = store.next_move().await.unwrap();
    assert!(store.index_buckets(100).await.unwrap());
    store.depart(id, vec![bucket], 1).await.unwrap();
    store.append(vec![direct("alice", "alice", 1, 50)]).await.remove(0).unwrap();
    let mut older = Other::enter(kind, &url).await;
    older.run("UPDATE owners SET bucket = NULL").await;
    older.run("COMMIT").await;
    store.fence(id, std::time::Duration::from_secs(60)).await.unwrap();
    let released = store.release(id).await;
    assert_eq!(released.map_err(|error| error.kind()), Err(im_core::storage::StoreErrorKind::Unavailable));
    assert!(store.index_buckets(100).await.unwrap());
    store.release(id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_moves_from_mariadb_while_an_owner_is_of_no_bucket() {
    unnoted(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_moves_from_postgresql_while_an_owner_is_of_no_bucket() {
    unnoted(Kind::Postgres).await;
}

/// Two movers clear the same bucket at once: the second has looked for keys before the first has hidden them.
async fn cleared_twice(kind: Kind) {
    let url = database(kind, "cleared");
    let deadline = std::time::Duration::from_millis(2_000);
    let store = Arc::new(SqlOptions::new(&url).connections(4).call_deadline(deadline).open().await.unwrap());
    let group = im_core::id::GroupId(7);
    let mut post = direct("alice", "bob", 1, 50);
    post.message.to = im_core::message::Target::Group(group);
    let post =
        im_core::storage::Post { home: im_core::message::TimelineId::Group(group), copy: None, ..post };
    store.append(vec![post.clone()]).await.remove(0).unwrap();
    let id = store.next_move().await.unwrap();
    store.depart(id, vec![Bucket::of(&crate::posts::user("alice"))], 1).await.unwrap();
    store.fence(id, std::time::Duration::from_secs(60)).await.unwrap();
    store.release(id).await.unwrap();
    tokio::time::sleep(deadline * 2).await;
    let mut other = Other::enter(kind, &url).await;
    other.run("SELECT * FROM messages FOR UPDATE").await;
    let clears = (0..2).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.clear(id, 100).await })
    });
    let clears: Vec<_> = clears.collect();
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    other.run("COMMIT").await;
    for clear in clears {
        clear.await.unwrap().unwrap();
    }
    let read = im_core::storage::Read {
        timeline: post.home.clone(),
        after: im_core::id::Version::ZERO,
        until: None,
        limit: 10,
        max_bytes: usize::MAX,
        least: None,
    };
    let entry = store.read(vec![read]).await.remove(0).unwrap().entries.remove(0);
    assert_eq!(entry.message, post.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_movers_clear_from_mariadb_at_once_stays_what_it_was() {
    cleared_twice(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_movers_clear_from_postgresql_at_once_stays_what_it_was() {
    cleared_twice(Kind::Postgres).await;
}
