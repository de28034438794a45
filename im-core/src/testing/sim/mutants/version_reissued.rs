//! A store that counts versions somewhere else than in the transaction gives the last one again after a crash.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::renumber::Renumber;
use super::store::{Wrong, WrongStore};
use crate::id::Version;
use crate::message::TimelineId;
use crate::storage::{Placed, Post, Store, StoreError, Timelines};
use crate::testing::sim::store::SimStore;

#[derive(Default)]
struct VersionReissued {
    numbers: Renumber,
    /// How many crashes there had been when a timeline was last written.
    crashes: Mutex<BTreeMap<TimelineId, u64>>,
}

impl VersionReissued {
    fn after_a_crash(&self, store: &SimStore, timeline: &TimelineId) {
        let mut crashes = self.crashes.lock().unwrap_or_else(PoisonError::into_inner);
        let before = crashes.insert(timeline.clone(), store.crashes()).unwrap_or_default();
        let newest = store.newest(timeline);
        if before < store.crashes() && newest > Version::ZERO {
            self.numbers.shift(timeline, newest, -1);
        }
    }
}

#[async_trait]
impl Wrong for VersionReissued {
    async fn append(&self, store: &SimStore, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        for timeline in posts.iter().flat_map(|post| [Some(&post.home), post.copy.as_ref()]).flatten() {
            self.after_a_crash(store, timeline);
        }
        let answers = store.append(posts.clone()).await;
        let seen =
            |(post, answer): (&Post, Result<Placed, StoreError>)| Ok(self.numbers.placed(post, answer?));
        posts.iter().zip(answers).map(seen).collect()
    }

    fn outer(&self, timeline: &TimelineId, version: Version) -> Version {
        self.numbers.outer(timeline, version)
    }

    fn inner(&self, timeline: &TimelineId, version: Version) -> Version {
        self.numbers.inner(timeline, version)
    }
}

pub(super) fn store(store: Arc<SimStore>) -> Arc<dyn Store> {
    Arc::new(WrongStore { store, wrong: VersionReissued::default() })
}
