use std::collections::BTreeMap;
use std::time::Duration;

use futures::FutureExt;

use super::PlaceFn;
use crate::id::{MsgId, Version};
use crate::memory::MemoryStore;
use crate::message::{Message, TimelineId};
use crate::storage::{CursorAck, Epochs as _, NodeLease, Nodes, Placed, Post, StoreError, StoreErrorKind};
use crate::time::Timestamp;

/// What one database holds: a state, and the copies that are still to be made elsewhere.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) store: MemoryStore,
    place: PlaceFn,
    outbox: BTreeMap<u64, Intent>,
    next_intent: u64,
}

/// A message that is stored with its sender and has to be copied to its receiver.
#[derive(Clone, Debug)]
pub(super) struct Intent {
    pub(super) message: Message,
    pub(super) into: TimelineId,
}

/// A change. The same changes in the same order make the same disk.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Post { post: Post, copy_elsewhere: Option<TimelineId> },
    Copy(Intent),
    Copied(u64),
    Ack(CursorAck),
    Lease { holder: String, now: Timestamp, ttl: Duration },
    Renew { lease: NodeLease, now: Timestamp, ttl: Duration },
    Release { lease: NodeLease, until: Timestamp },
    RaiseFloor(Timestamp),
}

/// What a change gave.
#[derive(Clone, Debug)]
pub(super) enum Given {
    Placed(Result<Placed, StoreError>),
    Lease(Result<NodeLease, StoreError>),
    Acked(Result<(), StoreError>),
    Released(Result<(), StoreError>),
    Floor(Result<(), StoreError>),
    Nothing,
}

impl Disk {
    pub(super) fn new(place: PlaceFn) -> Self {
        Self { store: MemoryStore::default(), place, outbox: BTreeMap::new(), next_intent: 0 }
    }

    pub(super) fn copy(&self) -> Self {
        Self {
            store: self.store.snapshot(),
            place: self.place,
            outbox: self.outbox.clone(),
            next_intent: self.next_intent,
        }
    }

    pub(super) fn outbox(&self) -> &BTreeMap<u64, Intent> {
        &self.outbox
    }

    pub(super) fn locate(&self, timeline: &TimelineId, msgid: MsgId) -> Option<Version> {
        self.store.with_state(|state| state.locate(timeline, msgid))
    }

    pub(super) fn apply(&mut self, op: Op) -> Given {
        match op {
            Op::Post { post, copy_elsewhere } => Given::Placed(self.post(post, copy_elsewhere)),
            Op::Copy(intent) => self.receive(intent),
            Op::Copied(intent) => {
                self.outbox.remove(&intent);
                Given::Nothing
            }
            Op::Ack(ack) => Given::Acked(self.store.with_state(|state| state.ack(ack))),
            Op::Lease { holder, now, ttl } => {
                Given::Lease(at_once(self.store.lease_node(&holder, now, ttl).now_or_never(), "lease_node"))
            }
            Op::RaiseFloor(now) => {
                // Its epoch is of no use: the whole store has one.
                let raised = at_once(self.store.bump_epoch(now).now_or_never(), "bump_epoch");
                Given::Floor(raised.map(|_| ()))
            }
            Op::Renew { lease, now, ttl } => {
                Given::Lease(at_once(self.store.renew_node(&lease, now, ttl).now_or_never(), "renew_node"))
            }
            Op::Release { lease, until } => Given::Released(at_once(
                self.store.release_node(&lease, until).now_or_never(),
                "release_node",
            )),
        }
    }

    fn post(&mut self, post: Post, copy_elsewhere: Option<TimelineId>) -> Result<Placed, StoreError> {
        let message = post.message.clone();
        let placed = self.store.with_state(|state| (self.place)(state, post))?;
        if let (Some(into), false) = (copy_elsewhere, placed.repeated) {
            self.outbox.insert(self.next_intent, Intent { message, into });
            self.next_intent += 1;
        }
        Ok(placed)
    }

    /// A copy is recognised by its msgid.
    fn receive(&mut self, intent: Intent) -> Given {
        let Intent { message, into } = intent;
        self.store.with_state(|state| {
            if state.locate(&into, message.msgid).is_none() {
                state.place(Post { message, home: into, copy: None });
            }
        });
        Given::Nothing
    }
}

/// The store in memory never waits.
fn at_once<T>(answer: Option<Result<T, StoreError>>, operation: &'static str) -> Result<T, StoreError> {
    answer.unwrap_or_else(|| Err(StoreError::new(StoreErrorKind::Corrupt, operation)))
}
