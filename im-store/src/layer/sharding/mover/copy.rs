use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use im_core::storage::{
    Bucket, CopyLimits, CopyOut, CopyPage, Intent, IntentId, Mark, Pending, Shard, StoreError, StoreErrorKind,
};
use im_core::time::Tick;

use super::{Journey, MoveError, MoveReport, MoveStep};

/// Passes of catching up before a fence is tried whatever is left.
const MOST_PASSES: u32 = 8;

/// Intents that are looked at at a time.
const INTENTS: usize = 256;

/// Why a fence did not come to its end.
enum Failed {
    /// It may do so the next time.
    ForNow,
    Forever(MoveError),
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        match error.is_retryable() || error.kind() == StoreErrorKind::LeaseLost {
            true => {
                tracing::debug!(%error, "a fence was not enough");
                Self::ForNow
            }
            false => Self::Forever(error.into()),
        }
    }
}

fn is_sent_from(intent: &Intent, buckets: &BTreeSet<Bucket>) -> bool {
    buckets.contains(&Bucket::of_user(&intent.message.from))
}

impl<P: FnMut(MoveStep)> Journey<'_, P> {
    fn source(&self) -> &dyn Shard {
        &*self.mover.store.databases[self.from]
    }

    fn destination(&self) -> &dyn Shard {
        &*self.mover.store.databases[usize::from(self.to)]
    }

    fn limits(&self) -> CopyLimits {
        CopyLimits { rows: self.mover.limits.rows, bytes: self.mover.limits.bytes }
    }

    pub(super) async fn go(mut self) -> Result<MoveReport, MoveError> {
        let (id, mover) = (self.id, self.mover);
        mover.retry(|| self.source().depart(id, self.buckets.clone(), self.to)).await?;
        mover.retry(|| self.destination().arrive(id, self.buckets.clone(), self.to)).await?;
        (self.progress)(MoveStep::Clearing);
        mover.clear(self.destination(), id).await?;
        self.copy(CopyOut::Floors { after: None }).await?;
        let mut mark = self.catch_up(Mark::default()).await?;
        // From here on it is noted anew which cursors change: those are few when all have been copied.
        mover.retry(|| self.source().depart(id, self.buckets.clone(), self.to)).await?;
        self.copy(CopyOut::Cursors { changed: false, after: None }).await?;
        self.switch(&mut mark).await?;
        Ok(self.report)
    }

    /// Fences, copies the rest, and switches; again if that took too long.
    async fn switch(&mut self, mark: &mut Mark) -> Result<(), MoveError> {
        let mut rest = self.mover.limits.fence / 8;
        for _ in 0..self.mover.limits.tries.max(1) {
            *mark = self.catch_up(*mark).await?;
            self.deliver(self.from, is_sent_from).await?;
            let begun = self.mover.clock.tick();
            let outcome = self.behind_fence(mark, begun).await;
            let fence = self.mover.clock.tick().since(begun);
            self.report.fences += 1;
            self.report.longest_fence = self.report.longest_fence.max(fence);
            match outcome {
                Ok(()) => {
                    self.arrived(fence).await;
                    return Ok(());
                }
                Err(Failed::Forever(error)) => return Err(error),
                Err(Failed::ForNow) => {}
            }
            (self.progress)(MoveStep::TooLong(fence));
            self.mover.rest(rest).await;
            rest = (rest * 2).min(self.mover.limits.fence * 4);
        }
        Err(MoveError::TooBusy(self.mover.limits.tries))
    }

    async fn arrived(&mut self, fence: Duration) {
        self.report.buckets = self.buckets.len();
        (self.progress)(MoveStep::Moved { buckets: self.buckets.len(), fence });
        // What waited here for the buckets' old database is for this one now. Were it not delivered at once, the sweeper would do it.
        let waiting =
            |intent: &Intent, buckets: &BTreeSet<Bucket>| buckets.contains(&Bucket::of(&intent.into));
        if let Err(error) = self.deliver(self.to.into(), waiting).await {
            tracing::warn!(%error, "messages into buckets that have moved wait for the sweeper");
        }
    }

    /// Copies up to a mark, and to the next one, until that takes a small part of a fence.
    async fn catch_up(&mut self, mut mark: Mark) -> Result<Mark, MoveError> {
        for _ in 0..MOST_PASSES {
            let begun = self.mover.clock.tick();
            let until = self.mover.retry(|| self.source().mark(self.id)).await?;
            if until <= mark {
                break;
            }
            self.copy(CopyOut::Posts { after: mark, until }).await?;
            mark = until;
            if self.mover.clock.tick().since(begun) < self.mover.limits.fence / 8 {
                break;
            }
        }
        Ok(mark)
    }

    async fn copy(&mut self, ask: CopyOut) -> Result<(), MoveError> {
        let mut next = Some(ask);
        while let Some(ask) = next {
            let page =
                self.mover.retry(|| self.source().copy_out(self.id, ask.clone(), self.limits())).await?;
            next = self.take(page.clone()).await?;
        }
        Ok(())
    }

    /// Stores a page in the destination.
    async fn take(&mut self, page: CopyPage) -> Result<Option<CopyOut>, StoreError> {
        let CopyPage { rows, next } = page;
        let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        if count > 0 {
            self.mover.retry(|| self.destination().copy_in(self.id, rows.clone())).await?;
        }
        self.report.rows = self.report.rows.saturating_add(count);
        if let Some(CopyOut::Posts { after, until }) = &next {
            (self.progress)(MoveStep::Copying { rows: self.report.rows, at: after.0, until: until.0 });
        }
        Ok(next)
    }

    /// What has to be done while nobody writes, up to the release; then the switch, which nothing stops any more.
    async fn behind_fence(&mut self, mark: &mut Mark, begun: Tick) -> Result<(), Failed> {
        let lease = self.mover.limits.fence;
        let fenced = self.source().fence(self.id, lease).await;
        let copied = match fenced {
            Ok(until) => self.copy_rest(mark, until, begun).await,
            Err(error) => Err(error.into()),
        };
        let released = match copied {
            Ok(()) => self.release().await,
            Err(failed) => Err(failed),
        };
        if let Err(failed) = released {
            // If this fails too, the fence ends by itself.
            let _ = self.source().unfence(self.id).await;
            return Err(failed);
        }
        let complete = || self.mover.store.complete(self.from, self.id, self.to, &self.buckets);
        self.mover.retry(complete).await.map_err(|error| Failed::Forever(error.into()))
    }

    /// Gives the buckets away. Of an answer that does not come it is asked again what became of it.
    async fn release(&self) -> Result<(), Failed> {
        self.mover.retry(|| self.source().release(self.id)).await.map_err(Failed::from)
    }

    async fn copy_rest(&mut self, mark: &mut Mark, fenced: Mark, begun: Tick) -> Result<(), Failed> {
        self.copy_until(mark, fenced, begun).await?;
        if self.deliver(self.from, is_sent_from).await.map_err(Failed::Forever)? > 0 {
            return Err(Failed::ForNow);
        }
        let until = self.source().mark(self.id).await?;
        self.copy_until(mark, until, begun).await?;
        let mut next = Some(CopyOut::Cursors { changed: true, after: None });
        while let Some(ask) = next {
            self.in_time(begun)?;
            let page = self.source().copy_out(self.id, ask, self.limits()).await?;
            next = self.take(page).await?;
        }
        let (source_holds, destination_holds) =
            futures::future::try_join(self.source().tally(self.id), self.destination().tally(self.id))
                .await?;
        self.report.timelines = u64::try_from(source_holds.timelines).unwrap_or_default();
        self.in_time(begun)?;
        if source_holds == destination_holds {
            return Ok(());
        }
        // If a later move has taken the buckets, what is left by this one says nothing.
        self.source().mark(self.id).await?;
        Err(Failed::Forever(MoveError::Differs { source_holds, destination_holds }))
    }

    async fn copy_until(&mut self, mark: &mut Mark, until: Mark, begun: Tick) -> Result<(), Failed> {
        while *mark < until {
            self.in_time(begun)?;
            let ask = CopyOut::Posts { after: *mark, until };
            let page = self.source().copy_out(self.id, ask, self.limits()).await?;
            *mark = match self.take(page).await? {
                Some(CopyOut::Posts { after, .. }) => after,
                _ => until,
            };
        }
        Ok(())
    }

    /// A fence of which less than a quarter is left is given up.
    fn in_time(&self, begun: Tick) -> Result<(), Failed> {
        match self.mover.clock.tick().since(begun) < self.mover.limits.fence * 3 / 4 {
            true => Ok(()),
            false => Err(Failed::ForNow),
        }
    }

    /// Delivers intents of a database, in their order; gives how many are left that could not be delivered now.
    async fn deliver(
        &self,
        database: usize,
        which: impl Fn(&Intent, &BTreeSet<Bucket>) -> bool,
    ) -> Result<usize, MoveError> {
        let buckets: BTreeSet<Bucket> = self.buckets.iter().copied().collect();
        let store = &self.mover.store;
        let (mut after, mut left) = (IntentId::default(), 0);
        loop {
            let list = || store.databases[database].intents(Pending::After(after), INTENTS);
            let page = self.mover.retry(list).await?;
            let Some(last) = page.last().map(|intent| intent.id) else { return Ok(left) };
            after = last;
            let map = store.map();
            let mut calls: BTreeMap<usize, Vec<Intent>> = BTreeMap::new();
            for intent in page.into_iter().filter(|intent| which(intent, &buckets)) {
                calls.entry(map.database_of(&intent.into)).or_default().push(intent);
            }
            for (other, intents) in calls {
                let (delivered, swept) = store.copy(other, intents).await;
                if swept.refused > 0 {
                    return Err(MoveError::Stuck(swept.refused));
                }
                left += swept.failed;
                self.mover.retry(|| store.databases[database].settle(delivered.clone())).await?;
            }
        }
    }
}
