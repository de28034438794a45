use std::collections::BTreeMap;

use crate::id::{MsgId, Version};
use crate::message::{Entry, Message, Target, TimelineId};
use crate::storage::{Conversation, Head, Page, Read};
use crate::time::Timestamp;

/// One timeline and the conversation list that it makes.
#[derive(Clone, Debug, Default)]
pub(super) struct Timeline {
    /// What retention took away, before the timeline was imported.
    floor: Version,
    entries: BTreeMap<Version, Entry>,
    places: BTreeMap<MsgId, Version>,
    conversations: BTreeMap<Target, Conversation>,
}

impl Timeline {
    /// One without entries, up to and with `floor` of which all were removed.
    pub(super) fn above(floor: Version) -> Self {
        Self { floor, ..Self::default() }
    }

    /// The newest version.
    pub(super) fn head(&self) -> Version {
        self.entries.last_key_value().map_or(self.floor, |(version, _)| *version)
    }

    /// Where it begins and ends.
    pub(super) fn bounds(&self) -> Head {
        Head { floor: self.floor, head: self.head() }
    }

    /// Appends a message to this timeline, which is `owner`'s.
    pub(super) fn push(
        &mut self,
        owner: &TimelineId,
        message: Message,
        withdrawn_at: Option<Timestamp>,
    ) -> Version {
        let version = self.head().next();
        if let TimelineId::User(uid) = owner {
            let own = message.from == *uid;
            self.move_conversation(version, own, message.conversation(owner), &message);
        }
        self.places.insert(message.msgid, version);
        self.entries.insert(version, Entry { version, message, withdrawn_at });
        version
    }

    fn move_conversation(&mut self, version: Version, own: bool, with: Target, message: &Message) {
        let unread = self.conversations.get(&with).map_or(0, |row| row.unread);
        let row = Conversation {
            with: with.clone(),
            last_version: version,
            last_msgid: message.msgid,
            last_at: message.sent_at,
            unread: if own { 0 } else { unread + 1 },
        };
        self.conversations.insert(with, row);
    }

    /// A message's version.
    pub(super) fn locate(&self, msgid: MsgId) -> Option<Version> {
        self.places.get(&msgid).copied()
    }

    /// The conversations, in no order that means anything.
    pub(super) fn conversations(&self) -> Vec<Conversation> {
        self.conversations.values().cloned().collect()
    }

    /// A page.
    pub(super) fn read(&self, read: &Read) -> Page {
        let mut page = Page { entries: Vec::new(), head: self.head() };
        let (after, until) = (read.after.max(Version::ZERO), read.until.unwrap_or(page.head));
        if until <= after {
            return page;
        }
        let mut bytes = 0_usize;
        for entry in self.entries.range(after.next()..=until).map(|(_, entry)| entry).take(read.limit.max(1))
        {
            bytes = bytes.saturating_add(entry.message.size());
            if bytes > read.max_bytes && !page.entries.is_empty() {
                break;
            }
            page.entries.push(entry.clone());
        }
        page
    }
}
