//! How readers look things up: what is in memory under the lock, what is on the disk without it.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use bytes::Bytes;
use im_core::id::{DeviceId, MsgId, Uid, Version};
use im_core::message::{Entry, SendKey, TimelineId};
use im_core::storage::{Conversation, Cursor, Found, Head, HeldNode, MAX_CURSORS, Page, Read};

use super::Fault;
use super::codec::Input;
use super::owners::OwnerId;
use super::plan::placed;
use super::recent::{EntryRef, Moved};
use super::record::{self, Record, Stored};
use super::run::{Kind, parse_moved, sub_key};
use super::segment::Position;
use super::segments::{Reader, Wait};
use super::shared::Shared;
use super::state::{Located, State, entries_in, keys_in, locate_in};
use crate::name;

/// Entries whose places are looked up at a time.
const STEP: usize = 512;

/// One look at the store.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) shared: &'a Shared,
    pub(super) wait: Wait,
}

impl View<'_> {
    /// A part of a timeline. Its head is of the moment when this begins, and nothing above it is read.
    pub(super) fn page(self, read: &Read) -> Result<Page, Fault> {
        let Some((owner, head)) = self.head(&read.timeline) else { return Ok(Page::default()) };
        let mut page = Page { entries: Vec::new(), head };
        let mut next = read.after.max(Version::ZERO).next();
        let until = read.until.unwrap_or(head).min(head);
        let mut reader = Reader::new(&self.shared.segments, self.wait);
        let (mut left, mut bytes) = (read.limit.max(1), 0_usize);
        while next <= until && left > 0 {
            let most = usize::try_from(until.0 - next.0 + 1).unwrap_or(usize::MAX);
            let entries = self.entries(owner, next, most.min(left).min(STEP))?;
            let places: Vec<_> = entries.iter().map(|entry| entry.at).collect();
            for (number, entry) in entries.iter().enumerate() {
                let payload = reader.payload(&places[number..])?;
                let message = entry_of(payload, &read.timeline, next, entry)?;
                bytes = bytes.saturating_add(message.message.size());
                if bytes > read.max_bytes && !page.entries.is_empty() {
                    return Ok(page);
                }
                page.entries.push(message);
                next = next.next();
            }
            left -= entries.len();
        }
        Ok(page)
    }

    pub(super) fn bounds(self, timeline: &TimelineId) -> Head {
        let head = self.head(timeline).map_or(Version::ZERO, |(_, head)| head);
        Head { floor: Version::ZERO, head }
    }

    fn head(self, timeline: &TimelineId) -> Option<(OwnerId, Version)> {
        let state = self.shared.state();
        let owner = state.owners.id(timeline)?;
        Some((owner, state.owners.head(owner).version))
    }

    pub(super) fn held_nodes(self) -> Vec<HeldNode> {
        let state = self.shared.state();
        let held = state.nodes.iter().map(|(node, row)| row.held(*node));
        held.filter(|held| !held.is_floor()).collect()
    }

    /// Up to `count` entries of a timeline from a version on, and some at least.
    fn entries(self, owner: OwnerId, from: Version, count: usize) -> Result<Vec<EntryRef>, Fault> {
        let state = self.shared.state();
        if let Some(entries) = state.entries(owner, from, count) {
            return Ok(entries.to_vec());
        }
        let tables = state.tables.clone();
        drop(state);
        let mut entries = entries_in(&tables, owner, from, self.wait)?;
        entries.truncate(count);
        Ok(entries)
    }

    /// A message's version in a timeline.
    pub(super) fn locate(self, timeline: &TimelineId, msgid: MsgId) -> Result<Option<Version>, Fault> {
        let state = self.shared.state();
        let Some(owner) = state.owners.id(timeline) else { return Ok(None) };
        match state.locate(owner, msgid) {
            Located::At(version) => Ok(Some(version)),
            Located::Nowhere => Ok(None),
            Located::NotInMemory => {
                let tables = state.tables.clone();
                drop(state);
                locate_in(&tables, owner, msgid, self.wait)
            }
        }
    }

    /// What is remembered of a send key.
    pub(super) fn find(self, from: &Uid, key: &SendKey) -> Result<Option<Found>, Fault> {
        let hash = self.shared.hasher.hash(from, key);
        let state = self.shared.state();
        let mut places = state.keys(hash);
        let tables = state.tables_may_have(hash).then(|| state.tables.clone());
        drop(state);
        if let Some(tables) = tables {
            places.extend(keys_in(&tables, hash, self.wait)?);
        }
        let wanted = (from.as_str(), &key.to_bytes()[..]);
        for at in places {
            let mut reader = Reader::new(&self.shared.segments, self.wait);
            let payload = reader.payload(&[at])?;
            if record::sender_and_key(payload) == Some(wanted) {
                let stored = message(payload, at)?;
                return Ok(Some(Found { digest: stored.digest(), placed: placed(&stored) }));
            }
        }
        Ok(None)
    }

    /// A page of a user's conversations, the newest first.
    pub(super) fn conversations(
        self,
        owner: &Uid,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<Conversation>, Fault> {
        let state = self.shared.state();
        let Some(owner) = state.owners.id(&TimelineId::User(owner.clone())) else { return Ok(Vec::new()) };
        let mut newer: HashMap<OwnerId, Moved> = HashMap::new();
        let parts = state.frozen.iter().map(|frozen| &**frozen).chain([&state.recent]);
        for timeline in parts.filter_map(|part| part.timelines.get(&owner)) {
            timeline.conversations.iter().for_each(|(peer, moved)| add(&mut newer, *peer, *moved));
        }
        let tables = state.tables.clone();
        drop(state);
        let mut rows: HashMap<OwnerId, Moved> = HashMap::new();
        for table in tables.iter() {
            table.scan(&Kind::Conversation.of(owner), self.wait, |key, value| {
                let (_, peer) = sub_key(key)?;
                add(&mut rows, OwnerId::from_be_bytes(peer.try_into().ok()?), parse_moved(value)?);
                Some(ControlFlow::Continue(()))
            })?;
        }
        newer.into_iter().for_each(|(peer, moved)| add(&mut rows, peer, moved));
        let mut rows: Vec<_> = rows.into_iter().collect();
        rows.retain(|(_, row)| before.is_none_or(|before| row.last_version < before));
        rows.sort_unstable_by_key(|(_, row)| std::cmp::Reverse(row.last_version));
        rows.truncate(limit);
        let state = self.shared.state();
        Ok(rows.into_iter().filter_map(|(peer, row)| conversation(&state, peer, row)).collect())
    }

    /// The cursors of one user's devices in a timeline.
    pub(super) fn cursors(self, uid: &Uid, timeline: &TimelineId) -> Result<Vec<Cursor>, Fault> {
        let state = self.shared.state();
        let user = state.owners.id(&TimelineId::User(uid.clone()));
        let Some((uid, timeline)) = user.zip(state.owners.id(timeline)) else { return Ok(Vec::new()) };
        let newer = state.cursors(uid, timeline);
        let tables = state.tables.clone();
        drop(state);
        let mut cursors: BTreeMap<DeviceId, Version> = BTreeMap::new();
        for table in tables.iter() {
            let prefix = Kind::Cursor.and(uid, timeline);
            table.scan(&prefix, self.wait, |key, value| {
                let device = std::str::from_utf8(key.get(prefix.len()..)?).ok()?;
                let version = Version(Input(value).varint()?.cast_signed());
                let cursor: &mut Version = cursors.entry(DeviceId::new(device).ok()?).or_default();
                *cursor = version.max(*cursor);
                Some(ControlFlow::Continue(()))
            })?;
        }
        for (device, version) in newer {
            let cursor = cursors.entry(device).or_default();
            *cursor = version.max(*cursor);
        }
        let cursors = cursors.into_iter().take(MAX_CURSORS);
        Ok(cursors.map(|(device, version)| Cursor { device, version }).collect())
    }
}

/// Adds a change to the older ones of its conversation.
fn add(rows: &mut HashMap<OwnerId, Moved>, peer: OwnerId, newer: Moved) {
    rows.entry(peer).and_modify(|row| *row = newer.after(*row)).or_insert(newer);
}

fn conversation(state: &State, peer: OwnerId, row: Moved) -> Option<Conversation> {
    Some(Conversation {
        with: name::target_of(state.owners.name(peer)?),
        last_version: row.last_version,
        last_msgid: row.last_msgid,
        last_at: row.last_at,
        unread: row.unread,
    })
}

/// The entry with this payload, which has to be the one that stands there.
fn entry_of(
    payload: &[u8],
    timeline: &TimelineId,
    version: Version,
    entry: &EntryRef,
) -> Result<Entry, Fault> {
    let stored = message(payload, entry.at)?;
    let is_it = stored.version_in(timeline) == Some(version) && stored.message.msgid == entry.msgid;
    match is_it {
        true => Ok(Entry { version, message: stored.message, withdrawn_at: stored.withdrawn_at }),
        false => Err(Fault::BadRecord(entry.at)),
    }
}

fn message(payload: &[u8], at: Position) -> Result<Stored, Fault> {
    match record::parse(payload, Bytes::copy_from_slice) {
        Some(Record::Message(stored)) => Ok(stored),
        _ => Err(Fault::BadRecord(at)),
    }
}
