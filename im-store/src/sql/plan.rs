//! How a batch of posts becomes rows, given what the store already has. No SQL: every adapter looks up what
//! [`Known`] asks for, calls [`plan`], and inserts the rows of the [`Plan`], all in one transaction.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use im_core::id::{MsgId, Uid, Version};
use im_core::message::{Message, SendKey, TimelineId};
use im_core::storage::{Found, Placed, Post, StoreError, StoreErrorKind};

use super::name;

/// What the store has that concerns a batch.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The batch's owners (see [`owners_of`]) that have a row.
    pub(crate) owners: HashMap<TimelineId, KnownOwner>,
    /// For each post, what is stored under its key.
    pub(crate) sends: Vec<Option<Found>>,
    /// For each post, whether its msgid stands in one of its timelines.
    pub(crate) msgid_taken: Vec<bool>,
    /// The greatest number of an owner.
    pub(crate) last_owner: i64,
    /// The greatest number of a message.
    pub(crate) last_message: i64,
}

/// An owner's row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KnownOwner {
    pub(crate) id: i64,
    pub(crate) head: Version,
}

/// The answers to a batch, and the rows to store before giving them.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) answers: Vec<Result<Placed, StoreError>>,
    /// New, or with a new head; in order of number.
    pub(crate) owners: Vec<OwnerRow>,
    pub(crate) messages: Vec<MessageRow>,
    /// In order of owner and version.
    pub(crate) entries: Vec<EntryRow>,
    /// At most one for each conversation.
    pub(crate) conversations: Vec<ConversationRow>,
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
    pub(crate) home: Version,
    pub(crate) copy: Option<Version>,
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

/// Every timeline that a batch writes or names, once each.
pub(crate) fn owners_of(posts: &[Post]) -> Vec<TimelineId> {
    let mut seen = HashSet::new();
    let owners = posts.iter().flat_map(|post| {
        let ends = [TimelineId::User(post.message.from.clone()), name::timeline_of(&post.message.to)];
        ends.into_iter().chain([post.home.clone()]).chain(post.copy.clone())
    });
    owners.filter(|owner| seen.insert(owner.clone())).collect()
}

/// Decides every post of a batch, in order.
pub(crate) fn plan(posts: Vec<Post>, known: Known) -> Plan {
    let mut planner = Planner::default();
    let Known { owners, sends, msgid_taken, last_owner, last_message } = known;
    planner.last_owner = last_owner;
    planner.last_message = last_message;
    planner.owners = owners.into_iter().map(|(timeline, owner)| (timeline, Owner::of(owner))).collect();
    for ((post, found), taken) in posts.into_iter().zip(sends).zip(msgid_taken) {
        let answer = planner.decide(post, found, taken);
        planner.plan.answers.push(answer);
    }
    planner.finish()
}

#[derive(Default)]
struct Planner {
    plan: Plan,
    owners: HashMap<TimelineId, Owner>,
    /// What this batch stored so far.
    sends: HashMap<(Uid, SendKey), Found>,
    msgids: HashSet<(i64, MsgId)>,
    conversations: BTreeMap<(i64, i64), ConversationRow>,
    last_owner: i64,
    last_message: i64,
}

struct Owner {
    id: i64,
    head: Version,
    changed: bool,
}

impl Owner {
    fn of(known: KnownOwner) -> Self {
        Self { id: known.id, head: known.head, changed: false }
    }
}

impl Planner {
    fn decide(&mut self, post: Post, found: Option<Found>, taken: bool) -> Result<Placed, StoreError> {
        let key = (post.message.from.clone(), post.message.key.clone());
        let digest = post.message.digest();
        if let Some(found) = found.or_else(|| self.sends.get(&key).cloned()) {
            return match found.digest == digest {
                true => Ok(found.placed),
                false => Err(StoreError::new(StoreErrorKind::KeyReused, "append")),
            };
        }
        if taken || self.takes_msgid_of_batch(&post) {
            return Err(StoreError::new(StoreErrorKind::MsgIdReused, "append"));
        }
        let placed = self.place(post, digest.0);
        self.sends.insert(key, Found { digest, placed: Placed { repeated: true, ..placed.clone() } });
        Ok(placed)
    }

    fn takes_msgid_of_batch(&self, post: &Post) -> bool {
        let timelines = [Some(&post.home), post.copy.as_ref()];
        let ids = timelines.into_iter().flatten().filter_map(|timeline| Some(self.owners.get(timeline)?.id));
        ids.into_iter().any(|id| self.msgids.contains(&(id, post.message.msgid)))
    }

    fn place(&mut self, post: Post, digest: [u8; 16]) -> Placed {
        let Post { message, home, copy } = post;
        let copy = copy.filter(|copy| *copy != home);
        self.last_message += 1;
        let id = self.last_message;
        let home = self.enter(&home, id, &message);
        let copy = copy.map(|copy| self.enter(&copy, id, &message));
        let placed = Placed { msgid: message.msgid, sent_at: message.sent_at, home, copy, repeated: false };
        let row = MessageRow {
            id,
            sender: self.id_of(&TimelineId::User(message.from)),
            target: self.id_of(&name::timeline_of(&message.to)),
            send_key: message.key.to_bytes(),
            digest,
            content: message.content,
            msgid: message.msgid,
            kind: message.kind.0,
            content_type: message.content_type.0,
            sent_at: message.sent_at.0,
            home,
            copy,
        };
        self.plan.messages.push(row);
        placed
    }

    /// Gives the message its version in a timeline.
    fn enter(&mut self, timeline: &TimelineId, id: i64, message: &Message) -> Version {
        let owner = self.owner(timeline);
        let (owner, version) = (owner.id, owner.advance());
        let msgid = message.msgid;
        self.msgids.insert((owner, msgid));
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
            Owner { id: *last, head: Version::ZERO, changed: true }
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
