//! A store that counts versions somewhere else than in the transaction gives the last one again after a crash.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
    crashes: AtomicU64,
}

#[async_trait]
impl Wrong for VersionReissued {
    async fn append(&self, store: &SimStore, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        if self.crashes.swap(store.crashes(), Ordering::Relaxed) != store.crashes() {
            self.numbers.shift_all(-1);
        }
        let places: Vec<_> = posts.iter().map(|post| (post.home.clone(), post.copy.clone())).collect();
        let answers = store.append(posts).await;
        let seen =
            |((home, copy), answer): (&(TimelineId, Option<TimelineId>), Result<Placed, StoreError>)| {
                let placed = answer?;
                self.numbers.given(home, placed.home);
                if let (Some(copy), Some(version)) = (copy, placed.copy) {
                    self.numbers.given(copy, version);
                }
                Ok(self.numbers.placed(home, copy.as_ref(), placed))
            };
        places.iter().zip(answers).map(seen).collect()
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
