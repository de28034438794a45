//! Who answers a read.

use std::sync::atomic::Ordering;

use futures::future::{Either, join, select};
use im_core::id::Version;
use im_core::storage::{Page, Read, Store, StoreError, StoreErrorKind};

use super::ReplicatedStore;
use super::admission::{Leave, Replica};
use super::counts::Outcome;

type Answer = Result<Page, StoreError>;

impl<P: Store + ?Sized> ReplicatedStore<P> {
    /// The replica whose turn it is and the primary at the same time; then the primary, for what the replica could not answer.
    pub(super) async fn pages(&self, reads: Vec<Read>) -> Vec<Answer> {
        let (old, new) = partition(&reads);
        let leave = if old.is_empty() { None } else { self.next_replica() };
        let Some(leave) = leave else { return self.ask_primary(reads).await };
        let (older, newer) = (pick(&reads, &old), pick(&reads, &new));
        let (by_replica, by_primary) = join(self.ask_replica(leave, older), self.ask_primary(newer)).await;
        let mut answers: Vec<Option<Answer>> = reads.iter().map(|_| None).collect();
        put(&mut answers, &old, by_replica);
        put(&mut answers, &new, by_primary.into_iter().map(Some));
        let left: Vec<_> = (0..reads.len()).filter(|&place| answers[place].is_none()).collect();
        let by_primary = self.ask_primary(pick(&reads, &left)).await;
        put(&mut answers, &left, by_primary.into_iter().map(Some));
        // A store that answers less than it was asked is broken.
        let missing = || Err(StoreError::new(StoreErrorKind::Corrupt, "read"));
        answers.into_iter().map(|answer| answer.unwrap_or_else(missing)).collect()
    }

    async fn ask_primary(&self, reads: Vec<Read>) -> Vec<Answer> {
        if reads.is_empty() {
            return Vec::new();
        }
        self.counts.add(reads.len());
        self.primary.read(reads).await
    }

    /// The next one in turn that may be asked now.
    fn next_replica(&self) -> Option<Leave<'_>> {
        let (count, now) = (self.replicas.len(), self.clock.tick());
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut turns = (0..count).map(|n| &self.replicas[first.wrapping_add(n) % count]);
        turns.find_map(|replica| replica.leave(now, &self.limits))
    }

    /// What the replica has of it, within its deadline. What it was too slow for counts as failed.
    async fn ask_replica(&self, leave: Leave<'_>, reads: Vec<Read>) -> Vec<Option<Answer>> {
        let (replica, count) = (leave.replica, reads.len());
        let deadline = self.clock.sleep_until(self.clock.tick() + self.limits.deadline);
        let asked = std::pin::pin!(self.ask_in_time(leave, reads));
        match select(asked, deadline).await {
            Either::Left((pages, _)) => pages,
            Either::Right(_) => {
                tracing::debug!("a replica is too slow and is left alone for a while");
                self.failed(replica, count)
            }
        }
    }

    async fn ask_in_time(&self, leave: Leave<'_>, reads: Vec<Read>) -> Vec<Option<Answer>> {
        let replica = leave.replica;
        if leave.must_check {
            match self.has_our_epoch(replica).await {
                Ok(true) => replica.shown(self.clock.tick()),
                Ok(false) => {
                    tracing::warn!("a replica has another epoch than the primary and is not used");
                    replica.counts.add(Outcome::OtherEpoch, 1);
                    replica.failed(self.clock.tick(), &self.limits);
                    return none(reads.len());
                }
                Err(error) => return self.failed_with(replica, reads.len(), &error),
            }
        }
        let answers = replica.store.read(reads.clone()).await;
        drop(leave);
        if let Some(error) = answers.iter().find_map(|answer| answer.as_ref().err()) {
            return self.failed_with(replica, reads.len(), error);
        }
        self.judge(replica, &reads, answers)
    }

    async fn has_our_epoch(&self, replica: &Replica) -> Result<bool, StoreError> {
        let (ours, its) = join(self.primary.epoch(), replica.store.epoch()).await;
        Ok(ours? == its?)
    }

    /// Keeps the pages that may be passed on.
    fn judge(&self, replica: &Replica, reads: &[Read], answers: Vec<Answer>) -> Vec<Option<Answer>> {
        let mut worst = Outcome::Served;
        let mut pages = Vec::with_capacity(reads.len());
        for (read, mut answer) in reads.iter().zip(answers) {
            let outcome = answer.as_ref().map_or(Outcome::Failed, |page| judge(read, page));
            if let (Ok(page), Some(least)) = (&mut answer, read.least) {
                // The replica may show a commit before the primary does: a later page of the primary's would go back.
                page.head = page.head.min(least);
            }
            replica.counts.add(outcome, 1);
            if outcome == Outcome::Failed || outcome == Outcome::Behind && worst == Outcome::Served {
                worst = outcome;
            }
            pages.push((outcome == Outcome::Served).then_some(answer));
        }
        match worst {
            Outcome::Failed => replica.failed(self.clock.tick(), &self.limits),
            Outcome::Behind => replica.was_behind(self.clock.tick(), &self.limits),
            _ => replica.did_well(),
        }
        pages
    }

    fn failed_with(&self, replica: &Replica, count: usize, error: &StoreError) -> Vec<Option<Answer>> {
        tracing::debug!(
            error = error as &dyn std::error::Error,
            "a replica failed and is left alone for a while"
        );
        self.failed(replica, count)
    }

    fn failed(&self, replica: &Replica, count: usize) -> Vec<Option<Answer>> {
        replica.counts.add(Outcome::Failed, count);
        replica.failed(self.clock.tick(), &self.limits);
        none(count)
    }
}

fn none(count: usize) -> Vec<Option<Answer>> {
    std::iter::repeat_with(|| None).take(count).collect()
}

/// The places of the reads that a replica may answer, and those of the others.
fn partition(reads: &[Read]) -> (Vec<usize>, Vec<usize>) {
    (0..reads.len()).partition(|&place| suits_replica(&reads[place]))
}

/// Only where the page ends before what the reader knows of. Where the timeline ends, only the primary can say; and whether the primary shows already what
/// is beyond, a replica cannot.
fn suits_replica(read: &Read) -> bool {
    let Some(least) = read.least else { return false };
    let known = least.0.saturating_sub(read.after.0.max(0));
    let ends_before = read.until.is_some_and(|until| until < least);
    ends_before || usize::try_from(known).is_ok_and(|known| known > read.limit.max(1))
}

/// Whether a page from a replica is one that the primary could have given.
fn judge(read: &Read, page: &Page) -> Outcome {
    let contiguous = page.entries.windows(2).all(|pair| pair[0].version.next() == pair[1].version);
    match (page.entries.first(), page.entries.last()) {
        // That the timeline reaches to where it asks is the reader's own word, which is not held against a replica.
        _ if read.least.is_some_and(|least| page.head < least && read.after < least) => Outcome::Behind,
        _ if !contiguous => Outcome::Failed,
        (Some(first), Some(last)) if last.version < page.head => {
            // Above a floor, or with a hole: the primary knows where the timeline begins.
            let begins = first.version == read.after.max(Version::ZERO).next();
            if begins { Outcome::Served } else { Outcome::AtEnd }
        }
        _ => Outcome::AtEnd,
    }
}

fn pick(reads: &[Read], places: &[usize]) -> Vec<Read> {
    places.iter().map(|&place| reads[place].clone()).collect()
}

fn put(answers: &mut [Option<Answer>], places: &[usize], given: impl IntoIterator<Item = Option<Answer>>) {
    for (&place, answer) in places.iter().zip(given) {
        answers[place] = answer;
    }
}
