use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use im_core::id::{Uid, Version};
use im_core::message::TimelineId;
use im_core::ports::Clock;
use im_core::storage::{Bucket, Intent, IntentId, Part, Pending, Post, StoreError};
use im_core::time::Tick;

use super::ShardedStore;

/// Intents that are looked at at a time when buckets come to where these wait, and so many times at most: nobody writes to the buckets meanwhile.
const PAGE: usize = 1_024;
const MOST_PAGES: usize = 16;

/// How a [`Sweeper`] works.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SweepLimits {
    /// How long it rests between two passes. Default 1 s.
    pub rest: Duration,
    /// How long it rests at most when databases fail: each failed pass doubles the rest. Default 30 s.
    pub longest_rest: Duration,
    /// Intents that it takes at a time. Default 256.
    pub page: usize,
}

impl Default for SweepLimits {
    fn default() -> Self {
        Self { rest: Duration::from_secs(1), longest_rest: Duration::from_secs(30), page: 256 }
    }
}

/// What a pass came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Messages whose second half is stored, and which are settled.
    pub delivered: usize,
    /// Those that could not be delivered or settled now, or wait behind one.
    pub failed: usize,
    /// Those that never can: their msgid stands there for another message. Nothing waits for them, and the log has an error for each.
    pub refused: usize,
}

/// Delivers what a crash or a failure left halfway.
///
/// A pass takes what was there when the pass before it ended: what is younger is most likely being delivered by whoever stored it.
#[derive(Debug)]
pub struct Sweeper {
    store: Arc<ShardedStore>,
    limits: SweepLimits,
    /// For each database the last intent that the pass before saw.
    seen: Vec<IntentId>,
}

impl Sweeper {
    /// A sweeper that has seen nothing yet.
    pub fn new(store: Arc<ShardedStore>, limits: SweepLimits) -> Self {
        let seen = vec![IntentId::default(); store.databases.len()];
        Self { store, limits, seen }
    }

    /// Sweeps until it is dropped, with rests that are longer while databases fail, and never equal on two servers.
    ///
    /// # Cancel safety
    /// Dropping it leaves each message delivered or not, for the next sweeper.
    pub async fn run(mut self, clock: Arc<dyn Clock>) {
        let mut rest = self.limits.rest;
        loop {
            let now = clock.tick();
            clock.sleep_until(now + jittered(rest, now)).await;
            let swept = self.pass().await;
            rest = match swept.failed {
                0 => self.limits.rest,
                failed => {
                    tracing::warn!(
                        failed,
                        delivered = swept.delivered,
                        "messages wait for their second database"
                    );
                    (rest * 2).min(self.limits.longest_rest)
                }
            };
        }
    }

    /// One pass over every database.
    ///
    /// # Cancel safety
    /// Dropping it leaves each message delivered or not; the next pass goes on.
    pub async fn pass(&mut self) -> Swept {
        let mut swept = Swept::default();
        // What moved since, and what nobody has asked for.
        if let Err(error) = self.store.refresh().await {
            tracing::warn!(%error, "the map of buckets cannot be loaded");
        }
        for database in 0..self.seen.len() {
            if self.sweep(database, &mut swept).await.is_err() {
                swept.failed += 1;
            }
        }
        swept
    }

    async fn sweep(&mut self, database: usize, swept: &mut Swept) -> Result<(), StoreError> {
        let until = self.seen[database];
        let mut after = IntentId::default();
        let mut down = BTreeSet::new();
        loop {
            let source = &self.store.databases[database];
            let mut page = source.intents(Pending::After(after), self.limits.page.max(1)).await?;
            let Some(last) = page.last().map(|intent| intent.id) else { break };
            (after, self.seen[database]) = (last, last);
            page.retain(|intent| intent.id <= until);
            self.deliver(database, page, &mut down, swept).await?;
            if last > until {
                break;
            }
        }
        Ok(())
    }

    /// Delivers a page. A database that fails gets nothing more in this pass, so that nothing overtakes.
    async fn deliver(
        &self,
        database: usize,
        page: Vec<Intent>,
        down: &mut BTreeSet<usize>,
        swept: &mut Swept,
    ) -> Result<(), StoreError> {
        let map = self.store.map();
        let mut calls: BTreeMap<usize, Vec<Intent>> = BTreeMap::new();
        for intent in page {
            calls.entry(map.database_of(&intent.into)).or_default().push(intent);
        }
        let mut settled = Vec::new();
        for (other, intents) in calls {
            if down.contains(&other) {
                swept.failed += intents.len();
                continue;
            }
            let (delivered, copied) = self.store.copy(other, intents).await;
            swept.failed += copied.failed;
            swept.refused += copied.refused;
            if copied.failed > 0 {
                down.insert(other);
            }
            settled.extend(delivered);
        }
        swept.delivered += settled.len();
        match settled.is_empty() {
            true => Ok(()),
            false => self.store.databases[database].settle(settled).await,
        }
    }
}

impl ShardedStore {
    /// What was delivered, and how many were not.
    pub(super) async fn copy(&self, other: usize, intents: Vec<Intent>) -> (Vec<(IntentId, Version)>, Swept) {
        let ids: Vec<IntentId> = intents.iter().map(|intent| intent.id).collect();
        let part = |intent: Intent| Part::Copy { message: intent.message, into: intent.into };
        let answers = self.databases[other].append_parts(intents.into_iter().map(part).collect()).await;
        let (mut delivered, mut swept) = (Vec::new(), Swept::default());
        for (id, answer) in ids.iter().zip(answers) {
            match answer {
                Ok(placed) => delivered.push((*id, placed.home)),
                Err(error) if error.is_retryable() => {}
                Err(error) => {
                    tracing::error!(%error, intent = id.0, "a message cannot be delivered");
                    swept.refused += 1;
                }
            }
        }
        swept.failed = ids.len() - delivered.len() - swept.refused;
        (delivered, swept)
    }

    /// Delivers what waits in a database for these buckets, which have come there: before anybody stores whole posts to them, which wait for no intent.
    pub(super) async fn deliver_halves_into(&self, database: usize, buckets: &[Bucket]) {
        let mut after = IntentId::default();
        for _ in 0..MOST_PAGES {
            let asked = Pending::After(after);
            match self.deliver_here(database, asked, |into| buckets.contains(&Bucket::of(into))).await {
                Some(last) => after = last,
                None => return,
            }
        }
    }

    /// The same of what the senders of these posts have stored in one half, if both of them are for one database by now.
    pub(super) async fn deliver_halves_of(&self, posts: &[Post]) {
        let map = self.map();
        let mut senders: BTreeMap<usize, BTreeSet<Uid>> = BTreeMap::new();
        for Post { message, .. } in posts {
            senders.entry(map.database_of_user(&message.from)).or_default().insert(message.from.clone());
        }
        for (database, senders) in senders {
            let asked = Pending::Of(senders.into_iter().collect());
            self.deliver_here(database, asked, |into| map.database_of(into) == database).await;
        }
    }

    /// Delivers a page of a database's intents in that database itself; gives the last one of the page. What fails waits for the sweeper.
    async fn deliver_here(
        &self,
        database: usize,
        asked: Pending,
        is_here: impl Fn(&TimelineId) -> bool,
    ) -> Option<IntentId> {
        let here = &self.databases[database];
        let mut page = here.intents(asked, PAGE).await.ok()?;
        let last = page.last()?.id;
        page.retain(|intent| is_here(&intent.into));
        if !page.is_empty() {
            let (delivered, _) = self.copy(database, page).await;
            here.settle(delivered).await.ok()?;
        }
        Some(last)
    }
}

/// Between half and all of a time: which part of it follows from the nanosecond in which it begins, so that one run of a simulation is as the next.
pub(super) fn jittered(rest: Duration, now: Tick) -> Duration {
    let mut hasher = DefaultHasher::new();
    now.hash(&mut hasher);
    let [byte, ..] = hasher.finish().to_be_bytes();
    rest / 2 + rest * u32::from(byte) / 512
}
