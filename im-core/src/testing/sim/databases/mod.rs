//! Several databases, to be one store by a layer above. Each is a [`MemoryStore`] behind a way that takes time: a call takes effect at one moment,
//! as a transaction does, when its commit is durable. A crash before that moment leaves nothing of it, one after it only takes the answer.
//!
//! Calls fail as those of the one [store](super::store) do: before they take effect, after, for a part of a batch, and by not answering at all. An
//! operator can bring all databases back to one earlier moment.

mod call;
mod serve;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;

use self::call::SimDatabase;
use super::backing::Disks;
use super::event::{Event, StoreEvent};
use super::kernel::Kernel;
use super::outside::SimClock;
use super::store::StoreRates;
use crate::id::{StoreEpoch, Uid};
use crate::memory::MemoryStore;
use crate::message::{Entry, TimelineId};
use crate::storage::{Epochs as _, Intent, IntentId, Outbox as _, Pending, Read, Shard, Timelines as _};
use crate::time::Timestamp;

/// See the [module](self).
pub(super) struct SimDatabases {
    kernel: Arc<Kernel>,
    rates: StoreRates,
    /// Whose buckets are looked at.
    owners: Vec<Uid>,
    inner: Mutex<Inner>,
}

struct Inner {
    all: Vec<Database>,
    broken: Option<String>,
}

struct Database {
    store: Arc<MemoryStore>,
    /// What it held when an operator saved it.
    saved: Option<MemoryStore>,
    up: bool,
    /// Counts crashes and restores.
    life: u64,
    /// Whether calls that a crash caught are left without an answer.
    silent: bool,
    /// Transactions that are not durable.
    commits: usize,
}

impl SimDatabases {
    pub(super) fn new(kernel: Arc<Kernel>, count: usize, rates: StoreRates, owners: Vec<Uid>) -> Arc<Self> {
        let clock = Arc::new(SimClock::new(kernel.clone(), Arc::default()));
        let database = |_| Database {
            store: Arc::new(MemoryStore::default().with_clock(clock.clone())),
            saved: None,
            up: true,
            life: 0,
            silent: false,
            commits: 0,
        };
        let inner = Inner { all: (0..count).map(database).collect(), broken: None };
        Arc::new(Self { kernel, rates, owners, inner: Mutex::new(inner) })
    }

    /// Each of them, as a process sees it.
    pub(super) fn open(self: &Arc<Self>) -> Vec<Arc<dyn Shard>> {
        let count = self.lock().all.len();
        (0..count).map(|place| Arc::new(SimDatabase { all: self.clone(), place }) as _).collect()
    }

    /// Whether no owner's bucket is served in two places. A database that holds nothing of an owner has never had the bucket.
    fn check(&self) {
        let mut inner = self.lock();
        for owner in &self.owners {
            let serves = |place: &usize| inner.all[*place].serves(owner);
            let places: Vec<usize> = (0..inner.all.len()).filter(serves).collect();
            if places.len() > 1 {
                let what = format!("the databases {places:?} serve the bucket of {owner}");
                inner.broken.get_or_insert(what);
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disks for SimDatabases {
    fn crash(&self) {
        let mut inner = self.lock();
        let place = self.kernel.dice(|dice| dice.index(inner.all.len()));
        if !inner.all[place].up {
            return;
        }
        if inner.is_between_copies() {
            self.kernel.count(|counts| counts.crashes_between_copies += 1);
        }
        let database = &mut inner.all[place];
        let lost = database.commits;
        database.end();
        database.up = false;
        database.silent = self.kernel.dice(|dice| dice.happens(300));
        self.kernel.note("database crashes", num(place), num(lost));
        self.kernel.count(|counts| counts.store_crashes += 1);
        self.kernel.count(|counts| counts.unsynced_tails_lost += u64::from(lost > 0));
        let long = self.kernel.dice(|dice| dice.happens(150));
        let outage =
            self.kernel.dice(|dice| if long { dice.millis(3_000, 12_000) } else { dice.millis(20, 1_500) });
        self.kernel.after(outage, Event::Store(StoreEvent::Restart { shard: place }));
    }

    fn handle(&self, event: StoreEvent) {
        if let StoreEvent::Restart { shard } = event {
            self.kernel.note("database restarts", num(shard), 0);
            self.lock().all[shard].up = true;
        }
    }

    fn save(&self) {
        self.lock().all.iter_mut().for_each(|database| database.saved = Some(database.store.snapshot()));
    }

    fn restore(&self, owners: &[Uid]) -> Vec<(Uid, Entry)> {
        let mut inner = self.lock();
        let before: Vec<Vec<Entry>> = owners.iter().map(|owner| inner.timeline(owner)).collect();
        for database in &mut inner.all {
            if let Some(saved) = &database.saved {
                database.store = Arc::new(saved.snapshot());
                database.end();
                database.silent = false;
            }
        }
        let mut lost = Vec::new();
        for (owner, before) in owners.iter().zip(before) {
            let kept = inner.timeline(owner).len();
            lost.extend(before.into_iter().skip(kept).map(|entry| (owner.clone(), entry)));
        }
        self.kernel.note("databases are restored", num(lost.len()), 0);
        lost
    }

    fn raise_epoch(&self, now: Timestamp, _moves_leases: bool) {
        // A store in memory never waits and never fails.
        let _ = self.lock().all[0].store.bump_epoch(now).now_or_never();
    }

    fn epoch_now(&self) -> StoreEpoch {
        let epoch = self.lock().all[0].store.epoch().now_or_never();
        epoch.and_then(Result::ok).unwrap_or_default()
    }

    fn is_between_copies(&self) -> bool {
        self.lock().is_between_copies()
    }

    fn pending(&self) -> usize {
        self.lock().all.iter().map(|database| database.intents().len()).sum()
    }

    fn broken(&self) -> Option<String> {
        self.lock().broken.clone()
    }
}

impl Inner {
    fn is_between_copies(&self) -> bool {
        let is_copied = |intent: &Intent| {
            let located =
                |state: &mut crate::memory::State| state.locate(&intent.into, intent.message.msgid).is_some();
            self.all.iter().any(|database| database.store.with_state(located))
        };
        self.all.iter().flat_map(Database::intents).any(|intent| !is_copied(&intent))
    }

    /// What there is of an owner's timeline where it goes furthest: nobody else has all of it.
    fn timeline(&self, owner: &Uid) -> Vec<Entry> {
        let read = Read {
            timeline: TimelineId::User(owner.clone()),
            after: crate::id::Version::ZERO,
            until: None,
            limit: usize::MAX,
            max_bytes: usize::MAX,
            least: None,
        };
        let entries = |database: &Database| database.store.with_state(|state| state.read(&read)).entries;
        self.all.iter().map(entries).max_by_key(Vec::len).unwrap_or_default()
    }
}

impl Database {
    /// What a crash ends.
    fn end(&mut self) {
        self.life += 1;
        self.commits = 0;
    }

    fn serves(&self, owner: &Uid) -> bool {
        let heads = self.store.heads(vec![TimelineId::User(owner.clone())]).now_or_never();
        heads.and_then(Result::ok).is_some_and(|heads| heads.iter().any(|head| head.head.0 > 0))
    }

    fn intents(&self) -> Vec<Intent> {
        let all = self.store.intents(Pending::After(IntentId::default()), usize::MAX).now_or_never();
        all.and_then(Result::ok).unwrap_or_default()
    }
}

fn num(index: usize) -> u64 {
    u64::try_from(index).unwrap_or(u64::MAX)
}
