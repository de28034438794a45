//! How a batch of posts, or of parts of posts, becomes rows, given what the store already has. No SQL: every adapter looks up what
//! [`Known`] asks for, calls [`plan`], and inserts the rows of the [`Plan`], all in one transaction.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use im_core::id::{MsgId, Uid, Version};
use im_core::message::{Digest, Message, SendKey, Target, TimelineId};
use im_core::storage::{
    Misfit, MovedPost, Part, Place, Placed, Post, StoreError, StoreErrorKind, StoredPost,
};
use im_core::time::Timestamp;

use super::halves::{self, Sent, Standing};
use crate::name;

/// What the store has that concerns a batch.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The batch's owners (see [`owners_of`]) that have a row.
    pub(crate) owners: HashMap<TimelineId, KnownOwner>,
    /// For each part, what is stored under its key. Nothing is asked for a copy.
    pub(crate) sends: Vec<Option<Sent>>,
    /// For each part, what stands under its msgid in one of the timelines that it [writes](written).
    pub(crate) standing: Vec<Option<Standing>>,
    /// For each part, whether a bucket that it writes to is not written to here; empty if all are.
    pub(crate) refused: Vec<bool>,
    /// The greatest number of an owner.
    pub(crate) last_owner: i64,
    /// The greatest number of a message.
    pub(crate) last_message: i64,
}

/// An owner's row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KnownOwner {
    pub(crate) id: i64,
    pub(crate) floor: Version,
    pub(crate) head: Version,
    /// Whether it has a timeline: an append gives it one, an import has to have announced it.
    pub(crate) has_timeline: bool,
}

/// The answers to a batch, and the rows to store before giving them.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) answers: Vec<Result<Placed, StoreError>>,
    /// New, or with a new head; in order of number.
    pub(crate) owners: Vec<OwnerRow>,
    pub(crate) messages: Vec<MessageRow>,
    /// For messages whose timelines are not those of their sender and target.
    pub(crate) odd_places: Vec<OddPlaceRow>,
    /// In order of owner and version.
    pub(crate) entries: Vec<EntryRow>,
    /// At most one for each conversation.
    pub(crate) conversations: Vec<ConversationRow>,
    /// Halves to deliver, in the order of storing.
    pub(crate) outbox: Vec<OutboxRow>,
}

#[derive(Debug)]
pub(crate) struct OwnerRow {
    pub(crate) id: i64,
    pub(crate) name: Vec<u8>,
    pub(crate) head: Version,
}

#[derive(Debug)]
pub(crate) struct MessageRow {
    pub(crate) id: i64,
    pub(crate) sender: i64,
    pub(crate) target: i64,
    pub(crate) send_key: Vec<u8>,
    pub(crate) digest: [u8; 16],
    pub(crate) content: Bytes,
    pub(crate) msgid: MsgId,
    pub(crate) kind: u32,
    pub(crate) content_type: i32,
    pub(crate) sent_at: i64,
    pub(crate) withdrawn_at: Option<i64>,
    pub(crate) home_owner: i64,
    pub(crate) home: Version,
    pub(crate) copy_owner: Option<i64>,
    pub(crate) copy: Option<Version>,
}

#[derive(Debug)]
pub(crate) struct OddPlaceRow {
    pub(crate) message: i64,
    pub(crate) home: i64,
    pub(crate) copy: Option<i64>,
}

#[derive(Debug)]
pub(crate) struct EntryRow {
    pub(crate) owner: i64,
    pub(crate) version: Version,
    pub(crate) msgid: MsgId,
    pub(crate) message: i64,
}

/// What a batch does to one conversation.
#[derive(Debug)]
pub(crate) struct ConversationRow {
    pub(crate) owner: i64,
    pub(crate) peer: i64,
    pub(crate) last_version: Version,
    pub(crate) last_msgid: MsgId,
    pub(crate) last_at: i64,
    /// The owner's last own entry in the batch; 0 if there is none.
    pub(crate) read_version: Version,
    /// Entries of others in the batch, after that.
    pub(crate) unread: i64,
}

#[derive(Debug)]
pub(crate) struct OutboxRow {
    /// The message's number in [`Plan::messages`].
    pub(crate) message: i64,
    pub(crate) sender: i64,
    pub(crate) into: i64,
}

/// Every timeline that a batch writes or names, once each.
pub(crate) fn owners_of(parts: &[Part]) -> Vec<TimelineId> {
    let owners = parts.iter().flat_map(|part| {
        let (message, timelines) = match part {
            Part::Whole(post) | Part::Home { post, .. } | Part::Key { post, .. } => {
                (&post.message, [Some(&post.home), post.copy.as_ref()])
            }
            Part::Copy { message, into } => (message, [Some(into), None]),
        };
        ends(message).into_iter().chain(timelines.into_iter().flatten().cloned())
    });
    once_each(owners)
}

/// The timelines in which a part makes an entry.
pub(crate) fn written(part: &Part) -> impl Iterator<Item = &TimelineId> {
    let timelines = match part {
        Part::Whole(post) => [Some(&post.home), post.copy.as_ref()],
        Part::Home { post, .. } => [Some(&post.home), None],
        Part::Key { .. } => [None, None],
        Part::Copy { into, .. } => [Some(into), None],
    };
    timelines.into_iter().flatten()
}

/// Whose buckets a part writes to: the timelines in which it makes an entry, and the sender who remembers its key.
pub(crate) fn concerned(part: &Part) -> Vec<TimelineId> {
    let keeps_key = !matches!(part, Part::Copy { .. });
    let sender = keeps_key.then(|| TimelineId::User(message_of(part).from.clone()));
    written(part).cloned().chain(sender).collect()
}

/// The message of a part.
pub(crate) fn message_of(part: &Part) -> &Message {
    match part {
        Part::Whole(post) | Part::Home { post, .. } | Part::Key { post, .. } => &post.message,
        Part::Copy { message, .. } => message,
    }
}

/// For each part, the key to look up: a copy has none here.
pub(crate) fn keys_of(parts: &[Part]) -> Vec<Option<(Uid, SendKey)>> {
    let key = |part: &Part| {
        let message = message_of(part);
        let is_copy = matches!(part, Part::Copy { .. });
        (!is_copy).then(|| (message.from.clone(), message.key.clone()))
    };
    parts.iter().map(key).collect()
}

/// The places to look at for standing messages, and for each of them the number of its part.
pub(crate) fn places_of(parts: &[Part]) -> (Vec<(TimelineId, MsgId)>, Vec<usize>) {
    let places = parts.iter().enumerate().flat_map(|(number, part)| {
        let msgid = message_of(part).msgid;
        written(part).map(move |timeline| ((timeline.clone(), msgid), number))
    });
    places.unzip()
}

/// The same of posts to import.
pub(crate) fn owners_of_stored(posts: &[StoredPost]) -> Vec<TimelineId> {
    let owners = posts.iter().flat_map(|post| {
        ends(&post.message).into_iter().chain(post.places().map(|place| place.timeline.clone()))
    });
    once_each(owners)
}

/// The same of posts that come from another database.
pub(crate) fn owners_of_moved(posts: &[MovedPost]) -> Vec<TimelineId> {
    let owners = posts.iter().flat_map(|post| {
        let key = post.key.iter().flat_map(|(home, copy)| [Some(home), copy.as_ref()]);
        let places = key.flatten().chain(&post.entries).map(|place| place.timeline.clone());
        ends(&post.message).into_iter().chain(places)
    });
    once_each(owners)
}

fn ends(message: &Message) -> [TimelineId; 2] {
    [TimelineId::User(message.from.clone()), name::timeline_of(&message.to)]
}

fn once_each(owners: impl Iterator<Item = TimelineId>) -> Vec<TimelineId> {
    let mut seen = HashSet::new();
    owners.filter(|owner| seen.insert(owner.clone())).collect()
}

/// Decides every part of a batch, in order.
pub(crate) fn plan(parts: Vec<Part>, known: Known) -> Plan {
    let Known { owners, sends, standing, refused, last_owner, last_message } = known;
    let mut planner = Planner::new(owners, last_owner, last_message);
    let refused = refused.into_iter().chain(std::iter::repeat(false));
    for (((part, sent), standing), refused) in parts.into_iter().zip(sends).zip(standing).zip(refused) {
        let answer = match refused && !planner.failed.contains(part.timeline()) {
            true => {
                planner.failed.insert(part.timeline().clone());
                Err(StoreError::new(StoreErrorKind::Moved, "append"))
            }
            false => planner.decide(part, sent, standing),
        };
        planner.plan.answers.push(answer);
    }
    planner.finish()
}

/// Places posts at the versions that they name. Keys and msgids are new; where they are not, the database refuses the rows.
pub(crate) fn import(posts: Vec<StoredPost>, known: Known) -> Result<Plan, Misfit> {
    let mut planner = Planner::new(known.owners, known.last_owner, known.last_message);
    for post in posts {
        planner.import(post)?;
    }
    Ok(planner.finish())
}

/// Places what comes from another database at the versions that it has. What is there already is passed over: entries up to the head, and keys in [`Known::sends`].
pub(crate) fn moved(posts: Vec<MovedPost>, known: Known) -> Result<Plan, Misfit> {
    let mut planner = Planner::new(known.owners, known.last_owner, known.last_message);
    for (post, sent) in posts.into_iter().zip(known.sends) {
        planner.moved(post, sent.is_some())?;
    }
    Ok(planner.finish())
}

#[derive(Default)]
struct Planner {
    plan: Plan,
    owners: HashMap<TimelineId, Owner>,
    /// What this batch stored so far.
    sends: HashMap<(Uid, SendKey), Sent>,
    /// By owner and msgid: the version, and the place in [`Plan::messages`].
    msgids: HashMap<(i64, MsgId), (Version, usize)>,
    /// Homes with a part that failed retryably.
    failed: HashSet<TimelineId>,
    conversations: BTreeMap<(i64, i64), ConversationRow>,
    last_owner: i64,
    last_message: i64,
}

struct Owner {
    id: i64,
    floor: Version,
    head: Version,
    has_timeline: bool,
    changed: bool,
}

impl Owner {
    fn of(known: KnownOwner) -> Self {
        let KnownOwner { id, floor, head, has_timeline } = known;
        Self { id, floor, head, has_timeline, changed: false }
    }
}

impl Planner {
    fn new(owners: HashMap<TimelineId, KnownOwner>, last_owner: i64, last_message: i64) -> Self {
        let owners = owners.into_iter().map(|(timeline, owner)| (timeline, Owner::of(owner))).collect();
        Self { owners, last_owner, last_message, ..Self::default() }
    }

    fn decide(
        &mut self,
        part: Part,
        sent: Option<Sent>,
        standing: Option<Standing>,
    ) -> Result<Placed, StoreError> {
        if self.failed.contains(part.timeline()) {
            return Err(StoreError::new(StoreErrorKind::OutOfOrder, "append"));
        }
        let taken = standing.is_some();
        match part {
            Part::Whole(post) => self.whole(post, sent, taken),
            Part::Home { post, taken: elsewhere } => self.half(post, sent, taken || elsewhere, true),
            Part::Key { post, taken } => self.half(post, sent, taken, false),
            Part::Copy { message, into } => self.copy(message, into, standing),
        }
    }

    /// What is remembered of a send, or `KeyReused` if that says something else.
    fn known(
        &self,
        key: &(Uid, SendKey),
        digest: Digest,
        sent: Option<Sent>,
    ) -> Option<Result<Sent, StoreError>> {
        let sent = sent.or_else(|| self.sends.get(key).cloned())?;
        Some(match sent.digest() == digest {
            true => Ok(sent),
            false => Err(StoreError::new(StoreErrorKind::KeyReused, "append")),
        })
    }

    fn whole(&mut self, post: Post, sent: Option<Sent>, taken: bool) -> Result<Placed, StoreError> {
        let key = (post.message.from.clone(), post.message.key.clone());
        let digest = post.message.digest();
        match self.known(&key, digest, sent).transpose()? {
            Some(sent) if sent.pending => {
                self.failed.insert(post.home);
                return Err(StoreError::new(StoreErrorKind::Unavailable, "append"));
            }
            Some(sent) => return Ok(sent.into_placed()),
            None => {}
        }
        if taken || [Some(&post.home), post.copy.as_ref()].into_iter().flatten().any(|at| self.has(at, &post))
        {
            return Err(StoreError::new(StoreErrorKind::MsgIdReused, "append"));
        }
        let placed = self.place(post, digest);
        self.sends.insert(key, Sent::new(digest, placed.clone(), false));
        Ok(placed)
    }

    /// The sender's half: an entry in home and its key, or the key alone, and what is to be delivered.
    fn half(
        &mut self,
        post: Post,
        sent: Option<Sent>,
        taken: bool,
        has_home: bool,
    ) -> Result<Placed, StoreError> {
        let key = (post.message.from.clone(), post.message.key.clone());
        let digest = post.message.digest();
        if let Some(sent) = self.known(&key, digest, sent) {
            return sent.map(Sent::into_placed);
        }
        if taken || (has_home && self.has(&post.home, &post)) {
            return Err(StoreError::new(StoreErrorKind::MsgIdReused, "append_parts"));
        }
        let placed = self.place_half(post, digest, has_home);
        self.sends.insert(key, Sent::new(digest, placed.clone(), true));
        Ok(placed)
    }

    fn place_half(&mut self, post: Post, digest: Digest, has_home: bool) -> Placed {
        let Post { message, home, copy } = post;
        let id = self.next_message();
        let (msgid, sent_at) = (message.msgid, message.sent_at);
        let sender = TimelineId::User(message.from.clone());
        let into = copy.unwrap_or_else(|| home.clone());
        let row = OutboxRow { message: id, sender: self.id_of(&sender), into: self.id_of(&into) };
        self.plan.outbox.push(row);
        let copy = Some(Place { timeline: into, version: Version::ZERO });
        let version = match has_home {
            true => {
                let version = self.enter(&home, id, &message);
                let home = Place { timeline: home, version };
                self.keep(id, StoredPost { message, digest, withdrawn_at: None, home, copy });
                version
            }
            false => {
                let home = Place { timeline: sender, version: Version(-msgid.0) };
                self.keep_row(id, StoredPost { message, digest, withdrawn_at: None, home, copy }, None);
                Version::ZERO
            }
        };
        Placed { msgid, sent_at, home: version, copy: None, repeated: false }
    }

    /// The receiver's half.
    fn copy(
        &mut self,
        message: Message,
        into: TimelineId,
        standing: Option<Standing>,
    ) -> Result<Placed, StoreError> {
        let (msgid, sent_at) = (message.msgid, message.sent_at);
        let placed = |home, repeated| Placed { msgid, sent_at, home, copy: None, repeated };
        let sender = self.id_of(&TimelineId::User(message.from.clone()));
        if let Some((version, same)) = self.standing(&message, sender, &into, standing) {
            return match same {
                true => Ok(placed(version, true)),
                false => Err(StoreError::new(StoreErrorKind::MsgIdReused, "append_parts")),
            };
        }
        let id = self.next_message();
        let version = self.enter(&into, id, &message);
        let key = halves::copy_key(self.id_of(&into), version, &message.key);
        let (digest, home) = (message.digest(), Place { timeline: into, version });
        let post = StoredPost { message, digest, withdrawn_at: None, home, copy: None };
        self.note_odd(id, &post);
        self.keep_row(id, post, Some(key));
        Ok(placed(version, false))
    }

    /// The version of what stands under a message's msgid, and whether it is that message.
    fn standing(
        &mut self,
        message: &Message,
        sender: i64,
        into: &TimelineId,
        standing: Option<Standing>,
    ) -> Option<(Version, bool)> {
        if let Some(standing) = standing {
            return Some((standing.version, standing.is(message)));
        }
        let owner = self.owners.get(into)?.id;
        let (version, row) = self.msgids.get(&(owner, message.msgid))?;
        let same = |row: &MessageRow| {
            row.sender == sender && halves::send_key(&row.send_key).as_ref() == Some(&message.key)
        };
        Some((*version, self.plan.messages.get(*row).is_some_and(same)))
    }

    /// Whether this batch stored another message with the post's msgid in a timeline.
    fn has(&self, timeline: &TimelineId, post: &Post) -> bool {
        let owner = self.owners.get(timeline);
        owner.is_some_and(|owner| self.msgids.contains_key(&(owner.id, post.message.msgid)))
    }

    fn place(&mut self, post: Post, digest: Digest) -> Placed {
        let Post { message, home, copy } = post;
        let copy = copy.filter(|copy| *copy != home);
        let id = self.next_message();
        let home = Place { version: self.enter(&home, id, &message), timeline: home };
        let copy = copy.map(|copy| Place { version: self.enter(&copy, id, &message), timeline: copy });
        let (msgid, sent_at) = (message.msgid, message.sent_at);
        let copied = copy.as_ref().map(|copy| copy.version);
        let placed = Placed { msgid, sent_at, home: home.version, copy: copied, repeated: false };
        self.keep(id, StoredPost { message, digest, withdrawn_at: None, home, copy });
        placed
    }

    fn import(&mut self, post: StoredPost) -> Result<(), Misfit> {
        let id = self.next_message();
        for Place { timeline, version } in post.places() {
            let owner = self.owners.get(timeline).filter(|owner| owner.has_timeline);
            let owner = owner.ok_or_else(|| Misfit::Unannounced(timeline.clone()))?;
            if *version <= owner.floor {
                continue;
            }
            if *version != owner.head.next() {
                let (timeline, head) = (timeline.clone(), owner.head);
                return Err(Misfit::Version { timeline, head, came: *version });
            }
            self.enter(timeline, id, &post.message);
        }
        self.keep(id, post);
        Ok(())
    }

    /// A row for the key, which the entries share if its home is here; else each entry is a receiver's half.
    fn moved(&mut self, post: MovedPost, key_is_known: bool) -> Result<(), Misfit> {
        let MovedPost { message, digest, withdrawn_at, key, entries } = post;
        let head = |owners: &HashMap<TimelineId, Owner>, place: &Place| {
            owners.get(&place.timeline).map(|owner| owner.head).unwrap_or_default()
        };
        let entries: Vec<Place> =
            entries.into_iter().filter(|place| place.version > head(&self.owners, place)).collect();
        for Place { timeline, version } in &entries {
            let head = self.owner(timeline).head;
            if *version != head.next() {
                return Err(Misfit::Version { timeline: timeline.clone(), head, came: *version });
            }
        }
        let sender = TimelineId::User(message.from.clone());
        match key.filter(|_| !key_is_known) {
            Some((home, copy)) if home.timeline == sender || entries.contains(&home) => {
                let id = self.next_message();
                for place in &entries {
                    self.enter(&place.timeline, id, &message);
                }
                self.keep(id, StoredPost { message, digest, withdrawn_at, home, copy });
                return Ok(());
            }
            Some((home, _)) => {
                let id = self.next_message();
                let key = Place { timeline: sender, version: Version(-message.msgid.0) };
                let message = Message { content: Bytes::new(), ..message.clone() };
                let post = StoredPost { message, digest, withdrawn_at, home: key, copy: Some(home) };
                self.keep_row(id, post, None);
            }
            None => {}
        }
        for home in entries {
            let id = self.next_message();
            let version = self.enter(&home.timeline, id, &message);
            let key = halves::copy_key(self.id_of(&home.timeline), version, &message.key);
            let post = StoredPost { message: message.clone(), digest, withdrawn_at, home, copy: None };
            self.note_odd(id, &post);
            self.keep_row(id, post, Some(key));
        }
        Ok(())
    }

    fn next_message(&mut self) -> i64 {
        self.last_message += 1;
        self.last_message
    }

    /// Makes a message's rows.
    fn keep(&mut self, id: i64, post: StoredPost) {
        self.note_odd(id, &post);
        self.keep_row(id, post, None);
    }

    fn note_odd(&mut self, id: i64, post: &StoredPost) {
        if !stands_as_usual(&post.message, &post.home, post.copy.as_ref()) {
            let row = OddPlaceRow {
                message: id,
                home: self.id_of(&post.home.timeline),
                copy: post.copy.as_ref().map(|copy| self.id_of(&copy.timeline)),
            };
            self.plan.odd_places.push(row);
        }
    }

    fn keep_row(&mut self, id: i64, post: StoredPost, key: Option<Vec<u8>>) {
        let StoredPost { message, digest, withdrawn_at, home, copy } = post;
        let row = MessageRow {
            id,
            sender: self.id_of(&TimelineId::User(message.from)),
            target: self.id_of(&name::timeline_of(&message.to)),
            send_key: key.unwrap_or_else(|| message.key.to_bytes()),
            digest: digest.0,
            content: message.content,
            msgid: message.msgid,
            kind: message.kind.0,
            content_type: message.content_type.0,
            sent_at: message.sent_at.0,
            withdrawn_at: withdrawn_at.map(|Timestamp(ms)| ms),
            home_owner: self.id_of(&home.timeline),
            home: home.version,
            copy_owner: copy.as_ref().map(|copy| self.id_of(&copy.timeline)),
            copy: copy.map(|copy| copy.version),
        };
        self.plan.messages.push(row);
    }

    /// Gives the message its version in a timeline.
    fn enter(&mut self, timeline: &TimelineId, id: i64, message: &Message) -> Version {
        let owner = self.owner(timeline);
        let (owner, version) = (owner.id, owner.advance());
        let msgid = message.msgid;
        self.msgids.insert((owner, msgid), (version, self.plan.messages.len()));
        self.plan.entries.push(EntryRow { owner, version, msgid, message: id });
        if let TimelineId::User(uid) = timeline {
            let peer = self.id_of(&name::timeline_of(&message.conversation(timeline)));
            self.move_conversation(owner, peer, version, message.from == *uid, message);
        }
        version
    }

    fn move_conversation(&mut self, owner: i64, peer: i64, version: Version, own: bool, message: &Message) {
        let before = self.conversations.get(&(owner, peer));
        let (read, unread) = before.map_or((Version::ZERO, 0), |row| (row.read_version, row.unread));
        let row = ConversationRow {
            owner,
            peer,
            last_version: version,
            last_msgid: message.msgid,
            last_at: message.sent_at.0,
            read_version: if own { version } else { read },
            unread: if own { 0 } else { unread + 1 },
        };
        self.conversations.insert((owner, peer), row);
    }

    fn id_of(&mut self, timeline: &TimelineId) -> i64 {
        self.owner(timeline).id
    }

    /// The owner's row, with a new number if it has none.
    fn owner(&mut self, timeline: &TimelineId) -> &mut Owner {
        let last = &mut self.last_owner;
        self.owners.entry(timeline.clone()).or_insert_with(|| {
            *last += 1;
            let (floor, head) = (Version::ZERO, Version::ZERO);
            Owner { id: *last, floor, head, has_timeline: false, changed: true }
        })
    }

    fn finish(mut self) -> Plan {
        let changed = self.owners.iter().filter(|(_, owner)| owner.changed);
        let row = |(timeline, owner): (&TimelineId, &Owner)| OwnerRow {
            id: owner.id,
            name: name::of(timeline),
            head: owner.head,
        };
        self.plan.owners = changed.map(row).collect();
        self.plan.owners.sort_unstable_by_key(|row| row.id);
        self.plan.entries.sort_unstable_by_key(|row| (row.owner, row.version));
        self.plan.conversations = self.conversations.into_values().collect();
        self.plan
    }
}

impl Owner {
    fn advance(&mut self) -> Version {
        self.head = self.head.next();
        self.changed = true;
        self.head
    }
}

/// Whether a message stands in its sender's timeline with the copy, if any, in the target's; or in its group's alone.
fn stands_as_usual(message: &Message, home: &Place, copy: Option<&Place>) -> bool {
    let target = name::timeline_of(&message.to);
    match &message.to {
        Target::User(_) => {
            matches!(&home.timeline, TimelineId::User(uid) if *uid == message.from)
                && copy.is_none_or(|copy| copy.timeline == target)
        }
        Target::Group(_) => home.timeline == target && copy.is_none(),
    }
}
