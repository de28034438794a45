use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use im_core::id::{GroupId, Uid, Version};
use im_core::memory::MemoryStore;
use im_core::message::{Message, Target, TimelineId};
use im_core::storage::{Conversation, Conversations, Epochs, Page, Post, Read, Store, StoreError, Timelines};
use im_core::testing::StoreLayer;
use im_core::testing::conformance::{Report, StoreBench, run_store_suite, store_cases};
use im_core::time::Timestamp;
use im_proto::CmdId;
use im_store::redis::{CachedStore, Redis};
use im_test_servers::{Proxy, Redis as Server};
use tokio::sync::Mutex;

use crate::sql::{Kind, SqlBench};
use crate::{posts, redis, until};

/// What becomes of Redis while a case is played.
#[derive(Clone)]
enum Fate {
    Fine,
    /// It loses everything before every call.
    Flushed(Arc<Server>),
    /// It is gone.
    Dead,
}

/// A store, and a cache before it.
struct Bench<B> {
    below: B,
    redis: Redis,
    fate: Fate,
}

impl<B: StoreBench> Bench<B> {
    async fn before(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        let cached = CachedStore::open(store, self.redis.clone()).await.unwrap();
        match &self.fate {
            Fate::Flushed(server) => Arc::new(Flushing(cached, server.clone())),
            Fate::Fine | Fate::Dead => Arc::new(cached),
        }
    }
}

#[async_trait]
impl<B: StoreBench> StoreBench for Bench<B> {
    async fn open(&self) -> Arc<dyn Store> {
        self.before(self.below.open().await).await
    }

    async fn reopen(&self) -> Arc<dyn Store> {
        self.before(self.below.reopen().await).await
    }

    async fn fail_writes(&self, failing: bool) -> bool {
        self.below.fail_writes(failing).await
    }
}

/// Redis loses everything before every call, and so in the midst of others'.
struct Flushing(CachedStore, Arc<Server>);

#[async_trait]
impl StoreLayer for Flushing {
    fn inner(&self) -> &dyn Store {
        self.1.flush();
        &self.0
    }
}

#[derive(Default)]
struct MemoryBench(Mutex<Arc<MemoryStore>>);

#[async_trait]
impl StoreBench for MemoryBench {
    async fn open(&self) -> Arc<dyn Store> {
        self.0.lock().await.clone()
    }

    async fn reopen(&self) -> Arc<dyn Store> {
        let mut store = self.0.lock().await;
        *store = Arc::new(store.snapshot());
        store.clone()
    }
}

/// Connections to one Redis, each with keys of its own.
async fn connections(server: &Server, count: usize) -> std::vec::IntoIter<Redis> {
    let mut connections = Vec::new();
    for number in 0..count {
        connections.push(redis(server.url(), &number.to_string()).await);
    }
    connections.into_iter()
}

async fn conforms<B: StoreBench>(name: &str, fate: Fate, server: &Server, below: impl Fn() -> B) {
    let connections = std::sync::Mutex::new(connections(server, store_cases().len()).await);
    if matches!(fate, Fate::Dead) {
        server.kill();
    }
    let report = run_store_suite(|| {
        let redis = connections.lock().unwrap().next().unwrap();
        Bench { below: below(), redis, fate: fate.clone() }
    })
    .await;
    accept_store(&report, name);
}

fn accept_store(report: &Report, name: &str) {
    report.record(name, "store");
    assert!(report.passed(), "{report}");
    let not_tried: Vec<_> = report.not_tried.iter().map(|case| case.name).collect();
    assert!(not_tried.is_empty() || not_tried == ["failed_writes_keep_the_order"], "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_store_conforms() {
    conforms("cache in Redis, memory", Fate::Fine, &Server::start(), MemoryBench::default).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_store_conforms_while_redis_loses_everything_all_the_time() {
    let server = Arc::new(Server::start());
    conforms("cache in flushed Redis", Fate::Flushed(server.clone()), &server, MemoryBench::default).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_store_conforms_without_redis() {
    conforms("cache in dead Redis", Fate::Dead, &Server::start(), MemoryBench::default).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_store_in_postgresql_conforms() {
    let below = || SqlBench::new(Kind::Postgres);
    conforms("cache in Redis, PostgreSQL", Fate::Fine, &Server::start(), below).await;
}

/// A store that counts what is read of it.
#[derive(Default)]
struct Counted {
    store: MemoryStore,
    reads: AtomicUsize,
}

impl Counted {
    fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    fn count(&self) {
        self.reads.fetch_add(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl StoreLayer for Counted {
    fn inner(&self) -> &dyn Store {
        &self.store
    }

    async fn read(&self, reads: Vec<Read>) -> Vec<Result<Page, StoreError>> {
        self.count();
        self.store.read(reads).await
    }

    async fn conversations(
        &self,
        owner: &Uid,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<Conversation>, StoreError> {
        self.count();
        self.store.conversations(owner, before, limit).await
    }
}

/// Messages to the group 7.
fn to_group(msgids: std::ops::Range<i64>, from: &str) -> Vec<Post> {
    let post = |msgid| {
        let Post { message, .. } = posts::direct(from, "bob", msgid, 20);
        let message = Message { to: Target::Group(GroupId(7)), kind: CmdId::C2G_SEND, ..message };
        Post { message, home: TimelineId::Group(GroupId(7)), copy: None }
    };
    msgids.map(post).collect()
}

fn tail(after: i64, limit: usize) -> Read {
    let timeline = TimelineId::Group(GroupId(7));
    Read { timeline, after: Version(after), until: None, limit, max_bytes: usize::MAX, least: None }
}

async fn append(store: &dyn Store, posts: Vec<Post>) {
    for answer in store.append(posts).await {
        answer.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_entries_of_a_group_are_read_from_the_cache() {
    let server = Server::start();
    let below = Arc::<Counted>::default();
    let store = CachedStore::open(below.clone(), redis(server.url(), "im").await).await.unwrap().recent(50);
    append(&store, to_group(0..300, "alice")).await;
    until("appends fill the cache", || async {
        let before = below.reads();
        let pages = store.read(vec![tail(260, 20)]).await;
        assert_eq!(
            pages[0].as_ref().unwrap(),
            below.store.read(vec![tail(260, 20)]).await[0].as_ref().unwrap()
        );
        below.reads() == before
    })
    .await;
    let before = below.reads();
    for read in [tail(250, 50), tail(299, 1), tail(300, 10), tail(1_000, 10)] {
        let expected = below.store.read(vec![read.clone()]).await;
        assert_eq!(store.read(vec![read]).await[0].as_ref().unwrap(), expected[0].as_ref().unwrap());
    }
    assert_eq!(below.reads(), before);
    // Older ones are not kept, and one page may come from here and another from there.
    let both = vec![tail(0, 20), tail(290, 20), tail(249, 1)];
    let expected: Vec<Page> = below.store.read(both.clone()).await.into_iter().map(Result::unwrap).collect();
    let pages: Vec<Page> = store.read(both).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(pages, expected);
    assert_eq!(below.reads(), before + 1);
    assert!(store.counts().hits >= 6, "{:?}", store.counts());
    // What was lost comes back by reading.
    server.flush();
    until("reads fill the cache", || async {
        let before = below.reads();
        assert_eq!(store.read(vec![tail(260, 20)]).await[0].as_ref().unwrap().entries.len(), 20);
        below.reads() == before
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_server_appends_is_seen_at_once() {
    let server = Server::start();
    let below = Arc::<Counted>::default();
    let a = CachedStore::open(below.clone(), redis(server.url(), "im").await).await.unwrap();
    let b = CachedStore::open(below.clone(), redis(server.url(), "im").await).await.unwrap();
    let bob = Uid::new("bob").unwrap();
    for msgid in 1..=30 {
        append(&a, to_group(msgid..msgid + 1, "alice")).await;
        append(&a, vec![posts::direct("alice", "bob", 1_000 + msgid, 10)]).await;
        let page = b.read(vec![tail(0, 100)]).await.remove(0).unwrap();
        assert_eq!((page.head.0, page.entries.len()), (msgid, usize::try_from(msgid).unwrap()));
        for _ in 0..2 {
            let rows = b.conversations(&bob, None, 10).await.unwrap();
            assert_eq!(rows, below.store.conversations(&bob, None, 10).await.unwrap());
            assert_eq!(rows[0].unread, msgid);
        }
    }
    assert!(b.counts().hits >= 30, "the second look at a list is a hit: {:?}", b.counts());
}

#[tokio::test(flavor = "multi_thread")]
async fn conversation_lists_are_paged_out_of_what_is_kept() {
    let server = Server::start();
    let below = Arc::<Counted>::default();
    let store = CachedStore::open(below.clone(), redis(server.url(), "im").await).await.unwrap();
    let bob = Uid::new("bob").unwrap();
    append(&store, (0..150).map(|n| posts::direct(&format!("user {n}"), "bob", n, 10)).collect()).await;
    store.conversations(&bob, None, 10).await.unwrap();
    let before = below.reads();
    for (last, limit) in [(None, 100), (Some(140), 20), (Some(52), 1)] {
        let rows = store.conversations(&bob, last.map(Version), limit).await.unwrap();
        assert_eq!(rows, below.store.conversations(&bob, last.map(Version), limit).await.unwrap());
    }
    assert_eq!(below.reads(), before);
    for (last, limit) in [(None, 101), (Some(52), 2), (Some(20), 50)] {
        let rows = store.conversations(&bob, last.map(Version), limit).await.unwrap();
        assert_eq!(rows, below.store.conversations(&bob, last.map(Version), limit).await.unwrap());
    }
    assert_eq!(below.reads(), before + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_under_another_epoch_does_not_count() {
    let server = Server::start();
    let lost = Arc::<Counted>::default();
    let store = CachedStore::open(lost.clone(), redis(server.url(), "im").await).await.unwrap();
    append(&store, to_group(0..20, "alice")).await;
    until("appends fill the cache", || async {
        store.read(vec![tail(0, 20)]).await;
        store.counts().hits > 0
    })
    .await;
    // The database was restored, and other messages came in place of those that it lost.
    let restored = Arc::new(MemoryStore::default());
    append(&*restored, to_group(100..120, "carol")).await;
    restored.bump_epoch(Timestamp(1)).await.unwrap();
    let store = CachedStore::open(restored, redis(server.url(), "im").await).await.unwrap();
    for _ in 0..3 {
        let page = store.read(vec![tail(0, 20)]).await.remove(0).unwrap();
        assert!(page.entries.iter().all(|entry| entry.message.from.as_str() == "carol"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_stalls_is_left_alone_and_found_again() {
    let server = Server::start();
    let proxy = Proxy::start(server.port());
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let store = CachedStore::open(Arc::<Counted>::default(), redis(&url, "im").await).await.unwrap();
    append(&store, to_group(0..20, "alice")).await;
    proxy.stall();
    let asked = Instant::now();
    for _ in 0..200 {
        assert_eq!(store.read(vec![tail(0, 20)]).await[0].as_ref().unwrap().entries.len(), 20);
    }
    // Each second it is tried once, for half a second.
    assert!(asked.elapsed() < Duration::from_secs(10), "it took {:?}", asked.elapsed());
    assert!(store.counts().failures > 0);
    proxy.heal();
    let hits = store.counts().hits;
    until("the cache is used again", || async {
        store.read(vec![tail(0, 20)]).await;
        store.counts().hits > hits
    })
    .await;
}
