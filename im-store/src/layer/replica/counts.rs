use std::sync::atomic::{AtomicU64, Ordering};

/// Who has answered how many reads since the store was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadCounts {
    /// Pages by the primary.
    pub primary: u64,
    /// What each replica did, in their order.
    pub replicas: Vec<ReplicaCounts>,
}

impl ReadCounts {
    /// Pages by any replica.
    pub fn by_replicas(&self) -> u64 {
        self.replicas.iter().map(|replica| replica.served).sum()
    }
}

/// What one replica did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplicaCounts {
    /// Pages that a reader was given.
    pub served: u64,
    /// Pages that went to the primary because the replica did not have what the reader knows of.
    pub behind: u64,
    /// Pages that went to the primary because they reached an end of the replica's timeline.
    pub at_end: u64,
    /// Pages that went to the primary because the replica failed, was too slow or showed a hole.
    pub failed: u64,
    /// How often it showed another epoch than the primary.
    pub other_epoch: u64,
}

/// The primary's count, as it grows.
#[derive(Debug, Default)]
pub(super) struct Shared(AtomicU64);

impl Shared {
    pub(super) fn add(&self, pages: usize) {
        add(&self.0, pages);
    }

    pub(super) fn primary(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A replica's counts, as they grow.
#[derive(Debug, Default)]
pub(super) struct Tally {
    served: AtomicU64,
    behind: AtomicU64,
    at_end: AtomicU64,
    failed: AtomicU64,
    other_epoch: AtomicU64,
}

/// What became of a page that a replica was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Served,
    Behind,
    AtEnd,
    Failed,
    OtherEpoch,
}

impl Tally {
    pub(super) fn add(&self, outcome: Outcome, pages: usize) {
        let count = match outcome {
            Outcome::Served => &self.served,
            Outcome::Behind => &self.behind,
            Outcome::AtEnd => &self.at_end,
            Outcome::Failed => &self.failed,
            Outcome::OtherEpoch => &self.other_epoch,
        };
        add(count, pages);
    }

    pub(super) fn so_far(&self) -> ReplicaCounts {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ReplicaCounts {
            served: count(&self.served),
            behind: count(&self.behind),
            at_end: count(&self.at_end),
            failed: count(&self.failed),
            other_epoch: count(&self.other_epoch),
        }
    }
}

fn add(count: &AtomicU64, pages: usize) {
    count.fetch_add(u64::try_from(pages).unwrap_or(u64::MAX), Ordering::Relaxed);
}
