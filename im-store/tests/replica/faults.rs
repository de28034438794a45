//! Replicas that are behind, slow, broken, or another store: readers do not notice.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use im_core::id::Version;
use im_core::memory::MemoryStore;
use im_core::storage::{Epochs as _, Page, Read, Timelines as _};
use im_core::time::Timestamp;
use im_store::layer::replica::{ReplicaLimits, ReplicatedStore};

use crate::fake::{Mood, Replica, impatient, over};
use crate::posts::{direct, user};

type Replicated = Arc<ReplicatedStore<MemoryStore>>;

async fn grow(store: &MemoryStore, from: i64, to: i64) {
    for n in from..=to {
        store.append(vec![direct("alice", "bob", n, 10)]).await.remove(0).unwrap();
    }
}

async fn with_twenty(limits: ReplicaLimits) -> (Arc<MemoryStore>, Arc<Replica>, Replicated) {
    let primary = Arc::new(MemoryStore::default());
    grow(&primary, 1, 20).await;
    let replica = Replica::of(&primary);
    let store = over(&primary, std::slice::from_ref(&replica), limits);
    (primary, replica, store)
}

fn read(after: i64, least: Option<i64>) -> Read {
    let least = least.map(Version);
    let after = Version(after);
    Read { timeline: user("bob"), after, until: None, limit: 3, max_bytes: usize::MAX, least }
}

async fn page(store: &Replicated, read: Read) -> Page {
    store.read(vec![read]).await.remove(0).unwrap()
}

fn versions(page: &Page) -> Vec<i64> {
    page.entries.iter().map(|entry| entry.version.0).collect()
}

#[tokio::test]
async fn a_replica_answers_what_it_has_and_the_primary_says_the_end() {
    let (_primary, replica, store) = with_twenty(impatient()).await;
    replica.be(Mood::Paused);
    let mut after = 0;
    while let Some(last) = page(&store, read(after, Some(20))).await.entries.last() {
        after = last.version.0;
    }
    assert_eq!(after, 20);
    let counts = store.counts();
    // Behind version 15 a page of three may be the last but one, behind 18 it is the last.
    assert_eq!((counts.replicas[0].served, counts.primary), (6, 2), "{counts:?}");
}

#[tokio::test]
async fn a_read_that_needs_all_that_was_acknowledged_is_the_primarys() {
    let (_primary, replica, store) = with_twenty(impatient()).await;
    assert_eq!(versions(&page(&store, read(0, None)).await), [1, 2, 3]);
    assert_eq!(replica.reads.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_page_that_would_be_the_last_is_not_read_twice() {
    let (_primary, replica, store) = with_twenty(impatient()).await;
    assert_eq!(versions(&page(&store, read(17, Some(20))).await), [18, 19, 20]);
    assert_eq!(replica.reads.load(Ordering::SeqCst), 0);
    let until = Read { until: Some(Version(19)), ..read(17, Some(20)) };
    assert_eq!(versions(&page(&store, until).await), [18, 19]);
    assert_eq!(store.counts().by_replicas(), 1);
}

#[tokio::test]
async fn one_batch_goes_to_both_and_is_answered_in_order() {
    let (primary, replica, store) = with_twenty(impatient()).await;
    replica.be(Mood::Paused);
    grow(&primary, 21, 30).await;
    let asked =
        vec![read(0, Some(20)), read(5, None), read(9, Some(25)), read(27, Some(30)), read(12, Some(3))];
    let pages: Vec<_> = store.read(asked).await.into_iter().map(Result::unwrap).collect();
    let first: Vec<_> = pages.iter().map(|page| versions(page)[0]).collect();
    assert_eq!(first, [1, 6, 10, 28, 13]);
    let heads: Vec<_> = pages.iter().map(|page| page.head.0).collect();
    assert_eq!(heads, [20, 30, 30, 30, 30]);
    let counts = store.counts();
    assert_eq!((counts.replicas[0].served, counts.replicas[0].behind), (1, 1), "{counts:?}");
}

#[tokio::test]
async fn a_replica_that_is_behind_is_left_alone_for_a_moment() {
    let limits = ReplicaLimits::with(|limits| limits.behind = Duration::from_secs(60));
    let (primary, replica, store) = with_twenty(limits).await;
    replica.be(Mood::Paused);
    grow(&primary, 21, 30).await;
    for _ in 0..10 {
        assert_eq!(page(&store, read(0, Some(30))).await.head, Version(30));
    }
    assert_eq!(replica.reads.load(Ordering::SeqCst), 1);
}

/// A standby has a commit before its primary shows it, and so has a replica that commits wait for.
#[tokio::test]
async fn what_a_replica_shows_before_its_primary_does_is_not_passed_on() {
    let (_primary, replica, store) = with_twenty(impatient()).await;
    replica.be(Mood::Paused);
    let ahead = MemoryStore::default();
    grow(&ahead, 1, 30).await;
    replica.show(ahead);
    let mut known = 20;
    for after in 0..=20 {
        let page = page(&store, read(after, Some(known))).await;
        assert!(page.head.0 == 20 && versions(&page).iter().all(|version| *version <= 20), "{page:?}");
        known = known.max(page.head.0);
        let claimed = self::page(&store, read(after, Some(after))).await;
        assert!(
            claimed.head.0 == 20 && versions(&claimed).iter().all(|version| *version <= 20),
            "{claimed:?}"
        );
    }
    assert!(store.counts().by_replicas() > 10, "{:?}", store.counts());
}

/// Whoever asks behind the end says that there is something: anybody may say it.
#[tokio::test]
async fn a_reader_who_claims_too_much_does_not_keep_others_from_the_replicas() {
    let limits = ReplicaLimits::with(|limits| limits.behind = Duration::from_secs(60));
    let (_primary, _replica, store) = with_twenty(limits).await;
    for after in [20, 1_000, i64::MAX] {
        assert_eq!(versions(&page(&store, read(after, Some(after))).await), [0; 0]);
    }
    assert_eq!(versions(&page(&store, read(0, Some(20))).await), [1, 2, 3]);
    assert_eq!(store.counts().replicas[0].served, 1);
}

#[tokio::test]
async fn a_replica_that_hangs_costs_a_reader_its_deadline_and_no_more() {
    let limits = ReplicaLimits::with(|limits| limits.deadline = Duration::from_millis(100));
    let (_primary, replica, store) = with_twenty(limits).await;
    replica.be(Mood::Hangs);
    let asked = Instant::now();
    for _ in 0..20 {
        assert_eq!(versions(&page(&store, read(0, Some(20))).await), [1, 2, 3]);
    }
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    assert!(store.counts().replicas[0].failed >= 1);
}

#[tokio::test]
async fn a_replica_that_failed_comes_back() {
    let (_primary, replica, store) = with_twenty(impatient()).await;
    replica.be(Mood::Fails);
    for _ in 0..5 {
        assert_eq!(versions(&page(&store, read(0, Some(20))).await), [1, 2, 3]);
    }
    assert_eq!(store.counts().by_replicas(), 0);
    replica.be(Mood::Paused);
    until_served(&store).await;
}

/// Reads until a replica has answered.
async fn until_served(store: &Replicated) {
    let (began, before) = (Instant::now(), store.counts().by_replicas());
    while store.counts().by_replicas() == before {
        assert!(began.elapsed() < Duration::from_secs(30), "no replica answers: {:?}", store.counts());
        page(store, read(0, Some(20))).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_replica_with_another_epoch_is_not_used_until_it_has_ours() {
    let (primary, replica, store) = with_twenty(impatient()).await;
    replica.be(Mood::Paused);
    // It was restored, or promoted apart, and has taken other messages since.
    let apart = MemoryStore::default();
    for n in 1..=20 {
        apart.append(vec![direct("mallory", "bob", 1_000 + n, 10)]).await.remove(0).unwrap();
    }
    apart.bump_epoch(Timestamp(1_800_000_000_000)).await.unwrap();
    replica.show(apart);
    for _ in 0..10 {
        let page = page(&store, read(0, Some(20))).await;
        assert_eq!(page.entries[0].message.from.as_str(), "alice");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let counts = store.counts();
    assert!(counts.by_replicas() == 0 && counts.replicas[0].other_epoch > 1, "{counts:?}");
    replica.show(primary.snapshot());
    until_served(&store).await;
}

#[tokio::test]
async fn an_epoch_that_changes_while_a_replica_serves_is_noticed() {
    let limits = ReplicaLimits::with(|limits| limits.recheck = Duration::from_millis(50));
    let (primary, replica, store) = with_twenty(limits).await;
    replica.be(Mood::Paused);
    until_served(&store).await;
    primary.bump_epoch(Timestamp(1_800_000_000_000)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(60)).await;
    let before = store.counts().by_replicas();
    page(&store, read(0, Some(20))).await;
    assert_eq!((store.counts().by_replicas(), store.counts().replicas[0].other_epoch), (before, 1));
}

#[tokio::test]
async fn a_page_with_a_hole_is_not_passed_on() {
    let (_primary, replica, store) = with_twenty(impatient()).await;
    replica.be(Mood::Holed);
    for after in 0..4 {
        assert_eq!(versions(&page(&store, read(after, Some(20))).await), [after + 1, after + 2, after + 3]);
    }
    assert_eq!(store.counts().by_replicas(), 0);
}

#[tokio::test]
async fn replicas_take_turns_and_one_stands_in_for_another() {
    let primary = Arc::new(MemoryStore::default());
    grow(&primary, 1, 20).await;
    let replicas = [Replica::of(&primary), Replica::of(&primary), Replica::of(&primary)];
    let limits = ReplicaLimits::with(|limits| {
        (limits.failed, limits.longest) = (Duration::from_secs(60), Duration::from_secs(60));
    });
    let store = over(&primary, &replicas, limits);
    replicas.iter().for_each(|replica| replica.be(Mood::Paused));
    replicas[1].be(Mood::Fails);
    for _ in 0..30 {
        page(&store, read(0, Some(20))).await;
    }
    let served: Vec<_> = store.counts().replicas.iter().map(|replica| replica.served).collect();
    assert!(served[0] >= 10 && served[1] == 0 && served[2] >= 10, "{served:?}");
    assert_eq!(store.counts().primary, 1, "for the read that met the one that fails");
}
