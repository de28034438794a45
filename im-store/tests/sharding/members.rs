//! Lists of databases that are not those which keep the store: they do not open, and nothing is changed.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use im_core::memory::MemoryStore;
use im_core::storage::{Bucket, Member, SetId, Shard, StoredMap, Timelines as _};
use im_store::layer::sharding::{BucketMap, OpenError, ShardedStore};

use crate::bench::{Databases as _, Memory, over};
use crate::faulty::{EVERY_WAY, Fault, Faulty, How};
use crate::load::RealTime;
use crate::traffic::{batches, direct, user};

async fn open(databases: &[&Arc<dyn Shard>]) -> Result<ShardedStore, OpenError> {
    ShardedStore::open(databases.iter().map(|database| Arc::clone(database)).collect(), RealTime::new()).await
}

async fn noted(databases: &[&Arc<dyn Shard>]) -> Vec<Option<Member>> {
    let mut noted = Vec::new();
    for database in databases {
        noted.push(database.member().await.unwrap());
    }
    noted
}

/// Three databases whose store was opened, or, as before anybody noted which is which, only served.
async fn three(is_noted: bool) -> [Arc<dyn Shard>; 3] {
    let databases = Memory::new(3).open().await;
    for batch in batches() {
        over(databases.clone()).append(batch).await;
    }
    let first_map = StoredMap { version: 1, bytes: BucketMap::even(3).unwrap().to_bytes() };
    assert!(databases[0].put_bucket_map(first_map).await.unwrap());
    let databases: [_; 3] = databases.try_into().ok().unwrap();
    if is_noted {
        open(&databases.each_ref()).await.unwrap();
    }
    databases
}

fn empty() -> Arc<dyn Shard> {
    Arc::new(MemoryStore::default())
}

#[tokio::test]
async fn databases_in_another_order_than_before_are_refused() {
    let [a, b, c] = &three(true).await;
    for (list, named) in [([c, b, a], 2), ([b, a, c], 1)] {
        let refused = open(&list).await;
        assert!(matches!(refused, Err(OpenError::NotFirst(place)) if place == named), "{refused:?}");
    }
    let refused = open(&[a, c, b]).await;
    assert!(matches!(refused, Err(OpenError::WrongPlace(1, 2))), "{refused:?}");
    open(&[a, b, c]).await.unwrap();
}

#[tokio::test]
async fn a_list_without_its_first_or_a_middle_database_is_refused() {
    let [a, b, c] = &three(true).await;
    for list in [&[b, c][..], &[b], &[c]] {
        let refused = open(list).await;
        assert!(matches!(refused, Err(OpenError::WrongPlace(0, _))), "{refused:?}");
    }
    let refused = open(&[a, c]).await;
    assert!(matches!(refused, Err(OpenError::WrongPlace(1, 2))), "{refused:?}");
    let refused = open(&[a, &empty(), c]).await;
    assert!(matches!(refused, Err(OpenError::Missing(1))), "{refused:?}");
    let refused = open(&[&empty(), b, c]).await;
    assert!(matches!(refused, Err(OpenError::NoFirst(1))), "{refused:?}");
    assert!(b.bucket_map().await.unwrap().is_none());
    open(&[a, b, c, &empty()]).await.unwrap();
}

#[tokio::test]
async fn an_empty_database_in_the_place_of_another_is_refused_before_anybody_uses_them() {
    let [a, b, c] = [&empty(), &empty(), &empty()];
    open(&[a, b, c]).await.unwrap();
    let refused = open(&[a, &empty(), c]).await;
    assert!(matches!(refused, Err(OpenError::Missing(1))), "two would keep the same users: {refused:?}");
    open(&[a, b, c]).await.unwrap();
}

#[tokio::test]
async fn databases_of_two_stores_are_refused() {
    let ([a, b, _], [_, _, c]) = (&three(true).await, &three(true).await);
    let refused = open(&[a, b, c]).await;
    assert!(matches!(refused, Err(OpenError::OtherSet(2))), "{refused:?}");
}

#[tokio::test]
async fn databases_that_noted_nothing_are_known_by_what_they_hold() {
    let [a, b, c] = &three(false).await;
    for list in [&[a, c, b][..], &[b, c], &[a, b]] {
        let refused = open(list).await;
        assert!(matches!(refused, Err(OpenError::Strangers(_) | OpenError::Map(_))), "{refused:?}");
    }
    assert_eq!(noted(&[a, b, c]).await, [None; 3], "nothing is noted of a wrong list");
    assert!(b.bucket_map().await.unwrap().is_none(), "nor is a map made");
    open(&[a, b, c]).await.unwrap();
    let noted: Vec<Member> = noted(&[a, b, c]).await.into_iter().flatten().collect();
    assert_eq!(noted.iter().map(|member| member.place).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(noted.iter().all(|member| member.set == noted[0].set));
}

#[tokio::test]
async fn a_database_in_use_is_first_alone_in_its_list_and_then_shared() {
    let (used, new) = (&empty(), &empty());
    for name in ["alice", "bob", "carol", "dave"] {
        used.append(vec![direct(name, name, 1)]).await.remove(0).unwrap();
    }
    let refused = open(&[used, new]).await;
    assert!(
        matches!(refused, Err(OpenError::Strangers(0))),
        "half of its users would be looked for in the other: {refused:?}"
    );
    open(&[used]).await.unwrap();
    open(&[used, new]).await.unwrap();
    let refused = open(&[used, new, used]).await;
    assert!(matches!(refused, Err(OpenError::NotFirst(2))), "{refused:?}");
    let refused = open(&[used, new, new]).await;
    assert!(matches!(refused, Err(OpenError::WrongPlace(2, 1))), "{refused:?}");
}

#[tokio::test]
async fn what_moved_and_is_not_in_the_map_yet_is_no_stranger() {
    let [a, b, c] = &three(false).await;
    let name = (0..)
        .map(|n| format!("user {n}"))
        .find(|name| BucketMap::even(3).unwrap().database_of(&user(name)) == 1);
    let (name, id) = (name.unwrap(), a.next_move().await.unwrap());
    let buckets = vec![Bucket::of(&user(&name))];
    b.depart(id, buckets.clone(), 2).await.unwrap();
    c.arrive(id, buckets, 2).await.unwrap();
    b.fence(id, Duration::from_secs(60)).await.unwrap();
    b.release(id).await.unwrap();
    c.own(id).await.unwrap();
    c.append(vec![direct(&name, &name, 1_000)]).await.remove(0).unwrap();
    let store = open(&[a, b, c]).await.unwrap();
    assert_eq!(store.map().database_of(&user(&name)), 2);
}

#[tokio::test]
async fn servers_that_open_new_databases_at_once_agree() {
    let databases = [&empty(), &empty(), &empty()];
    let opened = futures::future::join_all((0..8).map(|_| open(&databases))).await;
    opened.into_iter().for_each(|opened| drop(opened.unwrap()));
    assert_one_set(&databases).await;
}

async fn assert_one_set(databases: &[&Arc<dyn Shard>]) {
    let noted: Vec<Member> = noted(databases).await.into_iter().flatten().collect();
    assert!(noted.iter().map(|member| usize::from(member.place)).eq(0..databases.len()), "{noted:?}");
    assert!(noted.iter().all(|member| member.set == noted[0].set), "{noted:?}");
}

/// Three databases of which one holds somebody, whose map was stored before anybody noted which is which, or is not stored yet.
async fn one_user(in_database: usize, has_map: bool) -> [Arc<dyn Shard>; 3] {
    let (databases, map) = ([empty(), empty(), empty()], BucketMap::even(3).unwrap());
    let mut names = (0..).map(|n| format!("user {n}"));
    let name = names.find(|name| map.database_of(&user(name)) == in_database).unwrap();
    databases[in_database].append(vec![direct(&name, &name, 1)]).await.remove(0).unwrap();
    if has_map {
        let first_map = StoredMap { version: 1, bytes: map.to_bytes() };
        assert!(databases[0].put_bucket_map(first_map).await.unwrap());
    }
    databases
}

#[tokio::test]
async fn a_database_that_comes_back_from_before_its_note_notes_it_again() {
    let mut memory = Memory::new(3);
    let before = memory.open().await;
    for batch in batches() {
        over(before.clone()).append(batch).await;
    }
    let first_map = StoredMap { version: 1, bytes: BucketMap::even(3).unwrap().to_bytes() };
    assert!(before[0].put_bucket_map(first_map).await.unwrap());
    for back in 0..3 {
        let mut databases = memory.open().await;
        open(&databases.iter().collect::<Vec<_>>()).await.unwrap();
        databases[back] = before[back].clone();
        let databases: Vec<_> = databases.iter().collect();
        open(&databases).await.unwrap();
        assert_one_set(&databases).await;
    }
}

/// Opens databases, of which a call goes wrong. Whether it came.
async fn open_once(databases: &[Arc<dyn Shard>], fault: Arc<Fault>) -> bool {
    let faulty = |database: &Arc<dyn Shard>| Arc::new(Faulty::new(database.clone(), fault.clone())) as _;
    let open = ShardedStore::open(databases.iter().map(faulty).collect(), RealTime::new());
    tokio::select! {
        opened = open => drop(opened),
        () = fault.killed.notified() => {}
    }
    fault.came()
}

#[tokio::test]
async fn an_opening_that_ends_anywhere_is_made_good_by_the_next() {
    for (how, in_database, has_map) in
        EVERY_WAY.into_iter().flat_map(|how| (0..3).flat_map(move |at| [(how, at, true), (how, at, false)]))
    {
        for call in 0.. {
            let databases = one_user(in_database, has_map).await;
            let came = open_once(&databases, Fault::at(call, how)).await;
            let opened = open(&databases.each_ref()).await;
            let context = format!("call {call}, {how:?}, in database {in_database}, has a map: {has_map}");
            assert!(opened.is_ok(), "{context}: {opened:?}");
            assert_one_set(&databases.each_ref()).await;
            if !came {
                assert!(call > 9, "{call} calls");
                break;
            }
        }
    }
}

/// Opens databases, and stops at a call until others have done something. `None` if the call did not come.
async fn open_around<T>(
    databases: &[&Arc<dyn Shard>],
    call: usize,
    meanwhile: impl Future<Output = T>,
) -> Option<(Result<ShardedStore, OpenError>, T)> {
    let fault = Fault::at(call, How::Stopped);
    let faulty = |database: &&Arc<dyn Shard>| Arc::new(Faulty::new(Arc::clone(database), fault.clone())) as _;
    let databases = databases.iter().map(faulty).collect();
    let mut open = pin!(ShardedStore::open(databases, RealTime::new()));
    tokio::select! {
        _ = &mut open => return None,
        () = fault.killed.notified() => {}
    }
    let done = meanwhile.await;
    fault.go_on.notify_one();
    Some((open.await, done))
}

#[tokio::test]
async fn of_two_who_open_new_databases_in_two_orders_at_the_same_time_one_is_refused() {
    for call in 0.. {
        let [a, b] = [&empty(), &empty()];
        let Some((late, early)) = open_around(&[b, a], call, open(&[a, b])).await else {
            assert!(call > 6, "{call} calls");
            break;
        };
        assert!(late.is_ok() != early.is_ok(), "call {call}: {late:?} and {early:?}");
        let (used, other) = if early.is_ok() { ([a, b], [b, a]) } else { ([b, a], [a, b]) };
        assert!(open(&used).await.is_ok() && open(&other).await.is_err(), "call {call}");
    }
}

#[tokio::test]
async fn who_opens_new_databases_while_others_begin_to_use_them_finds_none_missing() {
    for call in 0.. {
        let [a, b] = [&empty(), &empty()];
        // Somebody was interrupted after the first note.
        a.join(Member { set: SetId(7), place: 0 }).await.unwrap();
        let used = async {
            let store = open(&[a, b]).await.unwrap();
            let mut names = (0..).map(|n| format!("user {n}"));
            let name = names.find(|name| store.map().database_of(&user(name)) == 0).unwrap();
            store.append(vec![direct(&name, &name, 1)]).await.remove(0).unwrap();
        };
        let Some((late, ())) = open_around(&[a, b], call, used).await else {
            assert!(call > 6, "{call} calls");
            break;
        };
        assert!(late.is_ok(), "call {call}: {late:?}");
        assert_one_set(&[a, b]).await;
    }
}
