//! Users and groups by number. All of them are kept in memory: about a hundred bytes each.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use im_core::id::{MsgId, Version};
use im_core::message::TimelineId;

/// A user's or group's number, in the order in which the store first heard of them.
pub(super) type OwnerId = u32;

/// A timeline's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) version: Version,
    /// The greatest msgid that stands in it: a greater one is new.
    pub(super) max_msgid: MsgId,
}

impl Head {
    /// Of an empty timeline.
    pub(super) const EMPTY: Self = Self { version: Version::ZERO, max_msgid: MsgId(i64::MIN) };

    /// After one more entry.
    pub(super) fn after(self, msgid: MsgId) -> Self {
        Self { version: self.version.next(), max_msgid: self.max_msgid.max(msgid) }
    }
}

#[derive(Debug)]
struct Owner {
    name: TimelineId,
    head: Head,
}

#[derive(Debug, Default)]
pub(super) struct Owners {
    ids: HashMap<TimelineId, OwnerId, RandomState>,
    rows: Vec<Owner>,
}

impl Owners {
    pub(super) fn len(&self) -> OwnerId {
        OwnerId::try_from(self.rows.len()).expect("owners are added one by one, by number")
    }

    pub(super) fn id(&self, name: &TimelineId) -> Option<OwnerId> {
        self.ids.get(name).copied()
    }

    pub(super) fn name(&self, id: OwnerId) -> Option<&TimelineId> {
        self.rows.get(id as usize).map(|row| &row.name)
    }

    pub(super) fn head(&self, id: OwnerId) -> Head {
        self.rows.get(id as usize).map_or(Head::EMPTY, |row| row.head)
    }

    pub(super) fn set_head(&mut self, id: OwnerId, head: Head) {
        if let Some(row) = self.rows.get_mut(id as usize) {
            row.head = head;
        }
    }

    /// Adds the owner with the next number.
    pub(super) fn push(&mut self, name: TimelineId) -> OwnerId {
        let id = self.len();
        self.ids.insert(name.clone(), id);
        self.rows.push(Owner { name, head: Head::EMPTY });
        id
    }
}
