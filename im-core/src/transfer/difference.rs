use std::fmt;

use super::{Counts, Side};
use crate::id::{MsgId, Uid, Version};
use crate::message::TimelineId;
use crate::storage::{Cursor, Found, Head, HeldNode, owner};

/// Differences that a [`Comparison`] keeps; the others are counted.
const KEPT: usize = 20;

/// What comparing two stores found.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// What was compared: what the first store holds.
    pub counts: Counts,
    /// The first differences, at most 20.
    pub differences: Vec<Difference>,
    /// How many there are in all, as far as they were counted one by one.
    pub found: u64,
}

impl Comparison {
    /// Whether both stores answer alike.
    pub fn is_equal(&self) -> bool {
        self.found == 0
    }

    pub(super) fn differ(&mut self, difference: Difference) {
        self.found += 1;
        if self.differences.len() < KEPT {
            self.differences.push(difference);
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_equal() {
            return f.write_str("the stores are equal");
        }
        for difference in &self.differences {
            writeln!(f, "{difference}")?;
        }
        let more = self.found.saturating_sub(u64::try_from(self.differences.len()).unwrap_or(u64::MAX));
        match more {
            0 => write!(f, "{} differences", self.found),
            _ => write!(f, "{} differences, {more} of them not listed", self.found),
        }
    }
}

/// One thing that two stores answer differently; first the first store's answer, then the second's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// A timeline begins or ends elsewhere; one that a store does not have is 0 to 0.
    Bounds(TimelineId, Head, Head),
    /// A timeline's entries are not the same from this version on.
    Entries(TimelineId, Version),
    /// A user's conversation list is not the same from this row on, counted from 0 for the newest.
    Conversations(Uid, usize),
    /// A send is remembered otherwise: in one store, in the other, and under which msgid it was exported.
    Send(MsgId, Option<Found>, Option<Found>),
    /// A timeline says that a message stands elsewhere than it was exported: by whom, and what they say.
    Located(TimelineId, MsgId, Side, Option<Version>),
    /// One store exports more messages than the other; those that the first does not know are listed as [`Send`](Self::Send).
    Messages(u64, u64),
    /// A user's devices stand elsewhere in a timeline.
    Cursors(Uid, TimelineId, Vec<Cursor>, Vec<Cursor>),
    /// A node number is held otherwise.
    Node(Option<HeldNode>, Option<HeldNode>),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bounds(timeline, a, b) => {
                let [a, b] = [a, b].map(|head| fmt::from_fn(|f| bounds(head, f)).to_string());
                write!(f, "the timeline of {}: {a} in the first store, {b} in the second", owner(timeline))
            }
            Self::Entries(timeline, version) => {
                write!(f, "the timeline of {}: the entries differ from version {version} on", owner(timeline))
            }
            Self::Conversations(uid, row) => {
                write!(f, "the conversation list of user {uid:?}: differs from row {row} on")
            }
            Self::Send(msgid, a, b) => {
                let [a, b] = [a, b].map(send);
                write!(f, "the send key of message {msgid}: {a} in the first store, {b} in the second")
            }
            Self::Located(timeline, msgid, side, version) => {
                let came = version.map_or("nowhere".to_owned(), |version| format!("at version {version}"));
                let owner = owner(timeline);
                write!(f, "message {msgid} stands {came} in the timeline of {owner}, says the {side} store")
            }
            Self::Messages(a, b) => {
                write!(f, "{a} messages in the first store, {b} in the second")
            }
            Self::Cursors(uid, timeline, a, b) => {
                let owner = owner(timeline);
                let [a, b] = [a, b].map(|list| cursors(list));
                write!(
                    f,
                    "the devices of user {uid:?} in the timeline of {owner}: {a} in the first store, {b} in the second"
                )
            }
            Self::Node(a, b) => {
                let [a, b] = [a, b].map(node);
                write!(f, "node {a} in the first store, {b} in the second")
            }
        }
    }
}

fn bounds(head: &Head, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{} to {}", head.floor, head.head)
}

fn send(found: &Option<Found>) -> String {
    let Some(Found { placed, digest }) = found else { return "unknown".to_owned() };
    let digest = u128::from_be_bytes(digest.0);
    let copy = placed.copy.map_or(String::new(), |copy| format!(" and {copy}"));
    format!(
        "message {} of {} ms at version {}{copy}, digest {digest:032x}",
        placed.msgid, placed.sent_at.0, placed.home
    )
}

fn cursors(list: &[Cursor]) -> String {
    let list: Vec<_> =
        list.iter().map(|cursor| format!("{:?} at {}", cursor.device, cursor.version)).collect();
    match list.is_empty() {
        true => "none".to_owned(),
        false => list.join(", "),
    }
}

fn node(held: &Option<HeldNode>) -> String {
    let Some(held) = held else { return "unknown".to_owned() };
    format!("{} held by {:?}, epoch {}, until {} ms", held.node, held.holder, held.epoch, held.until.0)
}
