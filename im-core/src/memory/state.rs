use std::collections::BTreeMap;
use std::sync::Arc;

use super::buckets::{Log, LogRow, MoveTable};
use super::nodes::NodeTable;
use super::timeline::Timeline;
use crate::id::{DeviceId, MsgId, StoreEpoch, Uid, Version};
use crate::message::{Message, SendKey, TimelineId};
use crate::storage::{
    Conversation, Cursor, CursorAck, Found, Head, HeldNode, MAX_CURSORS, Page, Place, Placed, Post, Read,
    StoreError, StoreErrorKind, StoredPost,
};
use crate::time::Timestamp;

/// What a store holds, and the steps that change it, as plain functions.
///
/// Cloning copies everything (contents are shared, they never change). The steps of an append stand alone, so that the simulation's mutants
/// can leave one out: [`repeat_of`](Self::repeat_of), [`check_msgid`](Self::check_msgid), [`place`](Self::place).
#[derive(Clone, Debug, Default)]
pub struct State {
    pub(super) timelines: BTreeMap<TimelineId, Timeline>,
    pub(super) sends: BTreeMap<(Uid, SendKey), Found>,
    pub(super) outbox: super::outbox::IntentTable,
    pub(super) moves: MoveTable,
    pub(super) log: Log,
    /// Every post, in the order of placing.
    pub(super) posts: Vec<Arc<StoredPost>>,
    pub(super) cursors: BTreeMap<(Uid, TimelineId), BTreeMap<DeviceId, Version>>,
    pub(super) nodes: NodeTable,
    pub(super) epoch: StoreEpoch,
}

impl State {
    /// Stores one post, or recognises it: what [`Timelines::append`](crate::storage::Timelines::append) does with each.
    ///
    /// # Errors
    /// `KeyReused`, `MsgIdReused`.
    pub fn append(&mut self, post: Post) -> Result<Placed, StoreError> {
        if let Some(known) = self.repeat_of(&post) {
            return known;
        }
        self.check_msgid(&post)?;
        Ok(self.place(post))
    }

    /// The last lease of every number that was ever taken.
    pub(crate) fn held_nodes(&self) -> Vec<HeldNode> {
        self.nodes.held().filter(|held| !held.is_floor()).collect()
    }

    /// The answer to a post whose key is known: its first placement, or `KeyReused` if it says something else now. `None` if the
    /// key is new.
    pub fn repeat_of(&self, post: &Post) -> Option<Result<Placed, StoreError>> {
        let key = (post.message.from.clone(), post.message.key.clone());
        let known = self.known(&key, post)?;
        Some(match self.outbox.is_pending(&key) {
            true => known.and(Err(StoreError::new(StoreErrorKind::Unavailable, "append"))),
            false => known,
        })
    }

    /// The same, for a send that may be pending: what is known of its placement.
    pub(super) fn known(&self, key: &(Uid, SendKey), post: &Post) -> Option<Result<Placed, StoreError>> {
        let found = self.sends.get(key)?;
        Some(match found.digest == post.message.digest() {
            true => Ok(found.placed.clone()),
            false => Err(StoreError::new(StoreErrorKind::KeyReused, "append")),
        })
    }

    /// Whether the msgid is free in the post's timelines.
    ///
    /// # Errors
    /// `MsgIdReused` if it is not.
    pub fn check_msgid(&self, post: &Post) -> Result<(), StoreError> {
        let taken = |timeline| self.locate(timeline, post.message.msgid).is_some();
        match taken(&post.home) || post.copy.as_ref().is_some_and(taken) {
            true => Err(StoreError::new(StoreErrorKind::MsgIdReused, "append")),
            false => Ok(()),
        }
    }

    /// Gives a post its versions, stores it, and remembers its key. Checks nothing.
    pub fn place(&mut self, post: Post) -> Placed {
        let Post { message, home, copy } = post;
        let copy = copy.filter(|copy| *copy != home);
        let digest = message.digest();
        let copy = copy.map(|timeline| self.enter(timeline, &message, None));
        let home = self.enter(home, &message, None);
        let placed = Placed {
            msgid: message.msgid,
            sent_at: message.sent_at,
            home: home.version,
            copy: copy.as_ref().map(|copy| copy.version),
            repeated: false,
        };
        self.remember(StoredPost { message, digest, withdrawn_at: None, home, copy });
        placed
    }

    /// Gives a message its version in a timeline, and stores it there.
    pub(super) fn enter(
        &mut self,
        timeline: TimelineId,
        message: &Message,
        withdrawn_at: Option<Timestamp>,
    ) -> Place {
        let entries = self.timelines.entry(timeline.clone()).or_default();
        let version = entries.push(&timeline, message.clone(), withdrawn_at);
        Place { timeline, version }
    }

    /// Keeps a post's key; false if it was known.
    pub(super) fn remember(&mut self, post: StoredPost) -> bool {
        let placed = Placed {
            msgid: post.message.msgid,
            sent_at: post.message.sent_at,
            home: post.home.version,
            copy: post.copy.as_ref().map(|copy| copy.version),
            repeated: true,
        };
        let key = (post.message.from.clone(), post.message.key.clone());
        let known = self.sends.insert(key, Found { digest: post.digest, placed });
        self.log.add(LogRow {
            message: post.message.clone(),
            digest: post.digest,
            withdrawn_at: post.withdrawn_at,
            entries: post.places().filter(|place| place.version > self.floor(place)).cloned().collect(),
            key: Some((post.home.timeline.clone(), post.copy.as_ref().map(|copy| copy.timeline.clone()))),
        });
        self.posts.push(Arc::new(post));
        known.is_none()
    }

    fn floor(&self, place: &Place) -> Version {
        self.head(&place.timeline).floor
    }

    /// Reads a part of a timeline.
    pub fn read(&self, read: &Read) -> Page {
        self.timelines.get(&read.timeline).map(|timeline| timeline.read(read)).unwrap_or_default()
    }

    /// A timeline's bounds.
    pub fn head(&self, timeline: &TimelineId) -> Head {
        self.timelines.get(timeline).map(Timeline::bounds).unwrap_or_default()
    }

    /// What is remembered of a send; nothing as long as it is pending.
    pub fn find(&self, key: &(Uid, SendKey)) -> Option<&Found> {
        self.sends.get(key).filter(|_| !self.outbox.is_pending(key))
    }

    /// A message's version in a timeline.
    pub fn locate(&self, timeline: &TimelineId, msgid: MsgId) -> Option<Version> {
        self.timelines.get(timeline)?.locate(msgid)
    }

    /// A page of a user's conversations, the newest first.
    pub fn conversations(&self, owner: &Uid, before: Option<Version>, limit: usize) -> Vec<Conversation> {
        let Some(timeline) = self.timelines.get(&TimelineId::User(owner.clone())) else { return Vec::new() };
        let mut rows = timeline.conversations();
        rows.retain(|row| before.is_none_or(|before| row.last_version < before));
        rows.sort_by_key(|row| std::cmp::Reverse(row.last_version));
        rows.truncate(limit);
        rows
    }

    /// Moves one cursor.
    ///
    /// # Errors
    /// `AheadOfHead`.
    pub fn ack(&mut self, ack: CursorAck) -> Result<(), StoreError> {
        if ack.version > self.head(&ack.timeline).head {
            return Err(StoreError::new(StoreErrorKind::AheadOfHead, "ack"));
        }
        let cursor = self.cursors.entry((ack.uid, ack.timeline)).or_default().entry(ack.device).or_default();
        *cursor = ack.version.max(*cursor);
        Ok(())
    }

    /// The cursors of one user's devices in a timeline.
    pub fn cursors(&self, of: &(Uid, TimelineId)) -> Vec<Cursor> {
        let devices = self.cursors.get(of).into_iter().flatten().take(MAX_CURSORS);
        devices.map(|(device, version)| Cursor { device: device.clone(), version: *version }).collect()
    }
}
