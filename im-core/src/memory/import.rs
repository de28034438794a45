use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::timeline::Timeline;
use super::{MemoryStore, State};
use crate::id::Version;
use crate::message::TimelineId;
use crate::storage::{CursorAck, Head, Import, Misfit, Place, Row, RowKind, StoreError, StoredPost};

/// An [`Import`] into a [`MemoryStore`], which gets everything when it is finished, and nothing before.
#[derive(Debug)]
pub struct MemoryImport {
    store: Arc<MemoryStore>,
    state: State,
    announced: BTreeMap<TimelineId, Version>,
    turn: RowKind,
}

/// The store to import into holds something already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store to import into is not empty")]
pub struct NotEmpty;

impl MemoryImport {
    /// Begins an import into `store`.
    ///
    /// # Errors
    /// [`NotEmpty`].
    pub fn new(store: Arc<MemoryStore>) -> Result<Self, NotEmpty> {
        match store.with_state(|state| state.is_empty()) {
            true => Ok(Self {
                store,
                state: State::default(),
                announced: BTreeMap::new(),
                turn: RowKind::default(),
            }),
            false => Err(NotEmpty),
        }
    }

    fn take(&mut self, row: Row) -> Result<(), Misfit> {
        let kind = row.kind();
        if kind < self.turn {
            return Err(Misfit::OutOfTurn { came: kind, after: self.turn });
        }
        self.turn = kind;
        match row {
            Row::Timeline(timeline, head) => self.announce(timeline, head),
            Row::Post(post) => self.state.import_post(*post),
            Row::Cursor(ack) => self.state.import_cursor(ack),
            Row::Node(held) => {
                self.state.nodes.import(held).then_some(()).ok_or(Misfit::Twice("node number"))
            }
        }
    }

    fn announce(&mut self, timeline: TimelineId, head: Head) -> Result<(), Misfit> {
        if self.announced.insert(timeline.clone(), head.head).is_some() {
            return Err(Misfit::Twice("timeline"));
        }
        self.state.timelines.insert(timeline, Timeline::above(head.floor));
        Ok(())
    }
}

#[async_trait]
impl Import for MemoryImport {
    async fn import(&mut self, rows: Vec<Row>) -> Result<(), StoreError> {
        Ok(rows.into_iter().try_for_each(|row| self.take(row))?)
    }

    async fn finish(self: Box<Self>) -> Result<(), StoreError> {
        let Self { store, state, announced, .. } = *self;
        for (timeline, announced) in announced {
            let head = state.head(&timeline).head;
            if head != announced {
                return Err(Misfit::Incomplete { timeline, head, announced }.into());
            }
        }
        store.with_state(|empty| *empty = state);
        Ok(())
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.timelines.is_empty() && self.cursors.is_empty() && self.nodes.held().len() == 0
    }

    fn import_post(&mut self, post: StoredPost) -> Result<(), Misfit> {
        for place in post.places() {
            self.import_entry(place, &post)?;
        }
        self.remember(post).then_some(()).ok_or(Misfit::Twice("send key"))
    }

    fn import_entry(&mut self, place: &Place, post: &StoredPost) -> Result<(), Misfit> {
        let Place { timeline, version } = place;
        let known = self.timelines.get(timeline).ok_or_else(|| Misfit::Unannounced(timeline.clone()))?;
        let Head { floor, head } = known.bounds();
        if *version <= floor {
            return Ok(());
        }
        if *version != head.next() {
            return Err(Misfit::Version { timeline: timeline.clone(), head, came: *version });
        }
        if known.locate(post.message.msgid).is_some() {
            return Err(Misfit::Twice("msgid"));
        }
        self.enter(timeline.clone(), &post.message, post.withdrawn_at);
        Ok(())
    }

    fn import_cursor(&mut self, ack: CursorAck) -> Result<(), Misfit> {
        let CursorAck { uid, device, timeline, version } = ack;
        let head = self.head(&timeline).head;
        if version > head {
            return Err(Misfit::Ahead { timeline, head, cursor: version });
        }
        let known = self.cursors.entry((uid, timeline)).or_default().insert(device, version);
        known.is_none().then_some(()).ok_or(Misfit::Twice("cursor"))
    }
}
