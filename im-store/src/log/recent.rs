//! What the index on the disk does not know yet: everything since its last checkpoint, in memory.

use std::collections::BTreeMap;

use im_core::id::{DeviceId, MsgId, NodeId, Version};
use im_core::message::TimelineId;
use im_core::time::Timestamp;

use super::hash::NumberMap;
use super::nodes::NodeRow;
use super::owners::{Head, OwnerId};
use super::segment::Position;

/// Entries of a part of a timeline in memory.
const PART: usize = 64;

/// Where a message's record is, and what it needs to be found there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntryRef {
    pub(super) at: Position,
    pub(super) msgid: MsgId,
}

/// What was appended to a conversation since some moment: the change of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) last_version: Version,
    pub(super) last_msgid: MsgId,
    pub(super) last_at: Timestamp,
    /// Entries of others after the owner's last own entry.
    pub(super) unread: i64,
    /// Whether there was an own entry: what was unread before is read then.
    pub(super) own: bool,
}

impl Moved {
    /// This change after an older one.
    #[must_use]
    pub(super) fn after(self, older: Self) -> Self {
        let before = if self.own { 0 } else { older.unread };
        Self { unread: self.unread + before, own: self.own || older.own, ..self }
    }
}

/// Which msgids some entries that follow each other have, and which come before them. Most timelines have them in order, so that this tells at
/// once where one can be; none has to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MsgIdRange {
    /// The greatest of all entries before.
    pub(super) before: MsgId,
    pub(super) least: MsgId,
    pub(super) greatest: MsgId,
}

impl MsgIdRange {
    /// Of no entries, after `before`.
    pub(super) fn after(before: MsgId) -> Self {
        Self { before, least: MsgId(i64::MAX), greatest: MsgId(i64::MIN) }
    }

    /// With one more.
    #[must_use]
    pub(super) fn and(self, msgid: MsgId) -> Self {
        Self { least: self.least.min(msgid), greatest: self.greatest.max(msgid), ..self }
    }

    pub(super) fn may_have(self, msgid: MsgId) -> bool {
        self.least <= msgid && msgid <= self.greatest
    }
}

/// One place of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) owner: OwnerId,
    pub(super) version: Version,
    /// In a user's timeline: the conversation, and whether the entry is the owner's own.
    pub(super) conversation: Option<(OwnerId, bool)>,
}

/// A message as the index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placement {
    pub(super) at: Position,
    /// The hash of its send key.
    pub(super) key: u64,
    pub(super) msgid: MsgId,
    pub(super) sent_at: Timestamp,
    pub(super) home: Place,
    pub(super) copy: Option<Place>,
}

/// The newest part of a timeline.
#[derive(Debug)]
pub(super) struct Timeline {
    /// The version of the first of `entries`.
    pub(super) first: Version,
    pub(super) entries: Vec<EntryRef>,
    /// Of every 64 entries but the last ones.
    ranges: Vec<MsgIdRange>,
    /// Of the last ones, 64 at most: apart, because most timelines have no others, and every entry changes it.
    last_range: MsgIdRange,
    pub(super) head: Head,
    pub(super) conversations: NumberMap<OwnerId, Moved>,
}

impl Timeline {
    fn new(before: Head) -> Self {
        Self {
            first: before.version.next(),
            entries: Vec::new(),
            ranges: Vec::new(),
            last_range: MsgIdRange::after(before.max_msgid),
            head: before,
            conversations: NumberMap::default(),
        }
    }

    fn push(&mut self, entry: EntryRef) {
        if self.entries.len().is_multiple_of(PART) && !self.entries.is_empty() {
            self.ranges.push(self.last_range);
            self.last_range = MsgIdRange::after(self.head.max_msgid);
        }
        self.last_range = self.last_range.and(entry.msgid);
        self.entries.push(entry);
        self.head = self.head.after(entry.msgid);
    }

    /// Up to `count` entries from a version on, if that is here.
    pub(super) fn from(&self, version: Version, count: usize) -> Option<&[EntryRef]> {
        let skip = usize::try_from(version.0.checked_sub(self.first.0)?).ok()?;
        let entries = self.entries.get(skip..)?;
        Some(&entries[..count.min(entries.len())])
    }

    /// Looks for a msgid, and no further back than it can be. `Err`: it is not here, and the greatest msgid of what was not looked at.
    pub(super) fn locate(&self, msgid: MsgId) -> Result<Version, MsgId> {
        let ranges = self.ranges.iter().chain([&self.last_range]);
        let numbers = 0..=self.ranges.len();
        for (number, range) in numbers.rev().zip(ranges.rev()) {
            if range.may_have(msgid) {
                let entries = self.entries.iter().enumerate().skip(number * PART).take(PART);
                if let Some((at, _)) = entries.into_iter().find(|(_, entry)| entry.msgid == msgid) {
                    return Ok(Version(self.first.0 + at.cast_signed() as i64));
                }
            }
            if range.before < msgid {
                return Err(range.before);
            }
        }
        Err(self.max_msgid_before())
    }

    /// The greatest msgid of what is not here.
    pub(super) fn max_msgid_before(&self) -> MsgId {
        self.ranges.first().unwrap_or(&self.last_range).before
    }
}

/// Where send keys are, by their hash. Unequal keys may share one, though hardly ever.
#[derive(Debug, Default)]
pub(super) struct Keys {
    first: NumberMap<u64, Position>,
    more: Vec<(u64, Position)>,
}

impl Keys {
    pub(super) fn insert(&mut self, hash: u64, at: Position) {
        if let Some(older) = self.first.insert(hash, at) {
            self.more.push((hash, older));
        }
    }

    pub(super) fn has(&self, hash: u64) -> bool {
        self.first.contains_key(&hash)
    }

    /// The places of the messages whose keys have this hash.
    pub(super) fn find(&self, hash: u64) -> impl Iterator<Item = Position> {
        let more = self.more.iter().filter(move |(other, _)| *other == hash);
        self.first.get(&hash).copied().into_iter().chain(more.map(|(_, at)| *at))
    }

    /// All hashes and places, sorted.
    pub(super) fn sorted(&self) -> Vec<(u64, Position)> {
        let mut all: Vec<_> = self.first.iter().map(|(hash, at)| (*hash, *at)).collect();
        all.extend(&self.more);
        all.sort_unstable();
        all
    }
}

/// Everything since a checkpoint.
#[derive(Debug, Default)]
pub(super) struct Recent {
    pub(super) timelines: NumberMap<OwnerId, Timeline>,
    pub(super) keys: Keys,
    pub(super) cursors: BTreeMap<(OwnerId, OwnerId, DeviceId), Version>,
    pub(super) nodes: BTreeMap<NodeId, NodeRow>,
    /// Those that the store heard of for the first time.
    pub(super) names: Vec<(OwnerId, TimelineId)>,
    pub(super) messages: usize,
}

impl Recent {
    /// What comes after this one, with room for as much.
    pub(super) fn next(&self) -> Self {
        let mut next = Self::default();
        next.keys.first.reserve(self.keys.first.len());
        next.timelines.reserve(self.timelines.len());
        next
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages == 0 && self.cursors.is_empty() && self.nodes.is_empty() && self.names.is_empty()
    }

    /// Takes an entry at the end of a timeline that had the head `before`.
    pub(super) fn enter(&mut self, placement: &Placement, place: Place, before: Head) -> Head {
        let timeline = self.timelines.entry(place.owner).or_insert_with(|| Timeline::new(before));
        timeline.push(EntryRef { at: placement.at, msgid: placement.msgid });
        if let Some((peer, own)) = place.conversation {
            let moved = Moved {
                last_version: place.version,
                last_msgid: placement.msgid,
                last_at: placement.sent_at,
                unread: if own { 0 } else { 1 },
                own,
            };
            let row = timeline.conversations.entry(peer);
            row.and_modify(|older| *older = moved.after(*older)).or_insert(moved);
        }
        timeline.head
    }

    /// Moves a cursor forward.
    pub(super) fn ack(&mut self, uid: OwnerId, timeline: OwnerId, device: DeviceId, version: Version) {
        let cursor = self.cursors.entry((uid, timeline, device)).or_default();
        *cursor = version.max(*cursor);
    }

    /// The cursors of a user's devices in a timeline.
    pub(super) fn cursors_of(
        &self,
        uid: OwnerId,
        timeline: OwnerId,
    ) -> impl Iterator<Item = (&DeviceId, Version)> {
        let of = self.cursors.range((uid, timeline, DeviceId::default())..);
        of.take_while(move |((u, t, _), _)| (*u, *t) == (uid, timeline))
            .map(|((_, _, device), version)| (device, *version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(msgids: &[i64]) -> Timeline {
        let mut timeline = Timeline::new(Head { version: Version(10), max_msgid: MsgId(100) });
        for msgid in msgids {
            timeline.push(EntryRef { at: Position(0), msgid: MsgId(*msgid) });
        }
        timeline
    }

    #[test]
    fn a_msgid_is_located_whatever_the_order() {
        let msgids: Vec<_> = (0..500).map(|n| 1_000 + n * 7_919 % 1_009).collect();
        let timeline = timeline(&msgids);
        for (at, msgid) in (11..).zip(&msgids) {
            assert_eq!(timeline.locate(MsgId(*msgid)), Ok(Version(at)));
        }
        assert_eq!(timeline.locate(MsgId(5)), Err(MsgId(100)), "it may stand before");
        assert_eq!(timeline.locate(MsgId(999)), Err(MsgId(100)), "it stands nowhere");
    }

    #[test]
    fn the_search_ends_where_everything_before_is_smaller() {
        let timeline = timeline(&(1_000..2_000).collect::<Vec<_>>());
        assert_eq!(timeline.locate(MsgId(2_001)), Err(MsgId(1_959)), "before the last part");
    }

    #[test]
    fn an_own_entry_reads_what_was_unread_before_it() {
        let moved = |version, unread, own| Moved {
            last_version: Version(version),
            last_msgid: MsgId(version),
            last_at: Timestamp(version),
            unread,
            own,
        };
        assert_eq!(moved(5, 2, false).after(moved(3, 1, true)), moved(5, 3, true));
        assert_eq!(moved(5, 2, true).after(moved(3, 9, false)), moved(5, 2, true));
    }

    #[test]
    fn keys_with_the_same_hash_are_all_found() {
        let mut keys = Keys::default();
        for (hash, at) in [(1, 10), (2, 20), (1, 30), (1, 40)] {
            keys.insert(hash, Position(at));
        }
        let mut found: Vec<_> = keys.find(1).map(|at| at.0).collect();
        found.sort_unstable();
        assert_eq!(found, [10, 30, 40]);
        assert_eq!(keys.find(3).count(), 0);
        assert_eq!(keys.sorted().len(), 4);
    }
}
