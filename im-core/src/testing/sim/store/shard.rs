use std::collections::VecDeque;

use super::PlaceFn;
use super::disk::{Disk, Given, Intent, Op};
use crate::id::{MsgId, Version};
use crate::memory::State;
use crate::message::TimelineId;
use crate::testing::sim::kernel::Kernel;
use crate::time::Timestamp;

/// One database: what is durable, what is stored, and the changes between the two.
pub(super) struct Shard {
    durable: Disk,
    /// What was durable when an operator saved it.
    saved: Option<Disk>,
    volatile: Disk,
    /// Changes that are not durable, oldest first, with their numbers.
    tail: VecDeque<(u64, Op)>,
    applied: u64,
    pub(super) synced: u64,
    syncing: Option<u64>,
    pub(super) up: bool,
    /// Counts crashes.
    pub(super) life: u64,
    /// Whether calls that a crash caught are left without an answer.
    pub(super) silent: bool,
    pub(super) relaying: Option<Relaying>,
    pub(super) relay_due: bool,
}

/// Copies that were handed to another shard and are not known to be durable there.
pub(super) struct Relaying {
    pub(super) intents: Vec<u64>,
    pub(super) life: u64,
    pub(super) lsn: u64,
}

impl Shard {
    pub(super) fn new(place: PlaceFn) -> Self {
        Self {
            durable: Disk::new(place),
            saved: None,
            volatile: Disk::new(place),
            tail: VecDeque::new(),
            applied: 0,
            synced: 0,
            syncing: None,
            up: true,
            life: 0,
            silent: false,
            relaying: None,
            relay_due: false,
        }
    }

    /// Applies a change; it is durable once `synced` reaches its number within this life.
    pub(super) fn apply(&mut self, op: Op) -> (u64, Given) {
        self.applied += 1;
        self.tail.push_back((self.applied, op.clone()));
        (self.applied, self.volatile.apply(op))
    }

    /// Whether there is something to sync and no sync runs.
    pub(super) fn start_sync(&mut self) -> bool {
        let starts = self.syncing.is_none() && self.applied > self.synced;
        if starts {
            self.syncing = Some(self.applied);
        }
        starts
    }

    pub(super) fn finish_sync(&mut self) {
        if let Some(up_to) = self.syncing.take() {
            self.persist(up_to);
            self.synced = up_to;
        }
    }

    /// Loses what is not durable, but for a part of it that had reached the disk. Returns how many posts were lost.
    pub(super) fn crash(&mut self, kernel: &Kernel) -> usize {
        let kept = kernel.dice(|dice| if dice.happens(500) { 0 } else { dice.index(self.tail.len() + 1) });
        if let Some((lsn, _)) = kept.checked_sub(1).and_then(|last| self.tail.get(last)).cloned() {
            self.persist(lsn);
        }
        let lost = self.tail.drain(..).filter(|(_, op)| matches!(op, Op::Post { .. } | Op::Copy(_))).count();
        self.volatile = self.durable.copy();
        self.synced = self.applied;
        self.syncing = None;
        self.relaying = None;
        self.up = false;
        self.life += 1;
        self.silent = kernel.dice(|dice| dice.happens(300));
        lost
    }

    pub(super) fn save(&mut self) {
        self.saved = Some(self.durable.copy());
    }

    /// Goes back to what was saved, if anything was. Calls that wait fail.
    pub(super) fn restore(&mut self) {
        let Some(saved) = &self.saved else { return };
        self.durable = saved.copy();
        self.volatile = saved.copy();
        self.tail.clear();
        self.synced = self.applied;
        self.syncing = None;
        self.relaying = None;
        self.life += 1;
        self.silent = false;
    }

    /// Moves the floor of all leases, durably. Nothing may be under way.
    pub(super) fn raise_floor(&mut self, now: Timestamp) {
        self.durable.apply(Op::RaiseFloor(now));
        self.volatile.apply(Op::RaiseFloor(now));
    }

    /// The newest version of a timeline in what was saved; what is durable, if nothing was.
    pub(super) fn newest_saved(&self, timeline: &TimelineId) -> Version {
        let disk = self.saved.as_ref().unwrap_or(&self.durable);
        disk.store.with_state(|state| state.head(timeline).head)
    }

    fn persist(&mut self, up_to: u64) {
        while self.tail.front().is_some_and(|(lsn, _)| *lsn <= up_to) {
            if let Some((_, op)) = self.tail.pop_front() {
                self.durable.apply(op);
            }
        }
    }

    /// Reads what is durable.
    pub(super) fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        self.durable.store.with_state(|state| read(state))
    }

    /// The newest version of a timeline, durable or not.
    pub(super) fn newest(&self, timeline: &TimelineId) -> Version {
        self.volatile.store.with_state(|state| state.head(timeline).head)
    }

    pub(super) fn locate(&self, timeline: &TimelineId, msgid: MsgId) -> Option<Version> {
        self.durable.locate(timeline, msgid)
    }

    pub(super) fn durable_intents(&self) -> impl Iterator<Item = &Intent> {
        self.durable.outbox().values()
    }

    /// Whether there are durable intents that are not settled.
    pub(super) fn has_intents(&self) -> bool {
        self.durable.outbox().keys().any(|id| self.volatile.outbox().contains_key(id))
    }

    /// The oldest of those.
    pub(super) fn intents(&self, at_most: usize) -> Vec<(u64, Intent)> {
        let pending = self.durable.outbox().iter().filter(|(id, _)| self.volatile.outbox().contains_key(id));
        pending.take(at_most).map(|(id, intent)| (*id, intent.clone())).collect()
    }
}
