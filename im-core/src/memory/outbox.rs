use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;

use super::buckets::LogRow;
use super::{MemoryStore, State};
use crate::id::{Uid, Version};
use crate::message::{Message, SendKey, TimelineId};
use crate::storage::{
    Found, Intent, IntentId, Outbox, Part, Pending, Placed, Post, Read, StoreError, StoreErrorKind,
};

#[async_trait]
impl Outbox for MemoryStore {
    async fn append_parts(&self, parts: Vec<Part>) -> Vec<Result<Placed, StoreError>> {
        self.with_state(|state| {
            in_order(parts, Part::timeline, |part| {
                state.moves.takes_part(&part)?;
                state.append_part(part)
            })
        })
    }

    async fn intents(&self, pending: Pending, limit: usize) -> Result<Vec<Intent>, StoreError> {
        Ok(self.with_state(|state| state.outbox.list(&pending, limit)))
    }

    async fn settle(&self, settled: Vec<(IntentId, Version)>) -> Result<(), StoreError> {
        self.with_state(|state| settled.into_iter().for_each(|(id, version)| state.settle(id, version)));
        Ok(())
    }
}

/// Places one after the other. After a retryable failure, what comes later for the same timeline fails alike.
pub(super) fn in_order<T>(
    batch: Vec<T>,
    timeline: impl Fn(&T) -> &TimelineId,
    mut place: impl FnMut(T) -> Result<Placed, StoreError>,
) -> Vec<Result<Placed, StoreError>> {
    let mut failed = BTreeSet::new();
    let mut place_next = |item: T| {
        let timeline = timeline(&item).clone();
        if failed.contains(&timeline) {
            return Err(StoreError::new(StoreErrorKind::OutOfOrder, "append"));
        }
        let answer = place(item);
        if answer.as_ref().is_err_and(StoreError::is_retryable) {
            failed.insert(timeline);
        }
        answer
    };
    batch.into_iter().map(&mut place_next).collect()
}

/// The intents that are not settled.
#[derive(Clone, Debug, Default)]
pub(super) struct IntentTable {
    last: i64,
    intents: BTreeMap<IntentId, Intent>,
    by_key: BTreeMap<(Uid, SendKey), IntentId>,
}

impl IntentTable {
    pub(super) fn is_pending(&self, key: &(Uid, SendKey)) -> bool {
        self.by_key.contains_key(key)
    }

    fn add(&mut self, message: Message, into: TimelineId) {
        self.last += 1;
        let intent = Intent { id: IntentId(self.last), message, into };
        self.by_key.insert(intent.key(), intent.id);
        self.intents.insert(intent.id, intent);
    }

    fn remove(&mut self, id: IntentId) -> Option<Intent> {
        let intent = self.intents.remove(&id)?;
        self.by_key.remove(&intent.key());
        Some(intent)
    }

    pub(super) fn senders(&self) -> impl Iterator<Item = &Uid> {
        self.by_key.keys().map(|(sender, _)| sender)
    }

    fn list(&self, pending: &Pending, limit: usize) -> Vec<Intent> {
        let asked = |intent: &&Intent| match pending {
            Pending::Of(senders) => senders.contains(&intent.message.from),
            Pending::After(id) => intent.id > *id,
        };
        self.intents.values().filter(asked).take(limit).cloned().collect()
    }
}

impl State {
    /// Stores one part of a post, or recognises it: what [`Outbox::append_parts`] does with each.
    ///
    /// # Errors
    /// `KeyReused`, `MsgIdReused`; `Unavailable` for a whole post that is pending.
    pub fn append_part(&mut self, part: Part) -> Result<Placed, StoreError> {
        match part {
            Part::Whole(post) => self.append(post),
            Part::Home { post, taken } => self.append_half(post, taken, true),
            Part::Key { post, taken } => self.append_half(post, taken, false),
            Part::Copy { message, into } => self.append_copy(message, into),
        }
    }

    fn append_half(&mut self, post: Post, taken: bool, has_home: bool) -> Result<Placed, StoreError> {
        let key = (post.message.from.clone(), post.message.key.clone());
        if let Some(known) = self.known(&key, &post) {
            return known;
        }
        let Post { message, home, copy } = post;
        if taken || (has_home && self.locate(&home, message.msgid).is_some()) {
            return Err(StoreError::new(StoreErrorKind::MsgIdReused, "append_parts"));
        }
        let entry = has_home.then(|| self.enter(home.clone(), &message, None));
        let version = entry.as_ref().map_or(Version::ZERO, |place| place.version);
        self.log.add(LogRow {
            message: message.clone(),
            digest: message.digest(),
            withdrawn_at: None,
            entries: entry.into_iter().collect(),
            key: Some((home.clone(), copy.clone())),
        });
        let (msgid, sent_at) = (message.msgid, message.sent_at);
        let placed = Placed { msgid, sent_at, home: version, copy: None, repeated: false };
        let found = Found { digest: message.digest(), placed: Placed { repeated: true, ..placed.clone() } };
        self.sends.insert(key, found);
        self.outbox.add(message, copy.unwrap_or(home));
        Ok(placed)
    }

    fn append_copy(&mut self, message: Message, into: TimelineId) -> Result<Placed, StoreError> {
        let (msgid, sent_at) = (message.msgid, message.sent_at);
        let placed = |home, repeated| Placed { msgid, sent_at, home, copy: None, repeated };
        let Some(version) = self.locate(&into, msgid) else {
            let place = self.enter(into, &message, None);
            let version = place.version;
            let (digest, entries) = (message.digest(), vec![place]);
            self.log.add(LogRow { message, digest, withdrawn_at: None, entries, key: None });
            return Ok(placed(version, false));
        };
        let read = Read {
            timeline: into,
            after: Version(version.0 - 1),
            until: Some(version),
            limit: 1,
            max_bytes: 0,
            least: None,
        };
        let same = |stored: &Message| stored.from == message.from && stored.key == message.key;
        match self.read(&read).entries.first().is_some_and(|entry| same(&entry.message)) {
            true => Ok(placed(version, true)),
            false => Err(StoreError::new(StoreErrorKind::MsgIdReused, "append_parts")),
        }
    }

    fn settle(&mut self, id: IntentId, version: Version) {
        let Some(intent) = self.outbox.remove(id) else { return };
        if let Some(found) = self.sends.get_mut(&intent.key()) {
            match found.placed.home == Version::ZERO {
                true => found.placed.home = version,
                false => found.placed.copy = Some(version),
            }
        }
    }
}
