use crate::id::NodeId;
use crate::message::TimelineId;
use crate::storage::{Row, StoredPost};

/// How much of a store was handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Timelines of users.
    pub users: u64,
    /// Timelines of groups.
    pub groups: u64,
    /// Entries that these timelines hold: known when all timelines are, before the first message. Compare [`entries`](Self::entries).
    pub entries_expected: u64,
    /// Messages, each once.
    pub messages: u64,
    /// Places of those messages in timelines, removed ones included.
    pub entries: u64,
    /// Bytes of those messages' contents.
    pub content_bytes: u64,
    /// Cursors of devices.
    pub cursors: u64,
    /// Node numbers.
    pub nodes: u64,
}

impl Counts {
    pub(super) fn add(&mut self, row: &Row) {
        match row {
            Row::Timeline(timeline, head) => {
                match timeline {
                    TimelineId::User(_) => self.users += 1,
                    TimelineId::Group(_) => self.groups += 1,
                }
                let entries = head.head.0.saturating_sub(head.floor.0);
                self.entries_expected = self.entries_expected.saturating_add_signed(entries);
            }
            Row::Post(post) => self.add_post(post),
            Row::Cursor(_) => self.cursors += 1,
            Row::Node(held) => self.nodes += u64::from(held.node <= NodeId::MAX),
        }
    }

    fn add_post(&mut self, post: &StoredPost) {
        self.messages += 1;
        self.entries += if post.copy.is_some() { 2 } else { 1 };
        self.content_bytes += u64::try_from(post.message.content.len()).unwrap_or(u64::MAX);
    }
}
