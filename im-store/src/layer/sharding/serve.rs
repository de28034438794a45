use std::time::Duration;

use async_trait::async_trait;
use im_core::id::{MsgId, StoreEpoch, Uid, Version};
use im_core::message::{SendKey, TimelineId};
use im_core::storage::{
    Conversation, Conversations, Cursor, CursorAck, Cursors, Epochs, Found, Head, NodeLease, Nodes, Page,
    Placed, Post, Read, Shard, StoreError, StoreErrorKind, Timelines,
};
use im_core::time::Timestamp;

use super::ShardedStore;
use super::scatter::{scatter, scatter_each};

#[async_trait]
impl Timelines for ShardedStore {
    async fn append(&self, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        self.place(posts).await
    }

    async fn read(&self, reads: Vec<Read>) -> Vec<Result<Page, StoreError>> {
        let map = self.map();
        let reads = reads.into_iter().map(|read| (map.database_of(&read.timeline), read));
        scatter_each("read", reads, |database, reads| self.databases[database].read(reads)).await
    }

    async fn heads(&self, timelines: Vec<TimelineId>) -> Result<Vec<Head>, StoreError> {
        let map = self.map();
        let timelines = timelines.into_iter().map(|timeline| (map.database_of(&timeline), timeline));
        let heads = scatter("heads", timelines, |database, asked| self.databases[database].heads(asked));
        heads.await.into_iter().collect()
    }

    async fn find(&self, keys: Vec<(Uid, SendKey)>) -> Result<Vec<Option<Found>>, StoreError> {
        let map = self.map();
        let keys = keys.into_iter().map(|key| (map.database_of_user(&key.0), key));
        let found = scatter("find", keys, |database, asked| self.databases[database].find(asked));
        found.await.into_iter().collect()
    }

    async fn locate(&self, messages: Vec<(TimelineId, MsgId)>) -> Result<Vec<Option<Version>>, StoreError> {
        let map = self.map();
        let messages = messages.into_iter().map(|message| (map.database_of(&message.0), message));
        let places = scatter("locate", messages, |database, asked| self.databases[database].locate(asked));
        places.await.into_iter().collect()
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
        let database = self.map().database_of_user(owner);
        self.databases[database].conversations(owner, before, limit).await
    }
}

#[async_trait]
impl Cursors for ShardedStore {
    async fn ack(&self, acks: Vec<CursorAck>) -> Vec<Result<(), StoreError>> {
        let map = self.map();
        let acks = acks.into_iter().map(|ack| (map.database_of(&ack.timeline), ack));
        scatter_each("ack", acks, |database, acks| self.databases[database].ack(acks)).await
    }

    async fn cursors(&self, of: Vec<(Uid, TimelineId)>) -> Result<Vec<Vec<Cursor>>, StoreError> {
        let map = self.map();
        let of = of.into_iter().map(|of| (map.database_of(&of.1), of));
        let cursors = scatter("cursors", of, |database, asked| self.databases[database].cursors(asked));
        cursors.await.into_iter().collect()
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
    fn first(&self, operation: &'static str) -> Result<&dyn Shard, StoreError> {
        let first =
            self.databases.first().ok_or_else(|| StoreError::new(StoreErrorKind::Corrupt, operation))?;
        Ok(&**first)
    }
}
