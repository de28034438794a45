//! Lists of databases that are not those which keep the store: they do not open, and nothing is changed.

use std::sync::Arc;
use std::time::Duration;

use im_core::memory::MemoryStore;
use im_core::storage::{Bucket, Member, Shard, StoredMap, Timelines as _};
use im_store::layer::sharding::{BucketMap, OpenError, ShardedStore};

use crate::bench::{Databases as _, Memory, over};
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
    let noted: Vec<Member> = noted(&databases).await.into_iter().flatten().collect();
    assert!(noted.len() == 3 && noted.iter().all(|member| member.set == noted[0].set), "{noted:?}");
}
