use std::time::Duration;

use async_trait::async_trait;

use super::SimStore;
use super::append::{Complete, Pending, Waits, unavailable};
use super::disk::{Given, Op};
use crate::id::{MsgId, StoreEpoch, Uid, Version};
use crate::memory::State;
use crate::message::{SendKey, TimelineId};
use crate::storage::{
    Conversation, Conversations, Cursor, CursorAck, Cursors, Epochs, Found, Head, HeldNode, NodeLease, Nodes,
    Page, Placed, Post, Read, StoreError, StoreErrorKind, Timelines,
};
use crate::time::Timestamp;

#[async_trait]
impl Timelines for SimStore {
    async fn append(&self, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        self.append_posts(posts).await
    }

    async fn read(&self, reads: Vec<Read>) -> Vec<Result<Page, StoreError>> {
        let timelines: Vec<TimelineId> = reads.iter().map(|read| read.timeline.clone()).collect();
        let pages = self.reading("read", &timelines, |inner| {
            let page =
                |read: &Read| inner.shards[inner.shard_of(&read.timeline)].read(|state| state.read(read));
            reads.iter().map(page).collect::<Vec<Page>>()
        });
        match pages.await {
            Ok(pages) => pages.into_iter().map(Ok).collect(),
            Err(failure) => vec![Err(failure); reads.len()],
        }
    }

    async fn heads(&self, timelines: Vec<TimelineId>) -> Result<Vec<Head>, StoreError> {
        self.reading("heads", &timelines, |inner| {
            let head = |timeline| inner.shards[inner.shard_of(timeline)].read(|state| state.head(timeline));
            timelines.iter().map(head).collect()
        })
        .await
    }

    /// A send whose copy in another shard is still to come is not stored yet.
    async fn find(&self, keys: Vec<(Uid, SendKey)>) -> Result<Vec<Option<Found>>, StoreError> {
        let timelines: Vec<TimelineId> = keys.iter().map(|(uid, _)| TimelineId::User(uid.clone())).collect();
        self.reading("find", &timelines, |inner| {
            let find = |key: &(Uid, SendKey)| {
                let home = &inner.shards[inner.shard_of_user(&key.0)];
                let found = home.read(|state| state.find(key).cloned())?;
                let pending = home.durable_intents().any(|intent| intent.message.msgid == found.placed.msgid);
                (!pending).then_some(found)
            };
            keys.iter().map(find).collect()
        })
        .await
    }

    async fn locate(&self, messages: Vec<(TimelineId, MsgId)>) -> Result<Vec<Option<Version>>, StoreError> {
        let timelines: Vec<TimelineId> = messages.iter().map(|(timeline, _)| timeline.clone()).collect();
        self.reading("locate", &timelines, |inner| {
            let locate = |(timeline, msgid): &(TimelineId, MsgId)| {
                inner.shards[inner.shard_of(timeline)].locate(timeline, *msgid)
            };
            messages.iter().map(locate).collect()
        })
        .await
    }
}

#[async_trait]
impl Conversations for SimStore {
    async fn conversations(
        &self,
        owner: &Uid,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<Conversation>, StoreError> {
        self.reading("conversations", &[TimelineId::User(owner.clone())], |inner| {
            inner.shards[inner.shard_of_user(owner)].read(|state| state.conversations(owner, before, limit))
        })
        .await
    }
}

#[async_trait]
impl Cursors for SimStore {
    async fn ack(&self, acks: Vec<CursorAck>) -> Vec<Result<(), StoreError>> {
        let changes = acks.into_iter().map(|ack| (ack.timeline.clone(), Op::Ack(ack))).collect();
        self.change("ack", changes, |given| match given {
            Given::Acked(answer) => Some(answer),
            _ => None,
        })
        .await
    }

    async fn cursors(&self, of: Vec<(Uid, TimelineId)>) -> Result<Vec<Vec<Cursor>>, StoreError> {
        let timelines: Vec<TimelineId> = of.iter().map(|(_, timeline)| timeline.clone()).collect();
        self.reading("cursors", &timelines, |inner| {
            let cursors =
                |of: &(Uid, TimelineId)| inner.shards[inner.shard_of(&of.1)].read(|state| state.cursors(of));
            of.iter().map(cursors).collect()
        })
        .await
    }
}

#[async_trait]
impl Nodes for SimStore {
    async fn lease_node(&self, holder: &str, now: Timestamp, ttl: Duration) -> Result<NodeLease, StoreError> {
        self.lease("lease_node", Op::Lease { holder: holder.to_owned(), now, ttl }).await
    }

    async fn renew_node(
        &self,
        lease: &NodeLease,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<NodeLease, StoreError> {
        self.lease("renew_node", Op::Renew { lease: lease.clone(), now, ttl }).await
    }

    async fn held_nodes(&self) -> Result<Vec<HeldNode>, StoreError> {
        self.reading("held_nodes", &[first_shard()], |inner| {
            inner.shards[inner.shard_of(&first_shard())].read(State::held_nodes)
        })
        .await
    }

    async fn release_node(&self, lease: &NodeLease, until: Timestamp) -> Result<(), StoreError> {
        let op = Op::Release { lease: lease.clone(), until };
        let answers = self.change("release_node", vec![(first_shard(), op)], |given| match given {
            Given::Released(answer) => Some(answer),
            _ => None,
        });
        answers.await.pop().unwrap_or_else(|| Err(unavailable("release_node")))
    }
}

#[async_trait]
impl Epochs for SimStore {
    async fn epoch(&self) -> Result<StoreEpoch, StoreError> {
        self.reading("epoch", &[first_shard()], |inner| inner.epoch).await
    }

    async fn bump_epoch(&self, now: Timestamp) -> Result<StoreEpoch, StoreError> {
        let raised =
            self.change("bump_epoch", vec![(first_shard(), Op::RaiseFloor(now))], |given| match given {
                Given::Floor(answer) => Some(answer),
                _ => None,
            });
        raised.await.pop().unwrap_or_else(|| Err(unavailable("bump_epoch")))?;
        let mut inner = self.lock();
        inner.epoch = inner.epoch.after(now);
        Ok(inner.epoch)
    }
}

/// A timeline of the first shard, where what belongs to no timeline is kept: no timeline of a group lives there yet.
fn first_shard() -> TimelineId {
    TimelineId::Group(crate::id::GroupId(0))
}

impl SimStore {
    async fn lease(&self, operation: &'static str, op: Op) -> Result<NodeLease, StoreError> {
        let answers = self.change(operation, vec![(first_shard(), op)], |given| match given {
            Given::Lease(answer) => Some(answer),
            _ => None,
        });
        answers.await.pop().unwrap_or_else(|| Err(unavailable(operation)))
    }

    /// Applies changes, each to the shard of its timeline, and waits until they are durable.
    async fn change<T: Complete>(
        &self,
        operation: &'static str,
        changes: Vec<(TimelineId, Op)>,
        value: impl Fn(Given) -> Option<Result<T, StoreError>> + Send,
    ) -> Vec<Result<T, StoreError>> {
        self.travel().await;
        if self.kernel.fails(self.rates.before) {
            return changes.iter().map(|_| Err(unavailable(operation))).collect();
        }
        let timelines: Vec<TimelineId> = changes.iter().map(|(timeline, _)| timeline.clone()).collect();
        if !self.are_up(&timelines) {
            self.perhaps_hang().await;
        }
        let pending = changes.into_iter().map(|(timeline, op)| self.apply(operation, &timeline, op, &value));
        let pending = pending.collect();
        let mut answers = self.durable(operation, pending).await;
        if self.kernel.fails(self.rates.after) {
            answers.fill_with(|| Err(unavailable(operation)));
        }
        self.travel().await;
        answers
    }

    fn apply<T>(
        &self,
        operation: &'static str,
        timeline: &TimelineId,
        op: Op,
        value: impl Fn(Given) -> Option<Result<T, StoreError>>,
    ) -> Pending<T> {
        let mut inner = self.lock();
        let shard = inner.shard_of(timeline);
        if !inner.shards[shard].up {
            return Pending::Settled(Err(unavailable(operation)));
        }
        let (lsn, given) = inner.shards[shard].apply(op);
        let life = inner.shards[shard].life;
        self.sync(&mut inner, shard);
        match value(given) {
            Some(Ok(value)) => Pending::Waits(Waits { shard, life, lsn, copy: None, value }),
            Some(Err(refused)) => Pending::Settled(Err(refused)),
            None => Pending::Settled(Err(StoreError::new(StoreErrorKind::Corrupt, operation))),
        }
    }
}
