//! A repeat that takes a version and gives it back to nobody leaves a hole.

use std::sync::Arc;

use async_trait::async_trait;

use super::renumber::Renumber;
use super::store::{Wrong, WrongStore};
use crate::id::Version;
use crate::message::TimelineId;
use crate::storage::{Placed, Post, Store, StoreError, Timelines};
use crate::testing::sim::store::SimStore;

#[derive(Default)]
struct NumberingBeforeDedupe(Renumber);

#[async_trait]
impl Wrong for NumberingBeforeDedupe {
    async fn append(&self, store: &SimStore, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        let answers = store.append(posts.clone()).await;
        let burn = |(post, answer): (&Post, Result<Placed, StoreError>)| {
            let placed = answer?;
            if placed.repeated {
                self.0.shift(&post.home, store.newest(&post.home), 1);
            }
            Ok(self.0.placed(post, placed))
        };
        posts.iter().zip(answers).map(burn).collect()
    }

    fn outer(&self, timeline: &TimelineId, version: Version) -> Version {
        self.0.outer(timeline, version)
    }

    fn inner(&self, timeline: &TimelineId, version: Version) -> Version {
        self.0.inner(timeline, version)
    }
}

pub(super) fn store(store: Arc<SimStore>) -> Arc<dyn Store> {
    Arc::new(WrongStore { store, wrong: NumberingBeforeDedupe::default() })
}
