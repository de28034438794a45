use super::{CursorAck, Head};
use crate::id::{NodeId, Version};
use crate::message::{Digest, Message, TimelineId};
use crate::time::Timestamp;

/// One thing that a store keeps and cannot work out from the others.
///
/// Conversation lists are not among them: they follow from the entries (see [`Conversations`](super::Conversations)), and an import
/// makes them as an append does. Kinds may be added: an import refuses one that it does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Row {
    /// A timeline that has, or had, an entry: its head is above 0.
    Timeline(TimelineId, Head),
    /// A message, with where it stands.
    Post(Box<StoredPost>),
    /// How far a device is.
    Cursor(CursorAck),
    /// A node number that was taken once, or the floor of all leases.
    Node(HeldNode),
}

impl Row {
    /// Which kind it is.
    pub fn kind(&self) -> RowKind {
        match self {
            Self::Timeline(..) => RowKind::Timeline,
            Self::Post(_) => RowKind::Post,
            Self::Cursor(_) => RowKind::Cursor,
            Self::Node(_) => RowKind::Node,
        }
    }

    /// About how many bytes it takes, for budgets: [`Message::size`], or 128 for what has no content.
    pub fn size(&self) -> usize {
        match self {
            Self::Post(post) => post.message.size(),
            _ => 128,
        }
    }
}

/// The kinds of rows, in the order in which they are exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RowKind {
    /// [`Row::Timeline`].
    #[default]
    Timeline,
    /// [`Row::Post`].
    Post,
    /// [`Row::Cursor`].
    Cursor,
    /// [`Row::Node`].
    Node,
}

/// A message as it is stored: once, however many timelines it stands in, with all that its repeats are answered from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPost {
    /// What was appended. The content is empty if it was withdrawn, or if retention removed it and only the key is remembered.
    pub message: Message,
    /// What the send said at first; [`Message::digest`] as long as the message has its content.
    pub digest: Digest,
    /// When it was withdrawn, if it was.
    pub withdrawn_at: Option<Timestamp>,
    /// Where its key is remembered.
    pub home: Place,
    /// The other timeline it stands in, if there is one.
    pub copy: Option<Place>,
}

impl StoredPost {
    /// Its places, home first.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        [Some(&self.home), self.copy.as_ref()].into_iter().flatten()
    }
}

/// A version of a timeline. At or below the timeline's floor it holds nothing any more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Which timeline.
    pub timeline: TimelineId,
    /// Where in it.
    pub version: Version,
}

/// What is known of a node number; see [`Nodes`](super::Nodes). Under [`NodeId::FLOOR`] it is the floor of all leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldNode {
    /// The number.
    pub node: NodeId,
    /// Who took it last.
    pub holder: String,
    /// Which taking that was.
    pub epoch: i64,
    /// The first moment that ids may not carry yet: where the next lease begins.
    pub until: Timestamp,
}
