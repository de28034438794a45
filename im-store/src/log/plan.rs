//! What a batch does: every post, ack and lease is decided in its turn, and what is accepted becomes a record and a change to the state,
//! which is made when the record is synced.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use im_core::id::{DeviceId, MsgId, NodeId, Uid, Version};
use im_core::message::{Target, TimelineId};
use im_core::storage::{CursorAck, NodeLease, Placed, Post, StoreError, StoreErrorKind};
use im_core::time::Timestamp;

use super::Fault;
use super::batch::Builder;
use super::hash::{KeyHasher, NumberMap};
use super::nodes::{self, NodeRow};
use super::owners::{Head, OwnerId};
use super::recent::{Keys, Place, Placement};
use super::record::{self, Past, Record, Stored};
use super::segment::Position;
use super::segments::{Reader, Segments, Wait};
use super::state::{self, Located, State};
use crate::name;

/// The changes of a batch. Places in it are counted from its own beginning.
#[derive(Debug, Default)]
pub(super) struct Changes {
    placements: Vec<Placement>,
    keys: Keys,
    heads: NumberMap<OwnerId, Head>,
    /// Owners that the state does not know, and the numbers that they will get.
    owners: HashMap<TimelineId, OwnerId>,
    names: Vec<TimelineId>,
    acks: Vec<(OwnerId, OwnerId, DeviceId, Version)>,
    pub(super) leases: Vec<(NodeId, NodeRow)>,
}

impl Changes {
    /// Makes the changes, of a batch that begins at `base`.
    pub(super) fn apply(self, state: &mut State, base: Position) {
        for name in &self.names {
            state.owner(name);
        }
        for mut placement in self.placements {
            placement.at = Position(base.0 + placement.at.0);
            state.place(&placement);
        }
        for (uid, timeline, device, version) in self.acks {
            state.recent.ack(uid, timeline, device, version);
        }
        for (node, row) in self.leases {
            state.lease(node, row);
        }
    }
}

/// Decides, given what is stored and what the batch has already.
pub(super) struct Planner<'a> {
    pub(super) state: &'a State,
    pub(super) segments: &'a Segments,
    pub(super) hasher: KeyHasher,
    pub(super) batch: &'a mut Builder,
    pub(super) changes: Changes,
}

impl Planner<'_> {
    /// Decides posts. One that cannot be decided takes all after it along, for the order.
    pub(super) fn posts(&mut self, posts: &[Post]) -> Vec<Result<Placed, StoreError>> {
        let mut answers = Vec::with_capacity(posts.len());
        self.changes.placements.reserve(posts.len());
        let mut failed = None;
        for post in posts {
            let answer = match &failed {
                None => self.post(post),
                Some(fault) => Err(Fault::clone(fault)),
            };
            answers.push(
                answer.unwrap_or_else(|fault| Err(failed.get_or_insert(fault).clone().into_error("append"))),
            );
        }
        answers
    }

    fn post(&mut self, post: &Post) -> Result<Result<Placed, StoreError>, Fault> {
        let key = self.hasher.hash(&post.message.from, &post.message.key);
        if let Some(stored) = self.known(key, post)? {
            return Ok(match stored.digest() == post.message.digest() {
                true => Ok(placed(&stored)),
                false => Err(StoreError::new(StoreErrorKind::KeyReused, "append")),
            });
        }
        let copy = post.copy.as_ref().filter(|copy| **copy != post.home);
        let ends =
            Ends { home: self.known_owner(&post.home), copy: copy.and_then(|copy| self.known_owner(copy)) };
        for owner in [ends.home, ends.copy].into_iter().flatten() {
            if self.stands_with(owner, post.message.msgid)? {
                return Ok(Err(StoreError::new(StoreErrorKind::MsgIdReused, "append")));
            }
        }
        Ok(Ok(self.place_at(post, copy, ends, key, Past::default())))
    }

    /// The message with the post's send key, if there is one.
    pub(super) fn known(&self, key: u64, post: &Post) -> Result<Option<Stored>, Fault> {
        for at in self.changes.keys.find(key) {
            let payload = record::payload(self.batch.from(usize::try_from(at.0).unwrap_or(0)));
            if let Some(stored) = payload.and_then(|payload| same_send(payload, post)) {
                return Ok(Some(stored));
            }
        }
        if !self.state.may_have(key) {
            return Ok(None);
        }
        let mut places = self.state.keys(key);
        if self.state.tables_may_have(key) {
            places.extend(state::keys_in(&self.state.tables, key, Wait::Disk)?);
        }
        for at in places {
            let mut reader = Reader::new(self.segments, Wait::Disk);
            if let Some(stored) = same_send(reader.payload(&[at])?, post) {
                return Ok(Some(stored));
            }
        }
        Ok(None)
    }

    /// Whether a msgid stands in a timeline.
    pub(super) fn stands(&self, timeline: &TimelineId, msgid: MsgId) -> Result<bool, Fault> {
        self.known_owner(timeline).map_or(Ok(false), |owner| self.stands_with(owner, msgid))
    }

    /// The same, of an owner's timeline.
    fn stands_with(&self, owner: OwnerId, msgid: MsgId) -> Result<bool, Fault> {
        if msgid > self.head(owner).max_msgid {
            return Ok(false);
        }
        let in_batch = self.changes.placements.iter().filter(|placement| placement.msgid == msgid);
        if in_batch
            .flat_map(|placement| [Some(placement.home), placement.copy])
            .flatten()
            .any(|place| place.owner == owner)
        {
            return Ok(true);
        }
        match self.state.locate(owner, msgid) {
            Located::At(_) => Ok(true),
            Located::Nowhere => Ok(false),
            Located::NotInMemory => {
                Ok(state::locate_in(&self.state.tables, owner, msgid, Wait::Disk)?.is_some())
            }
        }
    }

    pub(super) fn place(&mut self, post: &Post, copy: Option<&TimelineId>, key: u64, past: Past) -> Placed {
        self.place_at(post, copy, Ends::default(), key, past)
    }

    /// Places a post, of whose ends some numbers may be known already.
    fn place_at(
        &mut self,
        post: &Post,
        copy: Option<&TimelineId>,
        known: Ends,
        key: u64,
        past: Past,
    ) -> Placed {
        let message = &post.message;
        let home_id = known.home.unwrap_or_else(|| self.owner(&post.home));
        let copy_id = copy.map(|copy| known.copy.unwrap_or_else(|| self.owner(copy)));
        let ends = Ends { home: Some(home_id), copy: copy_id };
        let home = self.enter(post, &post.home, home_id, ends);
        let copy = copy.zip(copy_id).map(|(copy, owner)| self.enter(post, copy, owner, ends));
        let copied = copy.map(|place| place.version);
        let at = self.batch.add(|out| record::put_message(out, post, home.version, copied, past));
        let at = Position(at as u64);
        self.changes.keys.insert(key, at);
        let (msgid, sent_at) = (message.msgid, message.sent_at);
        self.changes.placements.push(Placement { at, key, msgid, sent_at, home, copy });
        Placed { msgid, sent_at, home: home.version, copy: copied, repeated: false }
    }

    /// Gives a post its version in a timeline.
    fn enter(&mut self, post: &Post, timeline: &TimelineId, owner: OwnerId, ends: Ends) -> Place {
        let owners = &self.state.owners;
        let head = self.changes.heads.entry(owner).or_insert_with(|| owners.head(owner));
        *head = head.after(post.message.msgid);
        let version = head.version;
        let conversation = match timeline {
            TimelineId::User(uid) => Some((self.peer(post, uid, ends), post.message.from == *uid)),
            TimelineId::Group(_) => None,
        };
        Place { owner, version, conversation }
    }

    /// With whom the conversation is that a post belongs to in a user's timeline.
    fn peer(&mut self, post: &Post, uid: &Uid, ends: Ends) -> OwnerId {
        let Post { message, home, copy } = post;
        let is_sender = |place: &TimelineId| matches!(place, TimelineId::User(uid) if *uid == message.from);
        let is_target = |place: &TimelineId| record::is_of(place, &message.to);
        let of_sender = matches!(&message.to, Target::User(to) if to == uid);
        let is_peer = |place: &TimelineId| if of_sender { is_sender(place) } else { is_target(place) };
        if let Some(owner) = ends.home.filter(|_| is_peer(home)) {
            return owner;
        }
        if let Some(owner) = ends.copy.filter(|_| copy.as_ref().is_some_and(is_peer)) {
            return owner;
        }
        match of_sender {
            true => self.owner(&TimelineId::User(message.from.clone())),
            false => self.owner(&name::timeline_of(&message.to)),
        }
    }

    /// Decides acknowledgements.
    pub(super) fn acks(&mut self, acks: Vec<CursorAck>) -> Vec<Result<(), StoreError>> {
        acks.into_iter().map(|ack| self.ack(ack)).collect()
    }

    pub(super) fn ack(&mut self, ack: CursorAck) -> Result<(), StoreError> {
        let head = self.known_owner(&ack.timeline).map_or(Version::ZERO, |owner| self.head(owner).version);
        if ack.version > head {
            return Err(StoreError::new(StoreErrorKind::AheadOfHead, "ack"));
        }
        let (uid, timeline) = (self.owner(&TimelineId::User(ack.uid.clone())), self.owner(&ack.timeline));
        let held = self.state.recent.cursors.get(&(uid, timeline, ack.device.clone()));
        if held.is_some_and(|held| *held >= ack.version) {
            return Ok(());
        }
        self.batch.add(|out| record::put_ack(out, &ack));
        // A cursor starts at 0, whatever is acknowledged first.
        self.changes.acks.push((uid, timeline, ack.device, ack.version.max(Version::ZERO)));
        Ok(())
    }

    /// Takes a node number.
    pub(super) fn lease(
        &mut self,
        holder: &str,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<NodeLease, StoreError> {
        self.leased(nodes::take(&self.nodes(), holder, now, ttl), "lease_node")
    }

    /// Moves a lease's end.
    pub(super) fn renew(&mut self, lease: &NodeLease, until: Timestamp) -> Result<NodeLease, StoreError> {
        self.leased(nodes::renew(&self.nodes(), lease, until), "renew_node")
    }

    /// Moves a lease's end back.
    pub(super) fn release(&mut self, lease: &NodeLease, until: Timestamp) -> Result<NodeLease, StoreError> {
        self.leased(nodes::release(&self.nodes(), lease, until), "release_node")
    }

    fn leased(
        &mut self,
        lease: Option<(NodeLease, NodeRow)>,
        operation: &'static str,
    ) -> Result<NodeLease, StoreError> {
        let (lease, row) = lease.ok_or_else(|| StoreError::new(StoreErrorKind::LeaseLost, operation))?;
        self.put_lease(lease.node, row);
        Ok(lease)
    }

    /// Moves the floor of all leases.
    pub(super) fn raise_floor(&mut self, now: Timestamp) {
        let (node, row) = nodes::floor(&self.nodes(), now);
        self.put_lease(node, row);
    }

    pub(super) fn put_lease(&mut self, node: NodeId, row: NodeRow) {
        self.batch.add(|out| record::put_lease(out, node, &row));
        self.changes.leases.push((node, row));
    }

    /// All rows, those of this batch included. Leases are rare.
    pub(super) fn nodes(&self) -> BTreeMap<NodeId, NodeRow> {
        let mut rows = self.state.nodes.clone();
        rows.extend(self.changes.leases.iter().cloned());
        rows
    }

    pub(super) fn head(&self, owner: OwnerId) -> Head {
        self.changes.heads.get(&owner).copied().unwrap_or_else(|| self.state.owners.head(owner))
    }

    pub(super) fn known_owner(&self, name: &TimelineId) -> Option<OwnerId> {
        let known = self.state.owners.id(name);
        known.or_else(|| {
            if self.changes.names.is_empty() { None } else { self.changes.owners.get(name).copied() }
        })
    }

    /// An owner's number, the next free one if they have none.
    fn owner(&mut self, name: &TimelineId) -> OwnerId {
        if let Some(owner) = self.known_owner(name) {
            return owner;
        }
        let new = OwnerId::try_from(self.changes.names.len()).expect("a batch is smaller than 4 GiB");
        let owner = self.state.owners.len() + new;
        self.changes.owners.insert(name.clone(), owner);
        self.changes.names.push(name.clone());
        owner
    }
}

/// The numbers of a post's timelines, if they are known.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    home: Option<OwnerId>,
    copy: Option<OwnerId>,
}

/// The message with this payload, if it has the post's sender and key.
fn same_send(payload: &[u8], post: &Post) -> Option<Stored> {
    let (from, key) = record::sender_and_key(payload)?;
    let same = from == post.message.from.as_str() && key == post.message.key.to_bytes();
    match same.then(|| record::parse(payload, bytes::Bytes::copy_from_slice))?? {
        Record::Message(stored) => Some(stored),
        _ => None,
    }
}

/// The answer to a repeat of a message.
pub(super) fn placed(stored: &Stored) -> Placed {
    Placed {
        msgid: stored.message.msgid,
        sent_at: stored.message.sent_at,
        home: stored.home.1,
        copy: stored.copy.as_ref().map(|(_, version)| *version),
        repeated: true,
    }
}
