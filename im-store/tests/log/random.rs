//! Random calls, checkpoints, ends and crashes, beside the memory store: both say the same all the way.
//!
//! A failure names its seed: `IM_SEED=… cargo test -p im-store --features log --test log random`.

use std::collections::BTreeMap;

use im_core::id::{DeviceId, GroupId, MsgId, Version};
use im_core::memory::MemoryStore;
use im_core::message::{Target, TimelineId};
use im_core::storage::{CursorAck, Cursors, Nodes, Post, Read, Store, StoreErrorKind, Timelines};
use im_core::time::Timestamp;
use im_store::log::{LogOptions, LogStore};

use crate::files::Files;
use crate::posts::{direct, uid, user};

const RUNS: u64 = 6;
const STEPS: usize = 120;
const USERS: u64 = 9;

#[tokio::test(flavor = "multi_thread")]
async fn random_calls_are_answered_as_by_the_memory_store() {
    let first = std::env::var("IM_SEED").map_or(1, |seed| seed.parse().expect("IM_SEED is a number"));
    for seed in first..first + RUNS {
        println!("seed {seed}");
        run(Chance(seed)).await;
    }
}

async fn run(mut chance: Chance) {
    let mut files = Files::new();
    let mut path = files.original();
    let every = [1, 7, 60, 100_000][chance.index(4)];
    let options = move |path| LogOptions::new(path).segment_bytes(64 << 10).checkpoint_messages(every);
    let (mut store, oracle) = (options(path.clone()).open().await.unwrap(), MemoryStore::default());
    let mut next = 1;
    for _ in 0..STEPS {
        match chance.below(12) {
            0 => store.checkpoint().await.unwrap(),
            1 => {
                store.close().await;
                store = options(path.clone()).open().await.unwrap();
            }
            2 => {
                drop(store);
                store = options(path.clone()).open().await.unwrap();
            }
            // Only of the original there are copies.
            3 if path == files.original() && chance.below(4) == 0 => {
                path = files.copy();
                drop(store);
                store = options(path.clone()).open().await.unwrap();
            }
            4 => acks(&store, &oracle, &mut chance).await,
            5 => lease(&store, &oracle, &mut chance).await,
            _ => append(&store, &oracle, &mut chance, &mut next).await,
        }
        if chance.below(4) == 0 {
            assert_same(&store, &oracle, &mut chance, next).await;
        }
    }
    assert_same(&store, &oracle, &mut chance, next).await;
}

async fn append(store: &LogStore, oracle: &MemoryStore, chance: &mut Chance, next: &mut i64) {
    let count = [1, 3, 40][chance.index(3)];
    let posts: Vec<Post> = (0..count).map(|_| post(chance, next)).collect();
    let kinds = |answers: Vec<Result<_, im_core::storage::StoreError>>| {
        answers.into_iter().map(|answer| answer.map_err(|error| error.kind())).collect::<Vec<_>>()
    };
    assert_eq!(kinds(store.append(posts.clone()).await), kinds(oracle.append(posts).await));
}

/// Mostly a new message; now and then a repeat, another content under a known key, a known msgid, or an old one that is new.
fn post(chance: &mut Chance, next: &mut i64) -> Post {
    let number = match chance.below(8) {
        0 => 1 + chance.number(*next),
        _ => {
            *next += 1;
            *next
        }
    };
    let (from, to) = (name(chance), name(chance));
    // The same number has the same ends, mostly.
    let (from, to) = match chance.below(30) {
        0 => (from, to),
        _ => (format!("user {}", number % 7), format!("user {}", number % 9)),
    };
    let mut post = direct(&from, &to, number, usize::try_from(number % 300).unwrap());
    match chance.below(40) {
        0 => post.message.msgid = MsgId(chance.number(*next)),
        1 => post.message.content = bytes::Bytes::from_static(b"other"),
        2 => post.message.msgid = MsgId(-number),
        3 | 4 => {
            let group = GroupId(1 + number % 3);
            post.message.to = Target::Group(group);
            post.home = TimelineId::Group(group);
            post.copy = (number % 2 == 0).then(|| user(&to));
        }
        _ => {}
    }
    post
}

async fn acks(store: &LogStore, oracle: &MemoryStore, chance: &mut Chance) {
    let acks: Vec<CursorAck> = (0..5)
        .map(|_| CursorAck {
            uid: uid(&name(chance)),
            device: DeviceId::new(["", "phone", "desk"][chance.index(3)]).unwrap(),
            timeline: timeline(chance),
            version: Version(chance.number(60)),
        })
        .collect();
    let kinds = |answers: Vec<Result<(), im_core::storage::StoreError>>| {
        answers.into_iter().map(|answer| answer.err().map(|error| error.kind())).collect::<Vec<_>>()
    };
    let (found, expected) = (kinds(store.ack(acks.clone()).await), kinds(oracle.ack(acks).await));
    assert_eq!(found, expected);
    assert!(found.iter().flatten().all(|kind| *kind == StoreErrorKind::AheadOfHead));
}

async fn lease(store: &LogStore, oracle: &MemoryStore, chance: &mut Chance) {
    let (now, ttl) = (Timestamp(chance.number(10_000)), std::time::Duration::from_millis(chance.below(500)));
    let holder = ["here", "there"][chance.index(2)];
    let lease = store.lease_node(holder, now, ttl).await.unwrap();
    assert_eq!(lease, oracle.lease_node(holder, now, ttl).await.unwrap());
    let renewed = store.renew_node(&lease, now, ttl * 3).await.unwrap();
    assert_eq!(renewed, oracle.renew_node(&lease, now, ttl * 3).await.unwrap());
    if chance.below(2) == 0 {
        let until = Timestamp(chance.number(10_000));
        store.release_node(&lease, until).await.unwrap();
        oracle.release_node(&lease, until).await.unwrap();
    }
}

async fn assert_same(store: &LogStore, oracle: &MemoryStore, chance: &mut Chance, next: i64) {
    let stores: [&dyn Store; 2] = [store, oracle];
    let timeline = timeline(chance);
    let read = Read {
        timeline: timeline.clone(),
        after: Version(chance.number(20)),
        until: [None, Some(Version(chance.number(80)))][chance.index(2)],
        limit: chance.index(70),
        max_bytes: [usize::MAX, 5_000][chance.index(2)],
        least: None,
    };
    let owner = uid(&name(chance));
    let before = [None, Some(Version(chance.number(80)))][chance.index(2)];
    let limit = chance.index(8);
    let numbers: Vec<i64> = (0..20).map(|_| chance.number(next + 3)).collect();
    let pairs: Vec<_> = (0..9).map(|n| (uid(&format!("user {n}")), timeline.clone())).collect();
    let mut seen = Vec::new();
    for store in stores {
        let page = store.read(vec![read.clone()]).await.remove(0).unwrap();
        let rows = store.conversations(&owner, before, limit).await.unwrap();
        let heads = store.heads(all()).await.unwrap();
        let msgids =
            numbers.iter().flat_map(|n| [(timeline.clone(), MsgId(*n)), (timeline.clone(), MsgId(-*n))]);
        let places = store.locate(msgids.collect()).await.unwrap();
        let keys = numbers.iter().map(|n| {
            let post = direct(&format!("user {}", n % 7), "x", *n, 0);
            (post.message.from, post.message.key)
        });
        let found = store.find(keys.collect()).await.unwrap();
        let cursors = store.cursors(pairs.clone()).await.unwrap();
        seen.push((page, rows, heads, places, found, cursors));
    }
    assert_eq!(seen[0], seen[1]);
    assert_whole(store, oracle).await;
}

/// Compares whole timelines.
async fn assert_whole(store: &LogStore, oracle: &MemoryStore) {
    let mut both = BTreeMap::new();
    for store in [store as &dyn Store, oracle] {
        for timeline in all() {
            let read = Read {
                timeline: timeline.clone(),
                after: Version::ZERO,
                until: None,
                limit: usize::MAX,
                max_bytes: usize::MAX,
                least: None,
            };
            let page = store.read(vec![read]).await.remove(0).unwrap();
            let other = both.entry(timeline).or_insert_with(|| page.clone());
            assert_eq!(*other, page);
        }
    }
}

fn all() -> Vec<TimelineId> {
    let users = (0..USERS).map(|n| user(&format!("user {n}")));
    users.chain((1..4).map(|n| TimelineId::Group(GroupId(n)))).collect()
}

fn timeline(chance: &mut Chance) -> TimelineId {
    let all = all();
    all[chance.index(all.len())].clone()
}

fn name(chance: &mut Chance) -> String {
    format!("user {}", chance.below(USERS))
}

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }

    fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound.try_into().unwrap())).unwrap()
    }

    fn number(&mut self, bound: i64) -> i64 {
        i64::try_from(self.below(bound.max(1).unsigned_abs())).unwrap()
    }
}
