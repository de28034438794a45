use super::{Inner, SimStore};
use crate::message::TimelineId;
use crate::storage::{Post, StoreError, StoreErrorKind};

/// How often calls fail, in a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::testing::sim) struct StoreRates {
    /// Before they take effect.
    pub(in crate::testing::sim) before: u64,
    /// After they took effect.
    pub(in crate::testing::sim) after: u64,
    /// For a part of a batch.
    pub(in crate::testing::sim) part: u64,
    /// Calls that take long on the way.
    pub(in crate::testing::sim) slow: u64,
}

/// What is to go wrong with one batch of posts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BatchFault {
    None,
    /// All fail and nothing is stored.
    Before,
    /// All are stored, and fail.
    After,
    /// From this post on, those of its home fail; stored all the same, if so.
    From {
        place: usize,
        stored: bool,
    },
}

/// What is to go wrong with one post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PostFault {
    None,
    NotStored,
    Stored,
}

impl BatchFault {
    pub(super) fn of(self, posts: &[Post], place: usize) -> PostFault {
        match self {
            Self::None => PostFault::None,
            Self::Before => PostFault::NotStored,
            Self::After => PostFault::Stored,
            Self::From { place: from, .. } if place < from || posts[place].home != posts[from].home => {
                PostFault::None
            }
            Self::From { stored: true, .. } => PostFault::Stored,
            Self::From { stored: false, .. } => PostFault::NotStored,
        }
    }
}

impl SimStore {
    /// The way to the store or back.
    pub(super) async fn travel(&self) {
        let slow = self.kernel.fails(self.rates.slow);
        let takes = self.kernel.dice(|dice| if slow { dice.millis(20, 700) } else { dice.micros(20, 1_500) });
        self.kernel.sleep(takes).await;
    }

    pub(super) fn draw_fault(&self, posts: &[Post]) -> BatchFault {
        if self.kernel.fails(self.rates.before) {
            self.kernel.count(|counts| counts.calls_failed_before += 1);
            BatchFault::Before
        } else if self.kernel.fails(self.rates.after) {
            self.kernel.count(|counts| counts.calls_failed_after += 1);
            BatchFault::After
        } else if !posts.is_empty() && self.kernel.fails(self.rates.part) {
            self.kernel.count(|counts| counts.calls_failed_in_part += 1);
            self.kernel
                .dice(|dice| BatchFault::From { place: dice.index(posts.len()), stored: dice.happens(500) })
        } else {
            BatchFault::None
        }
    }

    /// Reads what is durable of the shards of `timelines`, if they are up.
    pub(super) async fn reading<T>(
        &self,
        operation: &'static str,
        timelines: &[TimelineId],
        read: impl FnOnce(&Inner) -> T,
    ) -> Result<T, StoreError> {
        self.travel().await;
        let unavailable = StoreError::new(StoreErrorKind::Unavailable, operation);
        if self.kernel.fails(self.rates.before) {
            return Err(unavailable);
        }
        if !self.are_up(timelines) {
            self.perhaps_hang().await;
            return Err(unavailable);
        }
        let found = read(&self.lock());
        self.travel().await;
        Ok(found)
    }

    pub(super) fn are_up(&self, timelines: &[TimelineId]) -> bool {
        let inner = self.lock();
        timelines.iter().all(|timeline| inner.is_up(timeline))
    }

    /// A store that is down refuses at once, or says nothing until the deadline.
    pub(super) async fn perhaps_hang(&self) {
        if self.kernel.fails(300) {
            self.kernel.count(|counts| counts.calls_timed_out += 1);
            let deadline = self.kernel.dice(|dice| dice.millis(500, 2_000));
            self.kernel.sleep(deadline).await;
        }
    }
}
