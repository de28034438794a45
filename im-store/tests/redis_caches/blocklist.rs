use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use im_core::id::Uid;
use im_core::memory::MemoryBlocklist;
use im_core::storage::{Block, Blocklist, StoreError};
use im_core::testing::conformance::{BlocklistBench, run_blocklist_suite};
use im_store::redis::CachedBlocklist;
use im_test_servers::{Proxy, Redis as Server, RedisCluster};
use tokio::sync::{Barrier, Mutex};

use crate::{redis, until};

/// A blocklist that counts its look-ups, and that can be stopped between a look and its answer.
#[derive(Default)]
struct Watched {
    list: MemoryBlocklist,
    asked: AtomicUsize,
    hold: Mutex<Option<Arc<Barrier>>>,
}

#[async_trait]
impl Blocklist for Watched {
    async fn block(&self, blocks: Vec<Block>) -> Result<(), StoreError> {
        self.list.block(blocks).await
    }

    async fn unblock(&self, blocks: Vec<Block>) -> Result<(), StoreError> {
        self.list.unblock(blocks).await
    }

    async fn blocked(&self, blocks: Vec<Block>) -> Result<Vec<bool>, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let answers = self.list.blocked(blocks).await;
        let hold = self.hold.lock().await.take();
        if let Some(barrier) = hold {
            barrier.wait().await;
            barrier.wait().await;
        }
        answers
    }

    async fn list_blocked(
        &self,
        owner: &Uid,
        after: Option<&Uid>,
        limit: usize,
    ) -> Result<Vec<Uid>, StoreError> {
        self.list.list_blocked(owner, after, limit).await
    }
}

fn mallory() -> Vec<Block> {
    vec![Block { owner: Uid::new("bob").unwrap(), other: Uid::new("mallory").unwrap() }]
}

async fn is_blocked(list: &CachedBlocklist) -> bool {
    list.blocked(mallory()).await.unwrap()[0]
}

async fn cached(list: &Arc<Watched>, url: &str) -> CachedBlocklist {
    CachedBlocklist::new(list.clone(), redis(url, "im").await)
}

/// A blocklist in memory, and a cache before it, as another server's for each time that it is opened.
struct Bench {
    list: Arc<MemoryBlocklist>,
    url: String,
    /// Killed once it is connected to.
    victim: Option<Arc<Server>>,
}

#[async_trait]
impl BlocklistBench for Bench {
    async fn open(&self) -> Arc<dyn Blocklist> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let prefix = COUNT.fetch_add(1, Ordering::Relaxed).to_string();
        if let Some(server) = &self.victim {
            server.restart();
        }
        let redis = redis(&self.url, &prefix).await;
        if let Some(server) = &self.victim {
            server.kill();
        }
        Arc::new(CachedBlocklist::new(self.list.clone(), redis))
    }

    async fn reopen(&self) -> Arc<dyn Blocklist> {
        self.open().await
    }
}

async fn conforms(name: &str, url: String, victim: Option<Arc<Server>>) {
    let bench = || Bench { list: Arc::default(), url: url.clone(), victim: victim.clone() };
    let report = run_blocklist_suite(bench).await;
    report.record(name, "blocklist");
    assert!(report.passed() && report.not_tried.is_empty(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_blocklist_conforms() {
    let server = Server::start();
    conforms("cache in Redis, memory", server.url().to_owned(), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocklist_cached_in_a_cluster_conforms() {
    let cluster = RedisCluster::start();
    conforms("cache in Redis Cluster", cluster.url(), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_blocklist_conforms_without_redis() {
    let server = Arc::new(Server::start());
    conforms("cache in dead Redis", server.url().to_owned(), Some(server.clone())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_on_one_server_is_seen_on_the_others_at_once() {
    let server = Server::start();
    let list = Arc::<Watched>::default();
    let (a, b) = (cached(&list, server.url()).await, cached(&list, server.url()).await);
    for _ in 0..5 {
        assert!(!is_blocked(&b).await);
        a.block(mallory()).await.unwrap();
        assert!(is_blocked(&b).await);
        a.unblock(mallory()).await.unwrap();
    }
    let asked = list.asked.load(Ordering::SeqCst);
    for _ in 0..10 {
        assert!(!is_blocked(&a).await);
        assert!(!is_blocked(&b).await);
    }
    assert_eq!(list.asked.load(Ordering::SeqCst), asked + 1, "one look serves both");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_from_before_a_change_is_not_kept_after_it() {
    let server = Server::start();
    let list = Arc::<Watched>::default();
    let (a, b) = (cached(&list, server.url()).await, Arc::new(cached(&list, server.url()).await));
    for _ in 0..3 {
        // The owner's hash is there at the second time, and not at the first.
        let barrier = Arc::new(Barrier::new(2));
        *list.hold.lock().await = Some(barrier.clone());
        let reader = b.clone();
        let slow = tokio::spawn(async move { is_blocked(&reader).await });
        barrier.wait().await;
        a.block(mallory()).await.unwrap();
        barrier.wait().await;
        assert!(!slow.await.unwrap(), "it looked before the block");
        assert!(is_blocked(&b).await, "and what it saw was not kept");
        a.unblock(mallory()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_without_redis_is_seen_when_the_answers_end() {
    let server = Server::start();
    let proxy = Proxy::start(server.port());
    let list = Arc::<Watched>::default();
    let ttl = Duration::from_secs(2);
    let a = cached(&list, &format!("redis://127.0.0.1:{}", proxy.port())).await;
    let b = cached(&list, server.url()).await.ttl(ttl);
    assert!(!is_blocked(&b).await);
    proxy.cut();
    a.block(mallory()).await.unwrap();
    assert!(is_blocked(&a).await, "who cannot reach Redis asks the list");
    until("the answer ends", || is_blocked(&b)).await;
}
