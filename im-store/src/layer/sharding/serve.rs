use std::time::Duration;

use async_trait::async_trait;
use im_core::id::{MsgId, StoreEpoch, Uid, Version};
use im_core::message::{SendKey, TimelineId};
use im_core::storage::{
    Conversation, Conversations, Cursor, CursorAck, Cursors, Epochs, Found, Head, HeldNode, NodeLease, Nodes,
    Page, Placed, Post, Read, Shard, StoreError, StoreErrorKind, Timelines,
};
use im_core::time::Timestamp;

use super::scatter::{each, scatter_each};
use super::{BucketMap, ShardedStore};

#[async_trait]
impl Timelines for ShardedStore {
    async fn append(&self, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        self.place(posts).await
    }

    async fn read(&self, reads: Vec<Read>) -> Vec<Result<Page, StoreError>> {
        let route = |map: &BucketMap, read: &Read| map.database_of(&read.timeline);
        self.ask("read", reads, route, |database, reads| self.databases[database].read(reads)).await
    }

    async fn heads(&self, timelines: Vec<TimelineId>) -> Result<Vec<Head>, StoreError> {
        let ask = |database: usize, asked| self.databases[database].heads(asked);
        self.ask_all("heads", timelines, BucketMap::database_of, ask).await
    }

    async fn find(&self, keys: Vec<(Uid, SendKey)>) -> Result<Vec<Option<Found>>, StoreError> {
        let route = |map: &BucketMap, key: &(Uid, SendKey)| map.database_of_user(&key.0);
        self.ask_all("find", keys, route, |database, asked| self.databases[database].find(asked)).await
    }

    async fn locate(&self, messages: Vec<(TimelineId, MsgId)>) -> Result<Vec<Option<Version>>, StoreError> {
        let route = |map: &BucketMap, message: &(TimelineId, MsgId)| map.database_of(&message.0);
        self.ask_all("locate", messages, route, |database, asked| self.databases[database].locate(asked))
            .await
    }
}

#[async_trait]
impl Conversations for ShardedStore {
    async fn conversations(
        &self,
        owner: &Uid,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<Conversation>, StoreError> {
        let mut patience = self.patience();
        loop {
            let database = self.map().database_of_user(owner);
            let page = self.databases[database].conversations(owner, before, limit).await;
            match page {
                Err(error) if has_moved(&error) && self.follow(&mut patience).await => {}
                page => return page,
            }
        }
    }
}

#[async_trait]
impl Cursors for ShardedStore {
    async fn ack(&self, acks: Vec<CursorAck>) -> Vec<Result<(), StoreError>> {
        let route = |map: &BucketMap, ack: &CursorAck| map.database_of(&ack.timeline);
        self.ask("ack", acks, route, |database, acks| self.databases[database].ack(acks)).await
    }

    async fn cursors(&self, of: Vec<(Uid, TimelineId)>) -> Result<Vec<Vec<Cursor>>, StoreError> {
        let route = |map: &BucketMap, of: &(Uid, TimelineId)| map.database_of(&of.1);
        self.ask_all("cursors", of, route, |database, asked| self.databases[database].cursors(asked)).await
    }
}

#[async_trait]
impl Nodes for ShardedStore {
    async fn lease_node(&self, holder: &str, now: Timestamp, ttl: Duration) -> Result<NodeLease, StoreError> {
        self.first("lease_node")?.lease_node(holder, now, ttl).await
    }

    async fn renew_node(
        &self,
        lease: &NodeLease,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<NodeLease, StoreError> {
        self.first("renew_node")?.renew_node(lease, now, ttl).await
    }

    async fn held_nodes(&self) -> Result<Vec<HeldNode>, StoreError> {
        self.first("held_nodes")?.held_nodes().await
    }

    async fn release_node(&self, lease: &NodeLease, until: Timestamp) -> Result<(), StoreError> {
        self.first("release_node")?.release_node(lease, until).await
    }
}

#[async_trait]
impl Epochs for ShardedStore {
    async fn epoch(&self) -> Result<StoreEpoch, StoreError> {
        self.first("epoch")?.epoch().await
    }

    async fn bump_epoch(&self, now: Timestamp) -> Result<StoreEpoch, StoreError> {
        self.first("bump_epoch")?.bump_epoch(now).await
    }
}

impl ShardedStore {
    /// Asks each question where its answer is kept, and again where that has moved to.
    async fn ask<Q: Clone, A, F>(
        &self,
        operation: &'static str,
        questions: Vec<Q>,
        route: impl Fn(&BucketMap, &Q) -> usize,
        ask: impl Fn(usize, Vec<Q>) -> F,
    ) -> Vec<Result<A, StoreError>>
    where
        F: Future<Output = Vec<Result<A, StoreError>>>,
    {
        let routed = |questions: &[Q]| {
            let map = self.map();
            questions.iter().map(|question| (route(&map, question), question.clone())).collect::<Vec<_>>()
        };
        let mut answers = scatter_each(operation, routed(&questions), &ask).await;
        let mut patience = self.patience();
        loop {
            let moved =
                answers.iter().enumerate().filter(|(_, answer)| answer.as_ref().is_err_and(has_moved));
            let moved: Vec<usize> = moved.map(|(place, _)| place).collect();
            if moved.is_empty() || !self.follow(&mut patience).await {
                return answers;
            }
            let again: Vec<Q> = moved.iter().map(|place| questions[*place].clone()).collect();
            let found = scatter_each(operation, routed(&again), &ask).await;
            for (place, answer) in moved.into_iter().zip(found) {
                answers[place] = answer;
            }
        }
    }

    /// The same for calls that answer all questions or none.
    async fn ask_all<Q: Clone, A, F>(
        &self,
        operation: &'static str,
        questions: Vec<Q>,
        route: impl Fn(&BucketMap, &Q) -> usize,
        ask: impl Fn(usize, Vec<Q>) -> F,
    ) -> Result<Vec<A>, StoreError>
    where
        F: Future<Output = Result<Vec<A>, StoreError>>,
    {
        let each = async |database, questions: Vec<Q>| {
            let count = questions.len();
            each(ask(database, questions), count).await
        };
        self.ask(operation, questions, route, each).await.into_iter().collect()
    }

    pub(super) fn first(&self, operation: &'static str) -> Result<&dyn Shard, StoreError> {
        let first =
            self.databases.first().ok_or_else(|| StoreError::new(StoreErrorKind::Corrupt, operation))?;
        Ok(&**first)
    }
}

/// Whether a database refused because it does not own the bucket.
pub(super) fn has_moved(error: &StoreError) -> bool {
    error.kind() == StoreErrorKind::Moved
}
