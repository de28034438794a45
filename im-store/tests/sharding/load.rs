//! Many servers' traffic while buckets move, and whether everything that was acknowledged is there.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use im_core::id::{ClientMsgId, DeviceId, GroupId, MsgId, Uid, Version};
use im_core::message::{SendKey, TimelineId};
use im_core::ports::Clock;
use im_core::storage::{Bucket, CursorAck, Placed, Post, Read, Store, StoreError, StoreErrorKind};
use im_core::time::{Tick, Timestamp};
use tokio::task::JoinSet;

use crate::traffic::{direct, entries, to_group, uid, user};

pub(crate) const PEOPLE: u64 = 12;
pub(crate) const CROWDS: i64 = 4;

/// A call of a store that follows its map, under load.
const LONGEST: Duration = Duration::from_secs(9);

/// The time of the machine.
pub(crate) struct RealTime(Instant);

impl RealTime {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Instant::now()))
    }
}

impl Clock for RealTime {
    fn tick(&self) -> Tick {
        Tick::default() + self.0.elapsed()
    }

    fn now(&self) -> Timestamp {
        Timestamp(0)
    }

    fn sleep_until(&self, deadline: Tick) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(deadline.since(self.tick())))
    }
}

pub(crate) fn person(number: u64) -> String {
    format!("person {number}")
}

pub(crate) fn timelines() -> Vec<TimelineId> {
    let people = (0..PEOPLE).map(|number| user(&person(number)));
    people.chain((1..=CROWDS).map(|number| TimelineId::Group(GroupId(number)))).collect()
}

/// The buckets of everybody.
pub(crate) fn buckets() -> Vec<Bucket> {
    timelines().iter().map(Bucket::of).collect()
}

type Acked = HashMap<(Uid, SendKey), (Post, Placed)>;

/// What all writers share.
pub(crate) struct Load {
    /// By how much longer everybody rests than over databases in memory.
    slower: u32,
    next: AtomicI64,
    acked: Mutex<Acked>,
    cursors: Mutex<HashMap<(Uid, TimelineId, DeviceId), Version>>,
    pub(crate) acks: AtomicU64,
    pub(crate) refusals: AtomicU64,
    longest: Mutex<Duration>,
    over: AtomicBool,
}

impl Load {
    /// A load for databases that are so much slower than those in memory. Moves between them take longer, and meet as much of it.
    pub(crate) fn new(slower: u32) -> Arc<Self> {
        Arc::new(Self {
            slower,
            next: AtomicI64::new(0),
            acked: Mutex::default(),
            cursors: Mutex::default(),
            acks: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
            longest: Mutex::default(),
            over: AtomicBool::new(false),
        })
    }

    pub(crate) async fn rest(&self, millis: u64) {
        tokio::time::sleep(Duration::from_millis(millis) * self.slower).await;
    }

    /// Servers that write, read and acknowledge until the load is over.
    pub(crate) fn start(self: &Arc<Self>, servers: &[Arc<dyn Store>]) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for (writer, server) in (0..4).zip(servers.iter().cycle()) {
            tasks.spawn(self.clone().write(server.clone(), writer));
        }
        self.watch_all(servers, &mut tasks);
        tasks
    }

    /// Servers that read and acknowledge.
    pub(crate) fn watch_all(self: &Arc<Self>, servers: &[Arc<dyn Store>], tasks: &mut JoinSet<()>) {
        for (number, timeline) in timelines().into_iter().enumerate().step_by(5) {
            let servers: Vec<_> =
                (0..servers.len()).map(|n| servers[(n + number) % servers.len()].clone()).collect();
            tasks.spawn(self.clone().watch(servers, timeline));
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    pub(crate) fn longest(&self) -> Duration {
        *self.longest.lock().unwrap()
    }

    /// Waits until so many more posts were acknowledged.
    pub(crate) async fn go_on_for(&self, posts: u64) {
        let (started, until) = (Instant::now(), self.acks.load(Ordering::SeqCst) + posts);
        while self.acks.load(Ordering::SeqCst) < until {
            assert!(started.elapsed() < Duration::from_secs(60), "nothing is acknowledged any more");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Appends batches, each post again until it is acknowledged, as clients do: in order, under another msgid. Nobody else sends for these senders.
    async fn write(self: Arc<Self>, store: Arc<dyn Store>, writer: u64) {
        let mut number = 0;
        while !self.over.load(Ordering::SeqCst) {
            let mut waiting = Vec::new();
            for _ in 0..6 {
                number += 1;
                waiting.push(self.post(writer, number));
            }
            while !waiting.is_empty() {
                waiting = self.try_once(&*store, waiting).await;
            }
            self.rest(8).await;
        }
    }

    pub(crate) fn post(&self, writer: u64, number: u64) -> Post {
        let msgid = self.next.fetch_add(1, Ordering::SeqCst) + 1;
        let (from, to) = (4 * (number % 3) + writer, number * 7 + writer);
        let mut post = match number % 4 {
            0 => to_group(&person(from), i64::try_from(to).unwrap() % CROWDS + 1, msgid),
            _ => direct(&person(from), &person(to % PEOPLE), msgid),
        };
        post.message.key = SendKey::Client(ClientMsgId::new(&format!("{number:08}")).unwrap());
        post
    }

    pub(crate) async fn try_once(&self, store: &dyn Store, posts: Vec<Post>) -> Vec<Post> {
        let started = Instant::now();
        let answers = store.append(posts.clone()).await;
        self.took(started);
        let mut again = Vec::new();
        for (post, answer) in posts.into_iter().zip(answers) {
            match answer {
                Ok(placed) => {
                    self.acks.fetch_add(1, Ordering::SeqCst);
                    let key = (post.message.from.clone(), post.message.key.clone());
                    self.acked.lock().unwrap().insert(key, (post, placed));
                }
                Err(error) => {
                    self.refused(&error);
                    again.push(post);
                }
            }
        }
        self.renewed(again)
    }

    /// Posts as they come again.
    pub(crate) fn renewed(&self, mut posts: Vec<Post>) -> Vec<Post> {
        for post in &mut posts {
            post.message.msgid = MsgId(self.next.fetch_add(1, Ordering::SeqCst) + 1);
        }
        posts
    }

    fn took(&self, started: Instant) {
        let took = started.elapsed();
        assert!(took < LONGEST, "a call took {took:?}");
        let mut longest = self.longest.lock().unwrap();
        *longest = took.max(*longest);
    }

    fn refused(&self, error: &StoreError) {
        let kinds = [StoreErrorKind::Unavailable, StoreErrorKind::OutOfOrder, StoreErrorKind::Moved];
        assert!(kinds.contains(&error.kind()) && error.is_retryable(), "{error:?}");
        self.refusals.fetch_add(1, Ordering::SeqCst);
    }

    /// Reads a timeline from one server after the other: its head never goes back. Acknowledges what it read.
    async fn watch(self: Arc<Self>, servers: Vec<Arc<dyn Store>>, timeline: TimelineId) {
        let mut seen = Version::ZERO;
        for server in servers.iter().cycle() {
            if self.over.load(Ordering::SeqCst) {
                break;
            }
            let (started, read) = (Instant::now(), page(timeline.clone(), seen));
            match server.read(vec![read]).await.remove(0) {
                Ok(page) => {
                    assert!(
                        page.head >= seen,
                        "{timeline:?}: the head went from {seen} back to {}",
                        page.head
                    );
                    let versions = page.entries.iter().map(|entry| entry.version.0);
                    assert!(versions.eq(seen.0 + 1..=page.head.0), "{timeline:?}: a hole above {seen}");
                    seen = page.head;
                    self.acknowledge(&**server, &timeline, seen).await;
                }
                Err(error) => self.refused(&error),
            }
            self.took(started);
            self.rest(3).await;
        }
        assert!(seen > Version::ZERO, "something was read");
    }

    async fn acknowledge(&self, store: &dyn Store, timeline: &TimelineId, version: Version) {
        let uid = match timeline {
            TimelineId::User(uid) => uid.clone(),
            TimelineId::Group(_) => uid(&person(1)),
        };
        let device = DeviceId::new("phone").unwrap();
        let ack = CursorAck { uid: uid.clone(), device: device.clone(), timeline: timeline.clone(), version };
        match store.ack(vec![ack]).await.remove(0) {
            Ok(()) => {
                self.cursors.lock().unwrap().insert((uid, timeline.clone(), device), version);
            }
            Err(error) => self.refused(&error),
        }
    }

    /// Everything that was acknowledged stands where it was said to, once, in its sender's order; versions are contiguous; nothing else is there; a repeat is answered
    /// with the first placement.
    pub(crate) async fn audit(&self, store: &dyn Store) {
        let acked = self.acked.lock().unwrap().clone();
        let mut places = 0;
        for timeline in timelines() {
            let entries = entries(store, timeline.clone()).await;
            let versions = entries.iter().map(|entry| entry.version.0);
            assert!(versions.eq(1..=i64::try_from(entries.len()).unwrap()), "{timeline:?} is contiguous");
            let mut last: HashMap<Uid, SendKey> = HashMap::new();
            for entry in entries {
                let message = &entry.message;
                let key = (message.from.clone(), message.key.clone());
                let (post, placed) = acked.get(&key).expect("only what was acknowledged is there");
                let copy = (post.copy == Some(timeline.clone())).then_some(placed.copy).flatten();
                let home = (post.home == timeline).then_some(placed.home);
                assert_eq!(home.or(copy), Some(entry.version), "where {key:?} stands in {timeline:?}");
                assert_eq!((message.msgid, &message.content), (placed.msgid, &post.message.content));
                let before = last.insert(key.0, key.1.clone());
                assert!(before.is_none_or(|before| before < key.1), "order in {timeline:?}");
                places += 1;
            }
        }
        let expected: usize = acked.values().map(|(post, _)| 1 + usize::from(post.copy.is_some())).sum();
        assert_eq!(places, expected, "everything acknowledged is there once");
        self.audit_repeats(store, acked).await;
        self.audit_cursors(store).await;
        for number in 0..PEOPLE {
            crate::traffic::assert_conversations(store, &person(number), "after the load").await;
        }
    }

    async fn audit_repeats(&self, store: &dyn Store, acked: Acked) {
        let acked: Vec<_> = acked.into_values().collect();
        for some in acked.chunks(200) {
            let posts = some.iter().map(|(post, _)| {
                let mut post = post.clone();
                post.message.msgid = MsgId(self.next.fetch_add(1, Ordering::SeqCst) + 1);
                post
            });
            for (answer, (_, placed)) in store.append(posts.collect()).await.into_iter().zip(some) {
                assert_eq!(answer.unwrap(), Placed { repeated: true, ..placed.clone() });
            }
        }
    }

    async fn audit_cursors(&self, store: &dyn Store) {
        let cursors = self.cursors.lock().unwrap().clone();
        for ((uid, timeline, device), version) in cursors {
            let found = store.cursors(vec![(uid, timeline.clone())]).await.unwrap().remove(0);
            let found = found.iter().find(|cursor| cursor.device == device).map(|cursor| cursor.version);
            assert!(found >= Some(version), "{timeline:?}: {found:?} instead of {version}");
        }
    }
}

fn page(timeline: TimelineId, after: Version) -> Read {
    Read { timeline, after, until: None, limit: usize::MAX, max_bytes: usize::MAX, least: None }
}
