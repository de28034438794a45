//! A store that crashes: what is stored shows at once to later writers, becomes durable with a sync, and is answered and read only then. A
//! crash loses what was not synced, but for some of it: nobody knows how far the disk had come.
//!
//! With two shards it is two databases. Users are spread over them; a message between the two is stored with its sender together with the
//! intent to copy it, and a relay copies pending intents to the receivers' shard in the senders' order, before and after crashes. It is
//! answered when both copies are durable. The conformance suite holds for one shard; what two databases cannot give without a common
//! transaction is the batch's order of different senders in a receiver's timeline, and the check of a msgid in the other shard.
//!
//! An operator can bring all shards back to what was durable at one earlier moment.
//!
//! It also fails calls: before they take effect, after, for a part of a batch, and by not answering at all.

mod append;
mod disk;
mod disks;
mod faults;
mod serve;
mod shard;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use self::disk::Op;
use self::shard::{Relaying, Shard};
use super::event::{Event, StoreEvent};
use super::kernel::Kernel;
use crate::id::{StoreEpoch, Uid, Version};
use crate::memory::State;
use crate::message::TimelineId;
use crate::storage::{Placed, Post, StoreError};

pub(in crate::testing::sim) use self::faults::StoreRates;

/// Places one post in a state: [`State::append`], or what a mutant does instead.
pub(in crate::testing::sim) type PlaceFn = fn(&mut State, Post) -> Result<Placed, StoreError>;

/// See the [module](self).
pub(in crate::testing::sim) struct SimStore {
    kernel: Arc<Kernel>,
    rates: StoreRates,
    inner: Mutex<Inner>,
}

struct Inner {
    shards: Vec<Shard>,
    /// Of calls that wait for a sync.
    wakers: Vec<Waker>,
    crashes: u64,
    /// Kept where no crash reaches: an operator sets it, and looks at what came of it.
    epoch: StoreEpoch,
}

impl SimStore {
    pub(in crate::testing::sim) fn new(
        kernel: Arc<Kernel>,
        shards: usize,
        rates: StoreRates,
        place: PlaceFn,
    ) -> Arc<Self> {
        let shards = (0..shards.max(1)).map(|_| Shard::new(place)).collect();
        let inner = Inner { shards, wakers: Vec::new(), crashes: 0, epoch: StoreEpoch::default() };
        Arc::new(Self { kernel, rates, inner: Mutex::new(inner) })
    }

    /// How often any shard crashed.
    pub(in crate::testing::sim) fn crashes(&self) -> u64 {
        self.lock().crashes
    }

    /// The newest version of a timeline, durable or not.
    pub(in crate::testing::sim) fn newest(&self, timeline: &TimelineId) -> Version {
        let inner = self.lock();
        inner.shards[inner.shard_of(timeline)].newest(timeline)
    }

    fn restart(&self, shard: usize) {
        let mut inner = self.lock();
        self.kernel.note("store restarts", num(shard), 0);
        inner.shards[shard].up = true;
        for shard in 0..inner.shards.len() {
            self.relay_soon(&mut inner, shard);
        }
    }

    fn synced(&self, shard: usize, life: u64) {
        let mut inner = self.lock();
        if inner.shards[shard].life != life {
            return;
        }
        inner.shards[shard].finish_sync();
        self.sync(&mut inner, shard);
        for shard in 0..inner.shards.len() {
            self.relay_soon(&mut inner, shard);
        }
        inner.wake_all();
    }

    /// Starts a sync of what is not durable, unless one runs.
    fn sync(&self, inner: &mut Inner, shard: usize) {
        let life = inner.shards[shard].life;
        if inner.shards[shard].start_sync() {
            let slow = self.kernel.fails(20);
            let takes =
                self.kernel.dice(|dice| if slow { dice.millis(50, 400) } else { dice.micros(200, 8_000) });
            self.kernel.after(takes, Event::Store(StoreEvent::Synced { shard, life }));
        }
    }

    fn relay_soon(&self, inner: &mut Inner, shard: usize) {
        let home = &mut inner.shards[shard];
        if home.up && !home.relay_due && (home.relaying.is_some() || home.has_intents()) {
            home.relay_due = true;
            let slow = self.kernel.fails(50);
            let takes =
                self.kernel.dice(|dice| if slow { dice.millis(20, 300) } else { dice.micros(100, 3_000) });
            self.kernel.after(takes, Event::Store(StoreEvent::Relay { shard }));
        }
    }

    /// One step of the relay of `shard`: settles copies that became durable, then copies more.
    fn relay(&self, shard: usize) {
        let mut inner = self.lock();
        let other = inner.shards.len() - 1 - shard;
        inner.shards[shard].relay_due = false;
        if !inner.shards[shard].up || other == shard {
            return;
        }
        if let Some(relaying) = inner.shards[shard].relaying.take() {
            if inner.shards[other].life != relaying.life {
                // The other shard crashed; what it kept of the copies it recognises.
            } else if inner.shards[other].synced < relaying.lsn {
                inner.shards[shard].relaying = Some(relaying);
                return;
            } else {
                relaying.intents.iter().for_each(|intent| {
                    inner.shards[shard].apply(Op::Copied(*intent));
                });
                self.sync(&mut inner, shard);
            }
        }
        if inner.shards[other].up {
            self.copy_some(&mut inner, shard, other);
        }
    }

    fn copy_some(&self, inner: &mut Inner, shard: usize, other: usize) {
        let at_most = self.kernel.dice(|dice| dice.index(8) + 1);
        let intents = inner.shards[shard].intents(at_most);
        if intents.is_empty() {
            return;
        }
        let mut relaying = Relaying { intents: Vec::new(), life: inner.shards[other].life, lsn: 0 };
        for (id, intent) in intents {
            relaying.intents.push(id);
            (relaying.lsn, _) = inner.shards[other].apply(Op::Copy(intent));
        }
        inner.shards[shard].relaying = Some(relaying);
        self.sync(inner, other);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn shard_of(&self, timeline: &TimelineId) -> usize {
        match timeline {
            TimelineId::User(uid) => self.shard_of_user(uid),
            TimelineId::Group(_) => 0,
        }
    }

    fn shard_of_user(&self, uid: &Uid) -> usize {
        uid.as_str().bytes().map(usize::from).sum::<usize>() % self.shards.len()
    }

    fn is_between_copies(&self) -> bool {
        self.shards.iter().flat_map(Shard::durable_intents).any(|intent| {
            let receiver = self.shard_of(&intent.into);
            self.shards[receiver].locate(&intent.into, intent.message.msgid).is_none()
        })
    }

    fn wake_all(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }

    /// Which timelines of a batch live on shards that are down.
    fn is_up(&self, timeline: &TimelineId) -> bool {
        self.shards[self.shard_of(timeline)].up
    }
}

fn num(index: usize) -> u64 {
    u64::try_from(index).unwrap_or(u64::MAX)
}
