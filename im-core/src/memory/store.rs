use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::State;
use super::outbox::in_order;
use crate::id::{MsgId, StoreEpoch, Uid, Version};
use crate::message::{SendKey, TimelineId};
use crate::ports::Clock;
use crate::storage::{
    Conversation, Conversations, Cursor, CursorAck, Cursors, Epochs, Found, Head, HeldNode, NodeLease, Nodes,
    Page, Placed, Post, Read, StoreError, Timelines,
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
#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
    clock: Option<Arc<dyn Clock>>,
}

impl MemoryStore {
    /// A store that starts with `state`.
    pub fn new(state: State) -> Self {
        Self { state: Mutex::new(state), clock: None }
    }

    /// The same with a clock, by which the fences of [`Buckets`](crate::storage::Buckets) end. Without one they last until they are taken away.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock: Some(clock), ..self }
    }

    /// A store of its own with what this one holds now. Later changes to either do not show in the other.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        Self { state: Mutex::new(self.lock().clone()), clock: self.clock.clone() }
    }

    /// Works on the state, with nobody else in between.
    pub fn with_state<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.lock())
    }

    /// A panic inside [`with_state`](Self::with_state) is the caller's; the state's own steps do not panic halfway.
    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(clock) = &self.clock {
            state.moves.now = clock.tick();
        }
        state
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("state", &self.state).finish_non_exhaustive()
    }
}

#[async_trait]
impl Timelines for MemoryStore {
    async fn append(&self, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        let mut state = self.lock();
        in_order(
            posts,
            |post| &post.home,
            |post| {
                state.moves.takes(&post)?;
                state.append(post)
            },
        )
    }

    async fn read(&self, reads: Vec<Read>) -> Vec<Result<Page, StoreError>> {
        let state = self.lock();
        let page = |read: &Read| {
            state.moves.readable(&read.timeline, "read")?;
            Ok(state.read(read))
        };
        reads.iter().map(page).collect()
    }

    async fn heads(&self, timelines: Vec<TimelineId>) -> Result<Vec<Head>, StoreError> {
        let state = self.lock();
        let head = |timeline: &TimelineId| {
            state.moves.readable(timeline, "heads")?;
            Ok(state.head(timeline))
        };
        timelines.iter().map(head).collect()
    }

    async fn find(&self, keys: Vec<(Uid, SendKey)>) -> Result<Vec<Option<Found>>, StoreError> {
        let state = self.lock();
        let find = |key: &(Uid, SendKey)| {
            state.moves.readable(&TimelineId::User(key.0.clone()), "find")?;
            Ok(state.find(key).cloned())
        };
        keys.iter().map(find).collect()
    }

    async fn locate(&self, messages: Vec<(TimelineId, MsgId)>) -> Result<Vec<Option<Version>>, StoreError> {
        let state = self.lock();
        let locate = |(timeline, msgid): &(TimelineId, MsgId)| {
            state.moves.readable(timeline, "locate")?;
            Ok(state.locate(timeline, *msgid))
        };
        messages.iter().map(locate).collect()
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
        let state = self.lock();
        state.moves.readable(&TimelineId::User(owner.clone()), "conversations")?;
        Ok(state.conversations(owner, before, limit))
    }
}

#[async_trait]
impl Cursors for MemoryStore {
    async fn ack(&self, acks: Vec<CursorAck>) -> Vec<Result<(), StoreError>> {
        let mut state = self.lock();
        let mut take = |ack: CursorAck| {
            state.moves.takes_ack(&ack)?;
            state.ack(ack)
        };
        acks.into_iter().map(&mut take).collect()
    }

    async fn cursors(&self, of: Vec<(Uid, TimelineId)>) -> Result<Vec<Vec<Cursor>>, StoreError> {
        let state = self.lock();
        let cursors = |of: &(Uid, TimelineId)| {
            state.moves.readable(&of.1, "cursors")?;
            Ok(state.cursors(of))
        };
        of.iter().map(cursors).collect()
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

    async fn held_nodes(&self) -> Result<Vec<HeldNode>, StoreError> {
        Ok(self.lock().held_nodes())
    }

    async fn release_node(&self, lease: &NodeLease, until: Timestamp) -> Result<(), StoreError> {
        self.lock().nodes.release(lease, until)
    }
}

#[async_trait]
impl Epochs for MemoryStore {
    async fn epoch(&self) -> Result<StoreEpoch, StoreError> {
        Ok(self.lock().epoch)
    }

    async fn bump_epoch(&self, now: Timestamp) -> Result<StoreEpoch, StoreError> {
        let mut state = self.lock();
        state.nodes.raise_floor(now);
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
