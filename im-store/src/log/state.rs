//! All that is known of the log: who there is, what is recent, and the tables with the rest. Changed by the writer alone, after the sync of
//! what it changes for.

use std::collections::BTreeMap;
use std::sync::Arc;

use im_core::id::{DeviceId, MsgId, NodeId, Version};
use im_core::message::{Message, TimelineId};

use super::Fault;
use super::hash::KeyHasher;
use super::nodes::NodeRow;
use super::owners::{OwnerId, Owners};
use super::recent::{EntryRef, Place, Placement, Recent, Timeline};
use super::record::{Record, Stored};
use super::run::{Chunk, Filter, Kind, Ranges, Table};
use super::segment::Position;
use super::segments::Wait;
use crate::name;

/// The tables of the index, the oldest first.
pub(super) type Tables = Arc<[Arc<Table>]>;

#[derive(Debug)]
pub(super) struct State {
    pub(super) owners: Owners,
    pub(super) nodes: BTreeMap<NodeId, NodeRow>,
    pub(super) recent: Recent,
    /// What is being written into a table just now.
    pub(super) frozen: Option<Arc<Recent>>,
    pub(super) tables: Tables,
    /// What of send keys the tables may have.
    pub(super) filter: Arc<Filter>,
}

impl State {
    /// The number of an owner, who gets one now if they had none.
    pub(super) fn owner(&mut self, name: &TimelineId) -> OwnerId {
        if let Some(id) = self.owners.id(name) {
            return id;
        }
        let id = self.owners.push(name.clone());
        self.recent.names.push((id, name.clone()));
        id
    }

    /// Takes a message into its timelines.
    pub(super) fn place(&mut self, placement: &Placement) {
        for place in std::iter::once(placement.home).chain(placement.copy) {
            let before = self.owners.head(place.owner);
            let head = self.recent.enter(placement, place, before);
            self.owners.set_head(place.owner, head);
        }
        self.recent.keys.insert(placement.key, placement.at);
        self.recent.messages += 1;
    }

    pub(super) fn lease(&mut self, node: NodeId, row: NodeRow) {
        self.recent.nodes.insert(node, row.clone());
        self.nodes.insert(node, row);
    }

    /// Takes a record that the log has. `None` if it does not follow on what the log had before.
    pub(super) fn replay(&mut self, at: Position, record: Record, hasher: KeyHasher) -> Option<()> {
        match record {
            Record::Message(stored) => self.replay_message(at, &stored, hasher),
            Record::Ack(ack) => {
                let (uid, timeline) = (self.owner(&TimelineId::User(ack.uid)), self.owner(&ack.timeline));
                self.recent.ack(uid, timeline, ack.device, ack.version);
                Some(())
            }
            Record::Lease(node, row) => {
                self.lease(node, row);
                Some(())
            }
            Record::Seal => Some(()),
        }
    }

    fn replay_message(&mut self, at: Position, stored: &Stored, hasher: KeyHasher) -> Option<()> {
        let Stored { message, home, copy, .. } = stored;
        let mut enter = |(timeline, version): &(TimelineId, Version)| {
            let owner = self.owner(timeline);
            let follows = self.owners.head(owner).version.next() == *version;
            let conversation = peer(message, timeline).map(|(peer, own)| (self.owner(&peer), own));
            follows.then_some(Place { owner, version: *version, conversation })
        };
        let home = enter(home)?;
        let copy = match copy {
            None => None,
            Some(copy) => Some(enter(copy)?),
        };
        let key = hasher.hash(&message.from, &message.key);
        let (msgid, sent_at) = (message.msgid, message.sent_at);
        self.place(&Placement { at, key, msgid, sent_at, home, copy });
        Some(())
    }

    /// Entries of a timeline from a version on, some or up to `count`, if they are in memory.
    pub(super) fn entries(&self, owner: OwnerId, from: Version, count: usize) -> Option<&[EntryRef]> {
        let entries = self.parts(owner).find_map(|part| part.from(from, count));
        entries.filter(|entries| !entries.is_empty())
    }

    /// Looks for a message in the parts of a timeline that are in memory.
    pub(super) fn locate(&self, owner: OwnerId, msgid: MsgId) -> Located {
        if msgid > self.owners.head(owner).max_msgid {
            return Located::Nowhere;
        }
        for part in self.parts(owner) {
            match part.locate(msgid) {
                Ok(version) => return Located::At(version),
                Err(before) if before < msgid => return Located::Nowhere,
                Err(_) => {}
            }
        }
        Located::NotInMemory
    }

    /// Whether there may be a send key with this hash anywhere.
    pub(super) fn may_have(&self, hash: u64) -> bool {
        let in_frozen = self.frozen.as_ref().is_some_and(|frozen| frozen.keys.has(hash));
        in_frozen || self.recent.keys.has(hash) || self.tables_may_have(hash)
    }

    /// Where in memory send keys with this hash are.
    pub(super) fn keys(&self, hash: u64) -> Vec<Position> {
        let frozen = self.frozen.iter().flat_map(|frozen| frozen.keys.find(hash));
        self.recent.keys.find(hash).chain(frozen).collect()
    }

    /// Whether the tables may have a send key with this hash.
    pub(super) fn tables_may_have(&self, hash: u64) -> bool {
        !self.tables.is_empty() && self.filter.may_have(hash)
    }

    /// The parts of a timeline that are in memory, the newest first.
    fn parts(&self, owner: OwnerId) -> impl Iterator<Item = &Timeline> {
        let frozen = self.frozen.as_ref().and_then(move |frozen| frozen.timelines.get(&owner));
        self.recent.timelines.get(&owner).into_iter().chain(frozen)
    }

    /// The cursors of one user's devices in a timeline that are in memory.
    pub(super) fn cursors(&self, uid: OwnerId, timeline: OwnerId) -> BTreeMap<DeviceId, Version> {
        let mut cursors = BTreeMap::new();
        let frozen = self.frozen.iter().flat_map(|frozen| frozen.cursors_of(uid, timeline));
        for (device, version) in frozen.chain(self.recent.cursors_of(uid, timeline)) {
            let cursor: &mut Version = cursors.entry(device.clone()).or_default();
            *cursor = version.max(*cursor);
        }
        cursors
    }
}

/// Where a message is in a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Located {
    At(Version),
    Nowhere,
    /// The tables may have it.
    NotInMemory,
}

/// The conversation that a message belongs to in a user's timeline, and whether it is the user's own. Groups have none.
pub(super) fn peer(message: &Message, timeline: &TimelineId) -> Option<(TimelineId, bool)> {
    let TimelineId::User(uid) = timeline else { return None };
    Some((name::timeline_of(&message.conversation(timeline)), message.from == *uid))
}

/// Entries of a timeline from a version on, some of them at least.
pub(super) fn entries_in(
    tables: &[Arc<Table>],
    owner: OwnerId,
    from: Version,
    wait: Wait,
) -> Result<Vec<EntryRef>, Fault> {
    for table in tables.iter().rev() {
        if let Some(chunk) = chunk_at(table, owner, from, wait)?
            && let Some(entries) = chunk.from(from).filter(|entries| !entries.is_empty())
        {
            return Ok(entries.to_vec());
        }
    }
    Err(Fault::BadTable(tables.last().map_or(0, |table| table.number)))
}

/// Looks for a message in the tables, and no further back than it can be.
pub(super) fn locate_in(
    tables: &[Arc<Table>],
    owner: OwnerId,
    msgid: MsgId,
    wait: Wait,
) -> Result<Option<Version>, Fault> {
    for table in tables.iter().rev() {
        let ranges = ranges(table, owner, wait)?;
        for (first, _) in ranges.0.iter().rev().filter(|(_, range)| range.may_have(msgid)) {
            let chunk = chunk_at(table, owner, *first, wait)?;
            if let Some(version) = chunk.and_then(|chunk| chunk.locate(msgid)) {
                return Ok(Some(version));
            }
        }
        if ranges.0.first().is_some_and(|(_, range)| range.before < msgid) {
            return Ok(None);
        }
    }
    Ok(None)
}

/// Which msgids the parts of a timeline in a table have.
fn ranges(table: &Table, owner: OwnerId, wait: Wait) -> Result<Ranges, Fault> {
    let key = Kind::Ranges.of(owner);
    if let Some((_, value)) = table.floor(&key, wait)?.filter(|(found, _)| **found == key) {
        return Ranges::parse(&value).ok_or(Fault::BadTable(table.number));
    }
    let only = chunk_at(table, owner, Version(i64::MAX), wait)?;
    Ok(Ranges(only.iter().map(|chunk| (chunk.first, chunk.range())).collect()))
}

/// The part of a timeline in a table that a version is in, or the last one before it.
fn chunk_at(table: &Table, owner: OwnerId, version: Version, wait: Wait) -> Result<Option<Chunk>, Fault> {
    let row = table.floor(&Kind::Chunk.from(owner, version), wait)?;
    let row = row.filter(|(key, _)| key.starts_with(&Kind::Chunk.of(owner)));
    row.map(|(key, value)| Chunk::parse(&key, &value).ok_or(Fault::BadTable(table.number))).transpose()
}

/// Where in the tables send keys with this hash are.
pub(super) fn keys_in(tables: &[Arc<Table>], hash: u64, wait: Wait) -> Result<Vec<Position>, Fault> {
    let mut found = Vec::new();
    for table in tables {
        found.extend(table.find(hash, wait)?);
    }
    Ok(found)
}
