use super::{SimStore, num};
use crate::id::{StoreEpoch, Uid};
use crate::message::{Entry, TimelineId};
use crate::storage::Read;
use crate::testing::sim::backing::Disks;
use crate::testing::sim::event::{Event, StoreEvent};
use crate::time::Timestamp;

/// What goes wrong with a store from outside, and what an operator does about it.
impl Disks for SimStore {
    fn crash(&self) {
        let mut inner = self.lock();
        let shard = self.kernel.dice(|dice| dice.index(inner.shards.len()));
        if !inner.shards[shard].up {
            return;
        }
        if inner.is_between_copies() {
            self.kernel.count(|counts| counts.crashes_between_copies += 1);
        }
        let lost = inner.shards[shard].crash(&self.kernel);
        inner.crashes += 1;
        self.kernel.note("store crashes", num(shard), num(lost));
        self.kernel.count(|counts| counts.store_crashes += 1);
        self.kernel.count(|counts| counts.unsynced_tails_lost += u64::from(lost > 0));
        let long = self.kernel.dice(|dice| dice.happens(150));
        let outage =
            self.kernel.dice(|dice| if long { dice.millis(3_000, 12_000) } else { dice.millis(20, 1_500) });
        self.kernel.after(outage, Event::Store(StoreEvent::Restart { shard }));
        inner.wake_all();
    }

    fn handle(&self, event: StoreEvent) {
        match event {
            StoreEvent::Synced { shard, life } => self.synced(shard, life),
            StoreEvent::Relay { shard } => self.relay(shard),
            StoreEvent::Restart { shard } => self.restart(shard),
        }
    }

    fn save(&self) {
        self.lock().shards.iter_mut().for_each(super::Shard::save);
    }

    fn restore(&self, owners: &[Uid]) -> Vec<(Uid, Entry)> {
        let mut inner = self.lock();
        let mut lost = Vec::new();
        for owner in owners {
            let shard = &inner.shards[inner.shard_of_user(owner)];
            let since = shard.newest_saved(&TimelineId::User(owner.clone()));
            let read = Read {
                timeline: TimelineId::User(owner.clone()),
                after: since,
                until: None,
                limit: usize::MAX,
                max_bytes: usize::MAX,
                least: None,
            };
            let page = shard.read(|state| state.read(&read));
            lost.extend(page.entries.into_iter().map(|entry| (owner.clone(), entry)));
        }
        inner.shards.iter_mut().for_each(super::Shard::restore);
        for shard in 0..inner.shards.len() {
            self.relay_soon(&mut inner, shard);
        }
        inner.wake_all();
        self.kernel.note("store is restored", num(lost.len()), 0);
        lost
    }

    fn raise_epoch(&self, now: Timestamp, moves_leases: bool) {
        let mut inner = self.lock();
        if moves_leases {
            inner.shards[0].raise_floor(now);
        }
        inner.epoch = inner.epoch.after(now);
    }

    fn epoch_now(&self) -> StoreEpoch {
        self.lock().epoch
    }

    fn is_between_copies(&self) -> bool {
        self.lock().is_between_copies()
    }
}
