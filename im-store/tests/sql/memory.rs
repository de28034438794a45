//! A store that remembers heads, over a database that is not as it left it.

use std::sync::Arc;
use std::time::Duration;

use im_core::id::{GroupId, MsgId, Version};
use im_core::message::{Target, TimelineId};
use im_core::storage::{Bucket, Buckets as _, Head, Post, Store, StoreErrorKind, Timelines as _};
use im_store::sql::SqlStore;

use crate::bench::{Kind, database};
use crate::crossed::Other;
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

async fn run(kind: Kind, url: &str, texts: &[&str]) {
    let mut other = Other::connect(kind, url).await;
    for text in texts {
        other.run(text).await;
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

/// The database goes back to before it knew alice, and gives her number to aaron.
async fn renumbered(kind: Kind) {
    let url = database(kind, "renumbered");
    let store = knowing(&url).await;
    let tables = ["entries", "messages", "conversations", "owners"];
    let texts = tables.map(|table| format!("DELETE FROM {table}"));
    run(kind, &url, &texts.each_ref().map(String::as_str)).await;
    let bucket = Bucket::of(&user("aaron")).number();
    run(kind, &url, &[&format!("INSERT INTO owners (id, name, bucket) VALUES (1, 'uaaron', {bucket})")])
        .await;
    for msgid in 11..14 {
        store.append(vec![direct("aaron", "aaron", msgid, 50)]).await.remove(0).unwrap();
    }
    let placed = store.append(vec![direct("alice", "aaron", 14, 50)]).await.remove(0).unwrap();
    assert_eq!((placed.home, placed.copy), (Version(1), Some(Version(4))));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_known_users_of_whom_a_restored_mariadb_gave_one_the_others_number_are_not_mixed_up() {
    renumbered(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_known_users_of_whom_a_restored_postgresql_gave_one_the_others_number_are_not_mixed_up() {
    renumbered(Kind::Postgres).await;
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
    let mut changer = Other::enter(kind, &url).await;
    if let Kind::Postgres = kind {
        changer.run("LOCK TABLE bucket_map IN EXCLUSIVE MODE").await;
    }
    changer.run(&fence).await;
    let append = tokio::spawn({
        let store = store.clone();
        async move { store.append(vec![direct("alice", "bob", 4, 50)]).await.remove(0) }
    });
    changer.until_one_waits().await;
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

/// A post to a group.
fn to_group(from: &str, group: GroupId, msgid: i64) -> Post {
    let mut post = direct(from, from, msgid, 50);
    post.message.to = Target::Group(group);
    Post { home: TimelineId::Group(group), copy: None, ..post }
}

/// A post with the key of another.
fn under_key_of(other: &Post, mut post: Post) -> Post {
    post.message.key = other.message.key.clone();
    post
}

/// Alice sends to a group, in a batch that writes to her timeline only what is refused, because it uses a key again. Her bucket is fenced, and hers is the key.
async fn unchanged(kind: Kind) {
    let url = database(kind, "unchanged");
    let (store, mover) = (SqlStore::open(&*url).await.unwrap(), SqlStore::open(&*url).await.unwrap());
    let group = GroupId(7);
    let batch = |msgid| {
        vec![
            direct("carol", "alice", msgid, 50),
            direct("carol", "bob", msgid + 1, 50),
            to_group("alice", group, msgid + 2),
        ]
    };
    for msgid in [1, 11, 21] {
        store.append(batch(msgid)).await.into_iter().for_each(|placed| assert!(!placed.unwrap().repeated));
    }
    let id = mover.next_move().await.unwrap();
    mover.index_buckets(1_000).await.unwrap();
    mover.depart(id, vec![Bucket::of(&user("alice"))], 1).await.unwrap();
    mover.fence(id, Duration::from_secs(60)).await.unwrap();
    let [to_alice, to_bob, to_all] = batch(31).try_into().unwrap();
    let to_alice = under_key_of(&to_bob, to_alice);
    let answers = store.append(vec![to_bob, to_alice, to_all]).await;
    let kinds: Vec<_> =
        answers.into_iter().map(|answer| answer.map_err(|error| error.kind()).err()).collect();
    assert_eq!(kinds, [None, Some(StoreErrorKind::Moved), Some(StoreErrorKind::Moved)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_sender_to_whom_a_batch_stores_nothing_in_mariadb_keeps_no_key_behind_a_fence() {
    unchanged(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_sender_to_whom_a_batch_stores_nothing_in_postgresql_keeps_no_key_behind_a_fence() {
    unchanged(Kind::Postgres).await;
}

async fn repeated(kind: Kind) {
    let store = knowing(&database(kind, "repeated")).await;
    let [first, fourth] = [1, 4].map(|msgid| direct("alice", "bob", msgid, 50));
    let batch = [
        fourth.clone(),
        under_key_of(&fourth, direct("alice", "bob", 5, 50)),
        under_key_of(&first, direct("alice", "bob", 6, 50)),
    ];
    let placed: Vec<_> = store.append(batch.to_vec()).await.into_iter().map(Result::unwrap).collect();
    let answers: Vec<_> =
        placed.iter().map(|placed| (placed.msgid, placed.home.0, placed.repeated)).collect();
    assert_eq!(answers, [(MsgId(4), 4, false), (MsgId(4), 4, true), (MsgId(1), 1, true)]);
    for msgid in 7..10 {
        append(&store, msgid).await;
    }
    let refused = |post| async { store.append(vec![post]).await.remove(0).unwrap_err().kind() };
    assert_eq!(
        refused(under_key_of(&first, direct("alice", "bob", 20, 51))).await,
        StoreErrorKind::KeyReused
    );
    let reused = under_key_of(&direct("alice", "bob", 21, 50), direct("alice", "bob", 2, 50));
    assert_eq!(refused(reused).await, StoreErrorKind::MsgIdReused);
    assert_eq!(append(&store, 30).await, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_to_known_users_in_mariadb_are_found() {
    repeated(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_to_known_users_in_postgresql_are_found() {
    repeated(Kind::Postgres).await;
}

/// The database goes back to the first message, and another server writes as many as were lost: the heads are as they were, the messages are others.
async fn restored(kind: Kind) {
    let url = database(kind, "restored");
    let (store, other) = (knowing(&url).await, SqlStore::open(&*url).await.unwrap());
    let lost = [
        "DELETE FROM entries WHERE version > 1",
        "DELETE FROM messages WHERE home > 1",
        "UPDATE owners SET head = 1",
    ];
    run(kind, &url, &lost).await;
    assert_eq!(append(&store, 12).await, 2, "after the first");
    run(kind, &url, &lost).await;
    for msgid in [22, 23, 24] {
        assert_eq!(append(&other, msgid).await, msgid - 20);
    }
    assert_eq!(append(&store, 25).await, 5);
    let msgids: Vec<_> = entries(&store, "bob").await.iter().map(|entry| entry.message.msgid.0).collect();
    assert_eq!(msgids, [1, 22, 23, 24, 25]);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_go_after_what_a_restored_mariadb_has() {
    restored(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_go_after_what_a_restored_postgresql_has() {
    restored(Kind::Postgres).await;
}

/// An append knows both heads and waits for bob's row. Meanwhile his bucket is fenced, if the append does not keep it from that.
async fn fenced_meanwhile(kind: Kind) {
    let url = database(kind, "fenced_meanwhile");
    let (store, mover) = (Arc::new(knowing(&url).await), Arc::new(SqlStore::open(&*url).await.unwrap()));
    let id = mover.next_move().await.unwrap();
    mover.index_buckets(1_000).await.unwrap();
    let mut other = Other::enter(kind, &url).await;
    other.lock("ubob").await;
    let append =
        tokio::spawn(async move { store.append(vec![direct("alice", "bob", 4, 50)]).await.remove(0) });
    other.until_one_waits().await;
    let mut fence = tokio::spawn(async move {
        mover.depart(id, vec![Bucket::of(&user("bob"))], 1).await?;
        mover.fence(id, Duration::from_secs(60)).await
    });
    let fenced = tokio::time::timeout(Duration::from_millis(300), &mut fence).await;
    other.run("COMMIT").await;
    let appended = append.await.unwrap();
    match fenced {
        Ok(fenced) => {
            fenced.unwrap().unwrap();
            assert_eq!(appended.unwrap_err().kind(), StoreErrorKind::Moved);
        }
        Err(_) => assert_eq!(appended.unwrap().home, Version(4)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_in_mariadb_that_waits_for_a_known_user_sees_the_fence_that_comes_meanwhile() {
    fenced_meanwhile(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_in_postgresql_that_waits_for_a_known_user_sees_the_fence_that_comes_meanwhile() {
    fenced_meanwhile(Kind::Postgres).await;
}

/// More owners than one statement takes, of whom only the last is not as he was left.
async fn many(kind: Kind) {
    let url = database(kind, "many");
    let (store, other) = (SqlStore::open(&*url).await.unwrap(), SqlStore::open(&*url).await.unwrap());
    let name = |number: i64| format!("user {number:03}");
    let batch =
        |msgid| (0..150).map(move |n| direct(&name(2 * n), &name(2 * n + 1), msgid + n, 50)).collect();
    for round in 0..3 {
        assert!(store.append(batch(1_000 * round + 1)).await.iter().all(Result::is_ok));
    }
    other.append(vec![direct(&name(299), &name(299), 900, 50)]).await.remove(0).unwrap();
    let placed = store.append(batch(3_001)).await.into_iter().map(Result::unwrap);
    let versions: Vec<_> = placed.map(|placed| (placed.home.0, placed.copy.unwrap().0)).collect();
    let expected: Vec<_> = (0..150).map(|n| (4, if n == 149 { 5 } else { 4 })).collect();
    assert_eq!(versions, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_known_users_of_mariadb_none_gets_a_message_before_the_last_is_asked_for() {
    many(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_known_users_of_postgresql_none_gets_a_message_before_the_last_is_asked_for() {
    many(Kind::Postgres).await;
}
