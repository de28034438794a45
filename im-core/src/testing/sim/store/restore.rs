use super::{SimStore, num};
use crate::id::Uid;
use crate::message::{Entry, TimelineId};
use crate::storage::Read;

impl SimStore {
    /// Saves what is durable in all shards at this moment.
    pub(in crate::testing::sim) fn save(&self) {
        self.lock().shards.iter_mut().for_each(super::Shard::save);
    }

    /// Brings back what was saved. Gives what the timelines of `owners` lost by that; nothing if nothing was saved.
    pub(in crate::testing::sim) fn restore(&self, owners: &[Uid]) -> Vec<(Uid, Entry)> {
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
}
