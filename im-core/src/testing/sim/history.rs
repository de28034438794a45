use std::collections::{BTreeMap, BTreeSet};

use crate::client::{LocalEntry, Outgoing, Receipt};
use crate::id::{ClientMsgId, MsgId, RoomId, StoreEpoch, Uid, Version};
use crate::message::Entry;

/// Something that happened and that promises are about, told to every invariant as it happens.
#[derive(Debug)]
pub(super) enum Seen<'a> {
    /// A server wrote to a link of `uid` that this message stands at this place of `uid`'s timeline.
    Shown { epoch: StoreEpoch, uid: &'a Uid, version: Version, msgid: MsgId },
    /// A server wrote to a link of `uid` a message with this content.
    Content { uid: &'a Uid, content: &'a [u8] },
    /// A server wrote to a link of `uid` that its timeline reaches to here.
    Head { epoch: StoreEpoch, uid: &'a Uid, head: Version },
    /// A device keeps entries for good, and shows those that it does not know (`known`, one for each).
    Applied {
        device: usize,
        epoch: StoreEpoch,
        uid: &'a Uid,
        entries: &'a [LocalEntry],
        known: &'a [bool],
        cursor: Version,
    },
    /// A device learned that its send is durable.
    Acked { epoch: StoreEpoch, uid: &'a Uid, receipt: &'a Receipt },
    /// The store went back to an earlier state, and lost these entries of these timelines.
    Restored { lost: &'a [(Uid, Entry)] },
    /// A device was told that its send will never be taken.
    Rejected { device: usize, why: &'a str },
    /// A device has a new link.
    NewLink { device: usize },
    /// A device was let into a room.
    Entered { device: usize, room: &'a RoomId },
    /// A device learned that it is out of a room.
    Left { device: usize, room: &'a RoomId },
    /// A user's device says something in a room, or tries to.
    Spoke { uid: &'a Uid, room: &'a RoomId, content: &'a [u8] },
    /// A push of a room came to a device.
    Heard { device: usize, room: &'a RoomId, from: &'a Uid, content: &'a [u8] },
    /// A hostile client got another answer than it should.
    WrongAnswer { expected: &'a [i32], got: i32 },
}

/// What there is when everything has come to rest.
#[derive(Debug, Default)]
pub(super) struct Ending {
    pub(super) devices: Vec<DeviceRecord>,
    pub(super) timelines: BTreeMap<Uid, Vec<Entry>>,
    /// The store's epoch.
    pub(super) epoch: StoreEpoch,
    /// What a restore took back and nobody sent again.
    pub(super) lost: BTreeSet<(Uid, ClientMsgId)>,
    /// Of the hostile clients; they have no device.
    pub(super) strangers: Vec<Uid>,
    /// Logged-in links, as the servers see it: user, and whatever of it conflicts under the kick policy.
    pub(super) logins: Vec<(Uid, String)>,
}

/// The oracle's record of one device.
#[derive(Debug)]
pub(super) struct DeviceRecord {
    pub(super) name: String,
    pub(super) uid: Uid,
    /// What its user handed in, in order.
    pub(super) sent: Vec<Outgoing>,
    /// What was acknowledged to it.
    pub(super) acked: BTreeMap<ClientMsgId, Receipt>,
    /// What it keeps, in version order.
    pub(super) kept: Vec<LocalEntry>,
    /// What it has of before a restore, and the store has no more.
    pub(super) earlier: Vec<LocalEntry>,
}

/// What a message of the simulation says: who sent it to whom, and its number. The end of a name is not the beginning of another's.
pub(super) fn content(from: &Uid, to: &Uid, number: u64) -> String {
    format!("{from}>{to}#{number}")
}

/// Whether `uid` is one end of the message with this content.
pub(super) fn concerns(content: &[u8], uid: &Uid) -> bool {
    let Ok(text) = std::str::from_utf8(content) else { return false };
    let Some((ends, _)) = text.split_once('#') else { return false };
    ends.split('>').any(|end| end == uid.as_str())
}
