//! What devices acknowledge: gathered here, stored on a timer, changed ones only.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use super::{Logic, lock};
use crate::id::{DeviceId, MsgId, Uid, Version};
use crate::message::TimelineId;
use crate::session::{Ack, Acked, Caller};
use crate::storage::{CursorAck, StoreError, StoreErrorKind};

/// Versions that a device may have acknowledged one by one ahead of its cursor. Those on top are not kept; the device acknowledges
/// them again or says up to where it holds everything.
const AHEAD: usize = 1_024;

/// Cursors that moved since the last flush, and devices that acknowledge message by message.
#[derive(Debug, Default)]
pub(super) struct AckBook {
    dirty: BTreeMap<Key, Version>,
    single: BTreeMap<Key, Single>,
    /// Devices whose single acknowledgements are being looked up.
    asking: BTreeMap<Key, Asking>,
}

type Key = (Uid, DeviceId);

#[derive(Debug, Default)]
struct Asking {
    /// Look-ups on their way.
    count: usize,
    /// The device's link has gone since: nothing of it is to stay.
    left: bool,
}

/// A device that acknowledges single messages.
#[derive(Debug, Default)]
struct Single {
    cursor: Version,
    ahead: BTreeSet<Version>,
}

impl AckBook {
    /// The device holds everything up to `version`.
    pub(super) fn up_to(&mut self, uid: &Uid, device: &DeviceId, version: Version) {
        let key = (uid.clone(), device.clone());
        if let Some(single) = self.single.get_mut(&key) {
            single.move_to(version);
        }
        let cursor = self.dirty.entry(key).or_default();
        *cursor = version.max(*cursor);
    }

    /// The device holds the one entry at `version`. Its cursor moves over a contiguous run only; returns where to, if it moves.
    fn one(&mut self, uid: &Uid, device: &DeviceId, version: Version) -> Option<Version> {
        let single = self.single.get_mut(&(uid.clone(), device.clone()))?;
        let cursor = single.add(version)?;
        self.up_to(uid, device, cursor);
        Some(cursor)
    }

    fn knows(&self, uid: &Uid, device: &DeviceId) -> bool {
        self.single.contains_key(&(uid.clone(), device.clone()))
    }

    fn start(&mut self, uid: &Uid, device: &DeviceId, cursor: Version) {
        let key = (uid.clone(), device.clone());
        let unflushed = self.dirty.get(&key).copied().unwrap_or_default();
        self.single.entry(key).or_default().move_to(cursor.max(unflushed));
    }

    /// The device's link is gone.
    pub(super) fn leave(&mut self, uid: &Uid, device: &DeviceId) {
        let key = (uid.clone(), device.clone());
        self.single.remove(&key);
        if let Some(asking) = self.asking.get_mut(&key) {
            asking.left = true;
        }
    }

    /// A look-up begins, which may yet bring something of the device into the book.
    fn asks(&mut self, key: &Key) {
        let asking = self.asking.entry(key.clone()).or_default();
        asking.count += 1;
        asking.left = false;
    }

    /// A look-up is over.
    fn asked(&mut self, key: &Key) {
        let Some(asking) = self.asking.get_mut(key) else { return };
        asking.count -= 1;
        if asking.count == 0 {
            let left = asking.left;
            self.asking.remove(key);
            if left {
                self.single.remove(key);
            }
        }
    }

    /// Cursors that are to be stored.
    fn waiting(&self) -> usize {
        self.dirty.len()
    }

    /// Whether nothing of any device's single acknowledgements is left.
    #[cfg(test)]
    pub(super) fn is_forgotten(&self) -> bool {
        self.single.is_empty() && self.asking.is_empty()
    }

    /// What is to be stored. What cannot be stored is put back with [`up_to`](Self::up_to).
    pub(super) fn drain(&mut self) -> Vec<CursorAck> {
        std::mem::take(&mut self.dirty)
            .into_iter()
            .map(|((uid, device), version)| CursorAck {
                timeline: TimelineId::User(uid.clone()),
                uid,
                device,
                version,
            })
            .collect()
    }
}

impl Single {
    fn move_to(&mut self, version: Version) {
        self.cursor = version.max(self.cursor);
        self.ahead = self.ahead.split_off(&self.cursor.next());
        self.run();
    }

    /// Takes one more version; where the cursor moved to, if it moved.
    fn add(&mut self, version: Version) -> Option<Version> {
        if version > self.cursor && self.ahead.len() < AHEAD {
            self.ahead.insert(version);
        }
        let before = self.cursor;
        self.run();
        (self.cursor > before).then_some(self.cursor)
    }

    fn run(&mut self) {
        while self.ahead.remove(&self.cursor.next()) {
            self.cursor = self.cursor.next();
        }
    }
}

/// Takes the acknowledgements of a turn.
pub(super) fn take(logic: Arc<Logic>, acks: Vec<Ack>) -> impl Future<Output = ()> + Send + 'static {
    let mut single = Vec::new();
    for ack in acks {
        match ack.of {
            Acked::UpTo(TimelineId::User(_), version) => logic.claimed(&ack.caller, version),
            // No group has a timeline here yet.
            Acked::UpTo(TimelineId::Group(_), _) => {}
            Acked::Message(msgid) => single.push((ack.caller, msgid)),
        }
    }
    let lookup = Lookup::of(logic.clone(), &single);
    async move {
        let _until_done = lookup;
        if let Err(failure) = logic.acked_singly(single).await {
            tracing::warn!(
                error = &failure as &dyn std::error::Error,
                "acknowledgements are lost; devices are hinted again"
            );
        }
    }
}

/// Look-ups on their way, in the book for as long as this lives: they end after the leave of a link that asked for them.
struct Lookup {
    logic: Arc<Logic>,
    keys: Vec<Key>,
}

impl Lookup {
    fn of(logic: Arc<Logic>, acks: &[(Arc<Caller>, MsgId)]) -> Self {
        let keys: Vec<Key> =
            acks.iter().map(|(caller, _)| (caller.uid.clone(), caller.device.clone())).collect();
        let mut book = lock(&logic.acks);
        keys.iter().for_each(|key| book.asks(key));
        drop(book);
        Self { logic, keys }
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        let mut book = lock(&self.logic.acks);
        self.keys.iter().for_each(|key| book.asked(key));
    }
}

impl Logic {
    /// Whether the timeline reaches that far, the store says when it takes the cursor; until then nothing counts as delivered.
    fn claimed(&self, caller: &Caller, version: Version) {
        if version > Version::ZERO {
            lock(&self.acks).up_to(&caller.uid, &caller.device, version);
        }
    }

    fn delivered(&self, uid: &Uid, version: Version) {
        lock(&self.deliveries).acked(self.ports.clock.tick(), uid, version);
    }

    async fn acked_singly(&self, acks: Vec<(Arc<Caller>, MsgId)>) -> Result<(), StoreError> {
        if acks.is_empty() {
            return Ok(());
        }
        self.load_cursors(&acks).await?;
        let messages =
            acks.iter().map(|(caller, msgid)| (TimelineId::User(caller.uid.clone()), *msgid)).collect();
        let versions = self.ports.store.locate(messages).await?;
        for ((caller, _), version) in acks.iter().zip(versions) {
            let moved =
                version.and_then(|version| lock(&self.acks).one(&caller.uid, &caller.device, version));
            if let Some(cursor) = moved {
                self.delivered(&caller.uid, cursor);
            }
        }
        Ok(())
    }

    /// Fetches the cursors of devices that acknowledge a single message for the first time.
    async fn load_cursors(&self, acks: &[(Arc<Caller>, MsgId)]) -> Result<(), StoreError> {
        let unknown: Vec<&Arc<Caller>> = acks
            .iter()
            .map(|(caller, _)| caller)
            .filter(|caller| !lock(&self.acks).knows(&caller.uid, &caller.device))
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let of =
            unknown.iter().map(|caller| (caller.uid.clone(), TimelineId::User(caller.uid.clone()))).collect();
        let found = self.ports.store.cursors(of).await?;
        for (caller, cursors) in unknown.into_iter().zip(found) {
            let cursor = cursors.into_iter().find(|cursor| cursor.device == caller.device);
            let version = cursor.map(|cursor| cursor.version).unwrap_or_default();
            lock(&self.acks).start(&caller.uid, &caller.device, version);
        }
        Ok(())
    }

    /// Stores the cursors that moved. What the store cannot take now is tried again at the next flush.
    pub(super) async fn flush_acks(&self) {
        let acks = lock(&self.acks).drain();
        if acks.is_empty() {
            return;
        }
        let answers = self.ports.store.ack(acks.clone()).await;
        for (ack, answer) in acks.into_iter().zip(answers) {
            match answer {
                Err(failure) if failure.is_retryable() => {
                    lock(&self.acks).up_to(&ack.uid, &ack.device, ack.version);
                }
                Err(failure) if failure.kind() == StoreErrorKind::AheadOfHead => {
                    tracing::debug!(uid = ?ack.uid.as_str(), version = %ack.version, "refused an acknowledgement above the head");
                }
                Err(failure) => {
                    tracing::error!(error = &failure as &dyn std::error::Error, "an acknowledgement is lost");
                }
                Ok(()) => self.delivered(&ack.uid, ack.version),
            }
        }
    }
}

impl Logic {
    /// Stores the cursors that moved, for the last time.
    pub(super) async fn flush_last_acks(&self) {
        self.flush_acks().await;
        let lost = lock(&self.acks).waiting();
        if lost > 0 {
            tracing::warn!(
                lost,
                "the store does not take the last acknowledgements; devices are hinted again"
            );
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn book() -> (AckBook, Uid, DeviceId) {
        (AckBook::default(), Uid::new("bob").unwrap(), DeviceId::new("phone").unwrap())
    }

    #[test]
    fn single_acknowledgements_move_the_cursor_over_a_contiguous_run_only() {
        let (mut book, bob, phone) = book();
        book.start(&bob, &phone, Version(4));
        assert_eq!(book.one(&bob, &phone, Version(6)), None);
        assert_eq!(book.one(&bob, &phone, Version(7)), None);
        assert_eq!(book.one(&bob, &phone, Version(5)), Some(Version(7)));
        assert_eq!(book.drain()[0].version, Version(7));
    }

    #[test]
    fn acknowledgements_merge_by_the_greatest() {
        let (mut book, bob, phone) = book();
        book.up_to(&bob, &phone, Version(9));
        book.up_to(&bob, &phone, Version(3));
        assert_eq!(book.drain()[0].version, Version(9));
        assert_eq!(book.drain(), []);
    }

    #[test]
    fn the_greatest_version_there_is_may_be_acknowledged_by_a_device_that_acknowledges_singly() {
        let (mut book, bob, phone) = book();
        book.start(&bob, &phone, Version(1));
        book.up_to(&bob, &phone, Version(i64::MAX));
        assert_eq!(book.one(&bob, &phone, Version(2)), None);
        book.start(&bob, &phone, Version(1));
        assert_eq!(book.drain()[0].version, Version(i64::MAX));
    }

    #[test]
    fn a_link_that_leaves_while_its_acknowledgement_is_looked_up_leaves_nothing() {
        let (mut book, bob, phone) = book();
        let key = (bob.clone(), phone.clone());
        book.asks(&key);
        book.leave(&bob, &phone);
        book.start(&bob, &phone, Version(4));
        book.asked(&key);
        assert!(book.single.is_empty() && book.asking.is_empty());
    }

    #[test]
    fn a_look_up_that_ends_takes_nothing_from_the_devices_next_link() {
        let (mut book, bob, phone) = book();
        let key = (bob.clone(), phone.clone());
        book.asks(&key);
        book.leave(&bob, &phone);
        book.asks(&key);
        book.start(&bob, &phone, Version(4));
        book.asked(&key);
        book.asked(&key);
        assert_eq!(book.one(&bob, &phone, Version(5)), Some(Version(5)));
    }

    #[test]
    fn versions_ahead_of_the_cursor_are_bounded() {
        let (mut book, bob, phone) = book();
        book.start(&bob, &phone, Version(0));
        for version in 2..10_000 {
            book.one(&bob, &phone, Version(version));
        }
        assert_eq!(book.single[&(bob, phone)].ahead.len(), AHEAD);
    }
}
