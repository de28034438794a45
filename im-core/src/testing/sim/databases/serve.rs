use std::time::Duration;

use async_trait::async_trait;

use super::call::{SimDatabase, unavailable};
use crate::id::{MsgId, StoreEpoch, Uid, Version};
use crate::message::{SendKey, TimelineId};
use crate::storage::{
    Bucket, Buckets, Conversation, Conversations, CopyLimits, CopyOut, CopyPage, Cursor, CursorAck, Cursors,
    Epochs, Found, Head, HeldNode, Intent, IntentId, Mark, Member, MoveId, MovedRow, MovingBucket, NodeLease,
    Nodes, Outbox, Page, Part, Pending, Placed, Post, Read, StoreError, StoredMap, Tally, Timelines,
};
use crate::time::Timestamp;

#[async_trait]
impl Timelines for SimDatabase {
    async fn append(&self, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        let (count, part) = (posts.len(), self.taken(posts));
        let answers = self.change("append", |store| async move { Ok(store.append(part).await) }).await;
        self.told("append", answers, count)
    }

    async fn read(&self, reads: Vec<Read>) -> Vec<Result<Page, StoreError>> {
        let count = reads.len();
        let pages = self.ask("read", |store| async move { Ok(store.read(reads).await) }).await;
        pages.unwrap_or_else(|error| vec![Err(error); count])
    }

    async fn heads(&self, timelines: Vec<TimelineId>) -> Result<Vec<Head>, StoreError> {
        self.ask("heads", |store| async move { store.heads(timelines).await }).await
    }

    async fn find(&self, keys: Vec<(Uid, SendKey)>) -> Result<Vec<Option<Found>>, StoreError> {
        self.ask("find", |store| async move { store.find(keys).await }).await
    }

    async fn locate(&self, messages: Vec<(TimelineId, MsgId)>) -> Result<Vec<Option<Version>>, StoreError> {
        self.ask("locate", |store| async move { store.locate(messages).await }).await
    }
}

#[async_trait]
impl Conversations for SimDatabase {
    async fn conversations(
        &self,
        owner: &Uid,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<Conversation>, StoreError> {
        let owner = owner.clone();
        let ask = |store: std::sync::Arc<crate::memory::MemoryStore>| async move {
            store.conversations(&owner, before, limit).await
        };
        self.ask("conversations", ask).await
    }
}

#[async_trait]
impl Cursors for SimDatabase {
    async fn ack(&self, acks: Vec<CursorAck>) -> Vec<Result<(), StoreError>> {
        let count = acks.len();
        let answers = self.change("ack", |store| async move { Ok(store.ack(acks).await) }).await;
        answers.unwrap_or_else(|error| vec![Err(error); count])
    }

    async fn cursors(&self, of: Vec<(Uid, TimelineId)>) -> Result<Vec<Vec<Cursor>>, StoreError> {
        self.ask("cursors", |store| async move { store.cursors(of).await }).await
    }
}

#[async_trait]
impl Nodes for SimDatabase {
    async fn lease_node(&self, holder: &str, now: Timestamp, ttl: Duration) -> Result<NodeLease, StoreError> {
        let holder = holder.to_owned();
        self.change("lease_node", |store| async move { store.lease_node(&holder, now, ttl).await }).await
    }

    async fn renew_node(
        &self,
        lease: &NodeLease,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<NodeLease, StoreError> {
        let lease = lease.clone();
        self.change("renew_node", |store| async move { store.renew_node(&lease, now, ttl).await }).await
    }

    async fn held_nodes(&self) -> Result<Vec<HeldNode>, StoreError> {
        self.ask("held_nodes", |store| async move { store.held_nodes().await }).await
    }

    async fn release_node(&self, lease: &NodeLease, until: Timestamp) -> Result<(), StoreError> {
        let lease = lease.clone();
        self.change("release_node", |store| async move { store.release_node(&lease, until).await }).await
    }
}

#[async_trait]
impl Epochs for SimDatabase {
    async fn epoch(&self) -> Result<StoreEpoch, StoreError> {
        self.ask("epoch", |store| async move { store.epoch().await }).await
    }

    async fn bump_epoch(&self, now: Timestamp) -> Result<StoreEpoch, StoreError> {
        self.change("bump_epoch", |store| async move { store.bump_epoch(now).await }).await
    }
}

#[async_trait]
impl Outbox for SimDatabase {
    async fn append_parts(&self, parts: Vec<Part>) -> Vec<Result<Placed, StoreError>> {
        let (count, part) = (parts.len(), self.taken(parts));
        let answers =
            self.change("append_parts", |store| async move { Ok(store.append_parts(part).await) }).await;
        self.told("append_parts", answers, count)
    }

    async fn intents(&self, pending: Pending, limit: usize) -> Result<Vec<Intent>, StoreError> {
        self.ask("intents", |store| async move { store.intents(pending, limit).await }).await
    }

    async fn settle(&self, settled: Vec<(IntentId, Version)>) -> Result<(), StoreError> {
        self.change("settle", |store| async move { store.settle(settled).await }).await
    }
}

#[async_trait]
impl Buckets for SimDatabase {
    async fn bucket_map(&self) -> Result<Option<StoredMap>, StoreError> {
        self.ask("bucket_map", |store| async move { store.bucket_map().await }).await
    }

    async fn put_bucket_map(&self, map: StoredMap) -> Result<bool, StoreError> {
        self.turn("put_bucket_map", map.version, |store| async move { store.put_bucket_map(map).await }).await
    }

    async fn next_move(&self) -> Result<MoveId, StoreError> {
        self.change("next_move", |store| async move { store.next_move().await }).await
    }

    async fn moving_buckets(&self) -> Result<Vec<MovingBucket>, StoreError> {
        self.ask("moving_buckets", |store| async move { store.moving_buckets().await }).await
    }

    async fn member(&self) -> Result<Option<Member>, StoreError> {
        self.ask("member", |store| async move { store.member().await }).await
    }

    async fn join(&self, member: Member) -> Result<Member, StoreError> {
        self.change("join", |store| async move { store.join(member).await }).await
    }

    async fn some_timelines(&self, limit: usize) -> Result<Vec<TimelineId>, StoreError> {
        self.ask("some_timelines", |store| async move { store.some_timelines(limit).await }).await
    }

    async fn index_buckets(&self, limit: usize) -> Result<bool, StoreError> {
        self.change("index_buckets", |store| async move { store.index_buckets(limit).await }).await
    }

    async fn depart(&self, id: MoveId, buckets: Vec<Bucket>, to: u16) -> Result<(), StoreError> {
        self.turn("depart", id.0, |store| async move { store.depart(id, buckets, to).await }).await
    }

    async fn arrive(&self, id: MoveId, buckets: Vec<Bucket>, to: u16) -> Result<(), StoreError> {
        self.turn("arrive", id.0, |store| async move { store.arrive(id, buckets, to).await }).await
    }

    async fn clear(&self, id: MoveId, limit: usize) -> Result<bool, StoreError> {
        self.turn("clear", id.0, |store| async move { store.clear(id, limit).await }).await
    }

    async fn mark(&self, id: MoveId) -> Result<Mark, StoreError> {
        self.ask("mark", |store| async move { store.mark(id).await }).await
    }

    async fn copy_out(&self, id: MoveId, ask: CopyOut, limits: CopyLimits) -> Result<CopyPage, StoreError> {
        self.ask("copy_out", |store| async move { store.copy_out(id, ask, limits).await }).await
    }

    async fn copy_in(&self, id: MoveId, rows: Vec<MovedRow>) -> Result<(), StoreError> {
        self.turn("copy_in", id.0, |store| async move { store.copy_in(id, rows).await }).await
    }

    async fn tally(&self, id: MoveId) -> Result<Tally, StoreError> {
        self.ask("tally", |store| async move { store.tally(id).await }).await
    }

    async fn fence(&self, id: MoveId, lease: Duration) -> Result<Mark, StoreError> {
        self.turn("fence", id.0, |store| async move { store.fence(id, lease).await }).await
    }

    async fn unfence(&self, id: MoveId) -> Result<(), StoreError> {
        self.turn("unfence", id.0, |store| async move { store.unfence(id).await }).await
    }

    async fn release(&self, id: MoveId) -> Result<(), StoreError> {
        self.turn("release", id.0, |store| async move { store.release(id).await }).await
    }

    async fn own(&self, id: MoveId) -> Result<(), StoreError> {
        self.turn("own", id.0, |store| async move { store.own(id).await }).await
    }
}

impl SimDatabase {
    /// What of a batch the database takes before it fails, if it fails for a part of it.
    fn taken<T>(&self, mut batch: Vec<T>) -> Vec<T> {
        let kernel = &self.all.kernel;
        if !batch.is_empty() && kernel.fails(self.all.rates.part) {
            kernel.count(|counts| counts.calls_failed_in_part += 1);
            batch.truncate(kernel.dice(|dice| dice.index(batch.len())));
        }
        batch
    }

    /// The answers of what was taken, and failures for the rest.
    fn told(
        &self,
        operation: &'static str,
        answers: Result<Vec<Result<Placed, StoreError>>, StoreError>,
        count: usize,
    ) -> Vec<Result<Placed, StoreError>> {
        let mut answers = answers.unwrap_or_default();
        let repeats = answers.iter().flatten().filter(|placed| placed.repeated).count();
        self.all.kernel.count(|counts| counts.repeats_recognised += super::num(repeats));
        answers.resize_with(count, || Err(unavailable(operation)));
        answers
    }
}
