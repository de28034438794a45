use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use foldhash::fast::FixedState;
use im_core::id::{MsgId, StoreEpoch, Uid, Version};
use im_core::memory::MemoryStore;
use im_core::message::{SendKey, TimelineId};
use im_core::storage::{
    Conversation, Conversations, Cursor, CursorAck, Cursors, Epochs, Found, Head, HeldNode, NodeLease, Nodes,
    Page, Placed, Post, Read, StoreError, Timelines,
};
use im_core::time::Timestamp;

/// A store that counts versions and forgets the messages.
#[derive(Default)]
pub(super) struct AtOnce {
    /// Without a random seed, so that it takes the same steps each time.
    heads: Mutex<HashMap<TimelineId, Version, FixedState>>,
    nodes: MemoryStore,
}

#[async_trait]
impl Timelines for AtOnce {
    async fn append(&self, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        let mut heads = self.heads.lock().unwrap();
        let mut next = |timeline: TimelineId| {
            let head = heads.entry(timeline).or_default();
            *head = head.next();
            *head
        };
        let mut place = |post: Post| {
            let (msgid, sent_at) = (post.message.msgid, post.message.sent_at);
            let (home, copy) = (next(post.home), post.copy.map(&mut next));
            Ok(Placed { msgid, sent_at, home, copy, repeated: false })
        };
        posts.into_iter().map(&mut place).collect()
    }

    async fn read(&self, reads: Vec<Read>) -> Vec<Result<Page, StoreError>> {
        reads.iter().map(|_| Ok(Page::default())).collect()
    }

    async fn heads(&self, timelines: Vec<TimelineId>) -> Result<Vec<Head>, StoreError> {
        Ok(vec![Head::default(); timelines.len()])
    }

    async fn find(&self, keys: Vec<(Uid, SendKey)>) -> Result<Vec<Option<Found>>, StoreError> {
        Ok(vec![None; keys.len()])
    }

    async fn locate(&self, messages: Vec<(TimelineId, MsgId)>) -> Result<Vec<Option<Version>>, StoreError> {
        Ok(vec![None; messages.len()])
    }
}

#[async_trait]
impl Conversations for AtOnce {
    async fn conversations(
        &self,
        _: &Uid,
        _: Option<Version>,
        _: usize,
    ) -> Result<Vec<Conversation>, StoreError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Cursors for AtOnce {
    async fn ack(&self, acks: Vec<CursorAck>) -> Vec<Result<(), StoreError>> {
        vec![Ok(()); acks.len()]
    }

    async fn cursors(&self, of: Vec<(Uid, TimelineId)>) -> Result<Vec<Vec<Cursor>>, StoreError> {
        Ok(vec![Vec::new(); of.len()])
    }
}

#[async_trait]
impl Nodes for AtOnce {
    async fn lease_node(&self, holder: &str, now: Timestamp, ttl: Duration) -> Result<NodeLease, StoreError> {
        self.nodes.lease_node(holder, now, ttl).await
    }

    async fn renew_node(
        &self,
        lease: &NodeLease,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<NodeLease, StoreError> {
        self.nodes.renew_node(lease, now, ttl).await
    }

    async fn held_nodes(&self) -> Result<Vec<HeldNode>, StoreError> {
        self.nodes.held_nodes().await
    }

    async fn release_node(&self, lease: &NodeLease, until: Timestamp) -> Result<(), StoreError> {
        self.nodes.release_node(lease, until).await
    }
}

#[async_trait]
impl Epochs for AtOnce {
    async fn epoch(&self) -> Result<StoreEpoch, StoreError> {
        self.nodes.epoch().await
    }

    async fn bump_epoch(&self, now: Timestamp) -> Result<StoreEpoch, StoreError> {
        self.nodes.bump_epoch(now).await
    }
}
