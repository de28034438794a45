//! Many servers' traffic over one database, and whether everything that was acknowledged is there.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use im_core::id::{ClientMsgId, GroupId, MsgId, Version};
use im_core::message::{Entry, Message, SendKey, Target, TimelineId};
use im_core::storage::{Placed, Post, Read, Store, StoreErrorKind};

use crate::posts::{direct, user};

/// Receivers, and senders of what nobody else sends.
pub(crate) const USERS: u64 = 6;

/// A call's deadline, and what a machine under load may take beyond it.
const LONGEST: Duration = Duration::from_secs(9);

/// What a writer waits before it sends again.
const BACK_OFF: Duration = Duration::from_millis(10);

/// Tests that load a database with traffic take turns: a machine with two cores would make calls of all of them late.
pub(crate) async fn turn() -> tokio::sync::MutexGuard<'static, ()> {
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    TURN.lock().await
}

/// What all writers share.
#[derive(Default)]
pub(crate) struct Traffic {
    next: AtomicI64,
    acked: Mutex<HashMap<SendKey, (Post, Placed)>>,
    pub(crate) acks: AtomicU64,
    pub(crate) refusals: AtomicU64,
    over: AtomicBool,
}

impl Traffic {
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    fn msgid(&self) -> i64 {
        self.next.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Waits until so many more posts were acknowledged.
    pub(crate) async fn go_on_for(&self, posts: u64) -> Duration {
        let (started, until) = (Instant::now(), self.acks.load(Ordering::SeqCst) + posts);
        while self.acks.load(Ordering::SeqCst) < until {
            assert!(started.elapsed() < Duration::from_secs(60), "nothing is acknowledged any more");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        started.elapsed()
    }

    /// Appends batches until the traffic ends, each again until it is acknowledged, as clients do: under another msgid.
    pub(crate) async fn write(self: Arc<Self>, store: Arc<dyn Store>, writer: u64) {
        let mut chance = Chance(writer);
        let mut sent = 0;
        while !self.over.load(Ordering::SeqCst) {
            let size = 1 + chance.below(12);
            let mut waiting: Vec<_> = (0..size).map(|n| self.post(writer, sent + n, &mut chance)).collect();
            sent += size;
            while !waiting.is_empty() {
                waiting = self.try_once(&*store, waiting).await;
                if !waiting.is_empty() {
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
    }

    /// To and from users that other writers write to and from, in an order of its own; and one in four to a group.
    fn post(&self, writer: u64, number: u64, chance: &mut Chance) -> Post {
        let name = |n: u64| format!("user {}", n % USERS);
        let mut post = direct(&name(chance.below(USERS)), &name(chance.below(USERS)), self.msgid(), 100);
        post.message.key = SendKey::Client(ClientMsgId::new(&format!("{writer} {number}")).unwrap());
        if chance.below(4) == 0 {
            let group = GroupId(i64::try_from(chance.below(2)).unwrap());
            post.message.to = Target::Group(group);
            (post.home, post.copy) = (TimelineId::Group(group), None);
        }
        post
    }

    /// Appends, and gives back what was not acknowledged, with other msgids.
    async fn try_once(&self, store: &dyn Store, posts: Vec<Post>) -> Vec<Post> {
        let started = Instant::now();
        let answers = store.append(posts.clone()).await;
        assert!(started.elapsed() < LONGEST, "a call took {:?}", started.elapsed());
        let mut again = Vec::new();
        for (mut post, answer) in posts.into_iter().zip(answers) {
            match answer {
                Ok(placed) => {
                    self.acks.fetch_add(1, Ordering::SeqCst);
                    self.acked.lock().unwrap().insert(post.message.key.clone(), (post, placed));
                }
                Err(error) => {
                    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
                    assert!(error.is_retryable());
                    self.refusals.fetch_add(1, Ordering::SeqCst);
                    post.message.msgid = MsgId(self.msgid());
                    again.push(post);
                }
            }
        }
        again
    }

    /// Reads the head of a timeline and its newest entries until the traffic ends: it never goes back.
    pub(crate) async fn watch(self: Arc<Self>, store: Arc<dyn Store>, timeline: TimelineId) {
        let mut seen = Version::ZERO;
        while !self.over.load(Ordering::SeqCst) {
            let read = page(timeline.clone(), seen);
            match store.read(vec![read]).await.remove(0) {
                Ok(page) => {
                    assert!(page.head >= seen, "the head went from {seen} back to {}", page.head);
                    let versions = page.entries.iter().map(|entry| entry.version.0);
                    assert!(versions.eq(seen.0 + 1..=page.head.0), "a hole above {seen}");
                    seen = page.head;
                }
                Err(error) => assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        assert!(seen > Version::ZERO, "something was read");
    }

    /// Everything that was acknowledged stands where it was said to, once; versions are contiguous; nothing else is there.
    pub(crate) async fn audit(&self, store: &dyn Store) {
        let users = (0..USERS).map(|n| user(&format!("user {n}")));
        let timelines: Vec<_> = users.chain((0..2).map(|n| TimelineId::Group(GroupId(n)))).collect();
        let acked = self.acked.lock().unwrap().clone();
        let mut homes = 0;
        for timeline in timelines {
            let entries = store.read(vec![page(timeline.clone(), Version::ZERO)]).await.remove(0).unwrap();
            let head = entries.head;
            let versions = entries.entries.iter().map(|entry| entry.version.0);
            assert!(versions.eq(1..=head.0), "{timeline:?} is contiguous");
            for Entry { version, message, .. } in entries.entries {
                let (post, placed) = acked.get(&message.key).expect("only what was acknowledged is there");
                let copy = (post.copy == Some(timeline.clone())).then_some(placed.copy).flatten();
                let home = (post.home == timeline).then_some(placed.home);
                homes += u32::from(home.is_some());
                assert_eq!(home.or(copy), Some(version), "where {:?} stands", message.key);
                assert_eq!(message.msgid, placed.msgid);
                same_send(&message, &post.message);
            }
        }
        assert_eq!(usize::try_from(homes).unwrap(), acked.len(), "everything acknowledged is there once");
    }
}

fn same_send(stored: &Message, sent: &Message) {
    assert_eq!((&stored.from, &stored.to, &stored.content), (&sent.from, &sent.to, &sent.content));
}

fn page(timeline: TimelineId, after: Version) -> Read {
    Read { timeline, after, until: None, limit: usize::MAX, max_bytes: usize::MAX, least: None }
}

/// SplitMix64.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}
