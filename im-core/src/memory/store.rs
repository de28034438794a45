use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::State;
use super::outbox::in_order;
use crate::id::{MsgId, StoreEpoch, Uid, Version};
use crate::message::{SendKey, TimelineId};
use crate::storage::{
    Conversation, Conversations, Cursor, CursorAck, Cursors, Epochs, Found, Head, NodeLease, Nodes, Page,
    Placed, Post, Read, StoreError, Timelines,
};
use crate::time::Timestamp;

/// A [`Store`](crate::storage::Store) in memory: a [`State`] behind a lock. What it acknowledges lasts as long as it does.
///
/// ```
/// use im_core::memory::MemoryStore;
/// use im_core::storage::Timelines;
/// # futures::executor::block_on(async {
/// let store = MemoryStore::default();
/// assert_eq!(store.heads(Vec::new()).await?, []);
/// # Ok::<(), im_core::storage::StoreError>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

impl MemoryStore {
    /// A store that starts with `state`.
    pub fn new(state: State) -> Self {
        Self { state: Mutex::new(state) }
    }

    /// A store of its own with what this one holds now. Later changes to either do not show in the other.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        Self::new(self.lock().clone())
    }

    /// Works on the state, with nobody else in between.
    pub fn with_state<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.lock())
    }

    /// A panic inside [`with_state`](Self::with_state) is the caller's; the state's own steps do not panic halfway.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Timelines for MemoryStore {
    async fn append(&self, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        let mut state = self.lock();
        in_order(posts, |post| &post.home, |post| state.append(post))
    }

    async fn read(&self, reads: Vec<Read>) -> Vec<Result<Page, StoreError>> {
        let state = self.lock();
        reads.iter().map(|read| Ok(state.read(read))).collect()
    }

    async fn heads(&self, timelines: Vec<TimelineId>) -> Result<Vec<Head>, StoreError> {
        let state = self.lock();
        Ok(timelines.iter().map(|timeline| state.head(timeline)).collect())
    }

    async fn find(&self, keys: Vec<(Uid, SendKey)>) -> Result<Vec<Option<Found>>, StoreError> {
        let state = self.lock();
        Ok(keys.iter().map(|key| state.find(key).cloned()).collect())
    }

    async fn locate(&self, messages: Vec<(TimelineId, MsgId)>) -> Result<Vec<Option<Version>>, StoreError> {
        let state = self.lock();
        Ok(messages.iter().map(|(timeline, msgid)| state.locate(timeline, *msgid)).collect())
    }
}

#[async_trait]
impl Conversations for MemoryStore {
    async fn conversations(
        &self,
        owner: &Uid,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<Conversation>, StoreError> {
        Ok(self.lock().conversations(owner, before, limit))
    }
}

#[async_trait]
impl Cursors for MemoryStore {
    async fn ack(&self, acks: Vec<CursorAck>) -> Vec<Result<(), StoreError>> {
        let mut state = self.lock();
        acks.into_iter().map(|ack| state.ack(ack)).collect()
    }

    async fn cursors(&self, of: Vec<(Uid, TimelineId)>) -> Result<Vec<Vec<Cursor>>, StoreError> {
        let state = self.lock();
        Ok(of.iter().map(|of| state.cursors(of)).collect())
    }
}

#[async_trait]
impl Nodes for MemoryStore {
    async fn lease_node(&self, holder: &str, now: Timestamp, ttl: Duration) -> Result<NodeLease, StoreError> {
        self.lock().nodes.lease(holder, now, ttl)
    }

    async fn renew_node(
        &self,
        lease: &NodeLease,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<NodeLease, StoreError> {
        self.lock().nodes.renew(lease, now, ttl)
    }
}

#[async_trait]
impl Epochs for MemoryStore {
    async fn epoch(&self) -> Result<StoreEpoch, StoreError> {
        Ok(self.lock().epoch)
    }

    async fn bump_epoch(&self, now: Timestamp) -> Result<StoreEpoch, StoreError> {
        let mut state = self.lock();
        state.epoch = state.epoch.after(now);
        Ok(state.epoch)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures::executor::block_on;

    use super::*;
    use crate::storage::Post;

    fn post() -> Post {
        use crate::id::{ClientMsgId, GroupId};
        use crate::message::{ContentType, Message, Target};
        let message = Message {
            msgid: MsgId(1),
            kind: im_proto::CmdId::C2G_SEND,
            from: Uid::new("alice").unwrap(),
            to: Target::Group(GroupId(7)),
            key: SendKey::Client(ClientMsgId::new("k").unwrap()),
            content_type: ContentType(0),
            content: bytes::Bytes::new(),
            sent_at: Timestamp(0),
        };
        Post { message, home: TimelineId::Group(GroupId(7)), copy: None }
    }

    #[test]
    fn a_snapshot_shares_nothing_with_its_store() {
        let store = MemoryStore::default();
        let before = store.snapshot();
        block_on(store.append(vec![post()])).remove(0).unwrap();
        let after = store.snapshot();
        let heads = |store: &MemoryStore| block_on(store.heads(vec![post().home])).unwrap()[0].head.0;
        assert_eq!((heads(&before), heads(&after)), (0, 1));
        assert!(!block_on(before.append(vec![post()])).remove(0).unwrap().repeated);
        assert!(block_on(after.append(vec![post()])).remove(0).unwrap().repeated);
    }

    #[test]
    fn the_steps_of_an_append_stand_alone() {
        let store = MemoryStore::default();
        let versions = store.with_state(|state| [state.place(post()).home, state.place(post()).home]);
        assert_eq!(versions, [Version(1), Version(2)], "placing checks nothing");
    }
}
