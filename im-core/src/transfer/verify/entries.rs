use super::{Verifier, VerifyError};
use crate::id::Version;
use crate::message::{Entry, TimelineId};
use crate::storage::{Exportable, Head, Page, Read, StoreError};
use crate::transfer::Difference;

/// Timelines that are read at the same time.
const TOGETHER: usize = 64;

/// What a page of one of them may hold: with both stores' 64 pages at most 8 MiB, but for single entries that are larger.
const PAGE_BYTES: usize = 64 << 10;
const PAGE_ENTRIES: usize = 512;

/// How far a timeline is compared.
struct Walk {
    timeline: TimelineId,
    after: Version,
}

impl Verifier<'_> {
    /// Compares bounds, entries and conversations of timelines.
    pub(super) async fn timelines(&mut self, announced: Vec<(TimelineId, Head)>) -> Result<(), VerifyError> {
        let timelines: Vec<_> = announced.into_iter().map(|(timeline, _)| timeline).collect();
        if timelines.is_empty() {
            return Ok(());
        }
        let (first, second) = self.both.ask(|store| store.heads(timelines.clone())).await?;
        for (timeline, (first, second)) in timelines.iter().zip(first.into_iter().zip(second)) {
            if first != second {
                self.found.differ(Difference::Bounds(timeline.clone(), first, second));
            }
        }
        for timelines in timelines.chunks(TOGETHER) {
            self.entries(timelines).await?;
        }
        self.conversations(&timelines).await
    }

    /// Timelines of the second store that the first does not have.
    pub(super) async fn strange_timelines(
        &mut self,
        announced: Vec<(TimelineId, Head)>,
    ) -> Result<(), VerifyError> {
        let timelines: Vec<_> = announced.into_iter().map(|(timeline, _)| timeline).collect();
        if timelines.is_empty() {
            return Ok(());
        }
        let (first, second) = self.both.ask(|store| store.heads(timelines.clone())).await?;
        for (timeline, (first, second)) in timelines.into_iter().zip(first.into_iter().zip(second)) {
            if first == Head::default() && second != first {
                self.found.differ(Difference::Bounds(timeline, first, second));
            }
        }
        Ok(())
    }

    async fn entries(&mut self, timelines: &[TimelineId]) -> Result<(), VerifyError> {
        let walk = |timeline: &TimelineId| Walk { timeline: timeline.clone(), after: Version::ZERO };
        let mut walks: Vec<Walk> = timelines.iter().map(walk).collect();
        while !walks.is_empty() {
            let reads: Vec<_> = walks.iter().map(Walk::read).collect();
            let (first, second) = self.both.ask(|store| Box::pin(pages(store, reads.clone()))).await?;
            let pages = first.into_iter().zip(second);
            let steps: Vec<_> =
                walks.into_iter().zip(pages).map(|(walk, (a, b))| walk.compare(&a, &b)).collect();
            walks = Vec::new();
            for step in steps {
                match step {
                    Step::On(walk) => walks.push(walk),
                    Step::Done => {}
                    Step::Differs(timeline, version) => {
                        self.found.differ(Difference::Entries(timeline, version));
                    }
                }
            }
        }
        Ok(())
    }
}

async fn pages(store: &dyn Exportable, reads: Vec<Read>) -> Result<Vec<Page>, StoreError> {
    store.read(reads).await.into_iter().collect()
}

/// What comparing a page comes to.
enum Step {
    On(Walk),
    Done,
    Differs(TimelineId, Version),
}

impl Walk {
    fn read(&self) -> Read {
        Read {
            timeline: self.timeline.clone(),
            after: self.after,
            until: None,
            limit: PAGE_ENTRIES,
            max_bytes: PAGE_BYTES,
            least: None,
        }
    }

    /// Compares as far as both pages go.
    fn compare(self, first: &Page, second: &Page) -> Step {
        let mut pairs = first.entries.iter().zip(&second.entries);
        if let Some((a, b)) = pairs.find(|(a, b)| a != b) {
            return Step::Differs(self.timeline, a.version.min(b.version));
        }
        let last = |entries: &[Entry]| entries.last().map(|entry| entry.version);
        match (last(&first.entries), last(&second.entries)) {
            (Some(a), Some(b)) if a.min(b) < first.head.max(second.head) => {
                Step::On(Self { after: a.min(b), ..self })
            }
            (Some(_), Some(_)) | (None, None) => Step::Done,
            _ => Step::Differs(self.timeline, self.after.next()),
        }
    }
}
