use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use im_core::memory::MemoryStore;
use im_core::message::TimelineId;
use im_core::storage::{Head, Placed, Post, Store, StoreError, StoreErrorKind, StoreLayer, Timelines};
use im_store::layer::timeout::{Elapsed, ShardTimeout, Timeout};

use crate::bench::{Sleepless, conforms, conforms_as_a_shard};
use crate::posts::{direct, entries, user};

const LIMIT: Duration = Duration::from_secs(2);

fn timeout(store: Arc<dyn Store>) -> Arc<dyn Store> {
    Arc::new(Timeout::new(store, LIMIT, Arc::new(Sleepless::default())))
}

#[tokio::test]
async fn a_timeout_over_memory_conforms() {
    conforms("time-out over memory", None, timeout).await;
}

#[tokio::test]
async fn a_timeout_over_a_shard_conforms() {
    let layer = |shard| Arc::new(ShardTimeout::new(shard, LIMIT, Arc::new(Sleepless::default()))) as _;
    conforms_as_a_shard("time-out over memory", layer).await;
}

/// Does what it is asked, and never answers.
#[derive(Default)]
struct Silent(MemoryStore);

#[async_trait]
impl StoreLayer for Silent {
    fn inner(&self) -> &dyn Store {
        &self.0
    }

    async fn append(&self, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        Timelines::append(&self.0, posts).await;
        std::future::pending().await
    }

    async fn heads(&self, _: Vec<TimelineId>) -> Result<Vec<Head>, StoreError> {
        std::future::pending().await
    }
}

fn assert_late(error: &StoreError, operation: &str) {
    assert_eq!((error.kind(), error.operation()), (StoreErrorKind::Unavailable, operation));
    assert_eq!(error.source().unwrap().downcast_ref(), Some(&Elapsed(LIMIT)));
}

#[tokio::test]
async fn a_call_without_an_answer_is_unavailable_at_the_deadline() {
    let clock = Arc::new(Sleepless::default());
    let store = Timeout::new(Arc::new(Silent::default()), LIMIT, clock.clone());
    assert_late(&StoreLayer::heads(&store, vec![user("alice")]).await.unwrap_err(), "heads");
    assert_eq!(*clock.rests.lock().unwrap(), [LIMIT]);
}

#[tokio::test]
async fn every_post_of_a_late_append_is_unavailable_and_may_be_stored() {
    let silent = Arc::new(Silent::default());
    let store = Timeout::new(silent.clone(), LIMIT, Arc::new(Sleepless::default()));
    let answers = StoreLayer::append(&store, (1..=3).map(|n| direct("alice", "bob", n, 1)).collect()).await;
    assert_eq!(answers.len(), 3);
    answers.iter().for_each(|answer| assert_late(answer.as_ref().unwrap_err(), "append"));
    assert_eq!(entries(&*silent, "bob").await.len(), 3);
}
