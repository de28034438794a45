//! One record of the log: a length, a checksum over both, and what happened.
//!
//! A message's record is all there is of it: both its places with their versions, its key and its content. It names users and groups in
//! full, so that it can be read without anything else.

use bytes::Bytes;
use im_core::id::{DeviceId, MsgId, NodeId, Uid, Version};
use im_core::message::{ContentType, Digest, Message, SendKey, Target, TimelineId};
use im_core::storage::{CursorAck, Post};
use im_core::time::Timestamp;
use im_proto::CmdId;

use super::codec::{Input, put_bytes, put_signed, put_varint};
use super::nodes::NodeRow;
use crate::name;

/// Length and checksum.
pub(super) const HEADER: usize = 8;

const MESSAGE: u8 = 1;
const ACK: u8 = 2;
const LEASE: u8 = 3;
const SEAL: u8 = 4;

/// `home` is the sender's own timeline and is not named again.
const HOME_IS_SENDER: u8 = 1;
/// There is a copy.
const HAS_COPY: u8 = 2;
/// The copy is in the target's timeline, which is not named again.
const COPY_IS_TARGET: u8 = 4;
/// The digest is not that of the message as it is here.
const HAS_DIGEST: u8 = 8;
/// The message was withdrawn.
const IS_WITHDRAWN: u8 = 16;

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    Message(Stored),
    Ack(CursorAck),
    Lease(NodeId, NodeRow),
    /// The log goes on in the next segment.
    Seal,
}

/// A message and its places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) message: Message,
    pub(super) home: (TimelineId, Version),
    pub(super) copy: Option<(TimelineId, Version)>,
    /// What the send said, if it is not what the message says.
    pub(super) first_digest: Option<Digest>,
    pub(super) withdrawn_at: Option<Timestamp>,
}

/// What an imported message may have that none has when it is appended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Past {
    pub(super) first_digest: Option<Digest>,
    pub(super) withdrawn_at: Option<Timestamp>,
}

impl Stored {
    /// What the send said.
    pub(super) fn digest(&self) -> Digest {
        self.first_digest.unwrap_or_else(|| self.message.digest())
    }

    /// Its version in a timeline, if it stands there.
    pub(super) fn version_in(&self, timeline: &TimelineId) -> Option<Version> {
        let places = std::iter::once(&self.home).chain(&self.copy);
        places.into_iter().find(|(place, _)| place == timeline).map(|(_, version)| *version)
    }
}

/// Appends a message's record.
pub(super) fn put_message(out: &mut Vec<u8>, post: &Post, home: Version, copy: Option<Version>, past: Past) {
    let start = begin(out);
    let message = &post.message;
    let home_is_sender = matches!(&post.home, TimelineId::User(uid) if *uid == message.from);
    let copied_to = copy.and(post.copy.as_ref());
    let copy_is_target = copied_to.is_some_and(|copy| is_of(copy, &message.to));
    let mut flags = 0;
    for (is, flag) in [
        (home_is_sender, HOME_IS_SENDER),
        (copied_to.is_some(), HAS_COPY),
        (copy_is_target, COPY_IS_TARGET),
        (past.first_digest.is_some(), HAS_DIGEST),
        (past.withdrawn_at.is_some(), IS_WITHDRAWN),
    ] {
        flags |= if is { flag } else { 0 };
    }
    out.extend_from_slice(&[MESSAGE, flags]);
    out.extend_from_slice(&message.msgid.0.to_le_bytes());
    put_varint(out, message.kind.0.into());
    put_signed(out, message.sent_at.0);
    put_signed(out, message.content_type.0.into());
    put_varint(out, home.0.cast_unsigned());
    if let Some(copy) = copy {
        put_varint(out, copy.0.cast_unsigned());
    }
    put_bytes(out, message.from.as_str().as_bytes());
    put_target(out, &message.to);
    put_key(out, &message.key);
    if !home_is_sender {
        put_timeline(out, &post.home);
    }
    if let Some(copy) = copied_to.filter(|_| !copy_is_target) {
        put_timeline(out, copy);
    }
    if let Some(digest) = past.first_digest {
        out.extend_from_slice(&digest.0);
    }
    if let Some(at) = past.withdrawn_at {
        put_signed(out, at.0);
    }
    out.extend_from_slice(&message.content);
    end(out, start);
}

/// Appends the record of a device's cursor.
pub(super) fn put_ack(out: &mut Vec<u8>, ack: &CursorAck) {
    let start = begin(out);
    out.push(ACK);
    put_bytes(out, ack.uid.as_str().as_bytes());
    put_timeline(out, &ack.timeline);
    put_bytes(out, ack.device.as_str().as_bytes());
    put_signed(out, ack.version.0);
    end(out, start);
}

/// Appends the record of a node's lease.
pub(super) fn put_lease(out: &mut Vec<u8>, node: NodeId, row: &NodeRow) {
    let start = begin(out);
    out.push(LEASE);
    out.extend_from_slice(&node.0.to_le_bytes());
    row.put(out);
    end(out, start);
}

/// Appends the record that ends a segment.
pub(super) fn put_seal(out: &mut Vec<u8>) {
    let start = begin(out);
    out.push(SEAL);
    end(out, start);
}

/// The payload's length that a record's header announces.
pub(super) fn payload_len(header: &[u8]) -> Option<usize> {
    usize::try_from(Input(header).u32()?).ok()
}

/// The payload of the record at the front of `bytes`, if it is whole and its checksum is right.
pub(super) fn payload(bytes: &[u8]) -> Option<&[u8]> {
    let mut input = Input(bytes);
    let (len, crc) = (input.u32()?, input.u32()?);
    let payload = input.take(usize::try_from(len).ok()?)?;
    (crc == checksum(len, payload)).then_some(payload)
}

/// The record with this payload. `content` cuts a message's content out of it: a copy, or a part of a shared buffer.
pub(super) fn parse(payload: &[u8], content: impl FnOnce(&[u8]) -> Bytes) -> Option<Record> {
    let mut input = Input(payload);
    match input.u8()? {
        MESSAGE => Some(Record::Message(parse_message(input, content)?)),
        ACK => Some(Record::Ack(CursorAck {
            uid: Uid::new(input.str()?).ok()?,
            timeline: timeline(input.bytes()?)?,
            device: DeviceId::new(input.str()?).ok()?,
            version: Version(input.signed()?),
        })),
        LEASE => Some(Record::Lease(NodeId(input.u16()?), NodeRow::parse(input.0)?)),
        SEAL => Some(Record::Seal),
        _ => None,
    }
}

/// Who sent the message with this payload, and under which key: enough to tell whether it is the one that is looked for.
pub(super) fn sender_and_key(payload: &[u8]) -> Option<(&str, &[u8])> {
    let mut input = Input(payload);
    if input.u8()? != MESSAGE {
        return None;
    }
    let flags = input.u8()?;
    input.i64()?;
    input.varint()?;
    input.signed()?;
    input.signed()?;
    input.varint()?;
    if flags & HAS_COPY != 0 {
        input.varint()?;
    }
    let from = input.str()?;
    input.bytes()?;
    Some((from, input.bytes()?))
}

fn parse_message(mut input: Input<'_>, content: impl FnOnce(&[u8]) -> Bytes) -> Option<Stored> {
    let flags = input.u8()?;
    let msgid = MsgId(input.i64()?);
    let kind = CmdId(u32::try_from(input.varint()?).ok()?);
    let sent_at = Timestamp(input.signed()?);
    let content_type = ContentType(i32::try_from(input.signed()?).ok()?);
    let home = Version(input.varint()?.cast_signed());
    let copy = match flags & HAS_COPY {
        0 => None,
        _ => Some(Version(input.varint()?.cast_signed())),
    };
    let from = Uid::new(input.str()?).ok()?;
    let to = name::parse(input.bytes()?)?;
    let key = SendKey::from_bytes(input.bytes()?)?;
    let home_in = match flags & HOME_IS_SENDER {
        0 => timeline(input.bytes()?)?,
        _ => TimelineId::User(from.clone()),
    };
    let copy = match copy {
        None => None,
        Some(version) if flags & COPY_IS_TARGET != 0 => Some((name::timeline_of(&to), version)),
        Some(version) => Some((timeline(input.bytes()?)?, version)),
    };
    let first_digest = match flags & HAS_DIGEST {
        0 => None,
        _ => Some(Digest(input.array()?)),
    };
    let withdrawn_at = match flags & IS_WITHDRAWN {
        0 => None,
        _ => Some(Timestamp(input.signed()?)),
    };
    let content = content(input.0);
    let message = Message { msgid, kind, from, to, key, content_type, content, sent_at };
    Some(Stored { message, home: (home_in, home), copy, first_digest, withdrawn_at })
}

/// Leaves room for the header; [`end`] fills it in.
fn begin(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    start
}

fn end(out: &mut [u8], start: usize) {
    // A frame is at most 1 MiB, and a record little more than its content.
    let len = u32::try_from(out.len() - start - HEADER).expect("a message is smaller than 4 GiB");
    let crc = checksum(len, &out[start + HEADER..]);
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    out[start + 4..start + HEADER].copy_from_slice(&crc.to_le_bytes());
}

fn checksum(len: u32, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(len, payload)
}

/// Whether a timeline is that of a target.
pub(super) fn is_of(timeline: &TimelineId, target: &Target) -> bool {
    match (timeline, target) {
        (TimelineId::User(uid), Target::User(to)) => uid == to,
        (TimelineId::Group(group), Target::Group(to)) => group == to,
        _ => false,
    }
}

fn put_key(out: &mut Vec<u8>, key: &SendKey) {
    match key {
        SendKey::Client(id) => {
            let id = id.as_str().as_bytes();
            put_varint(out, id.len() as u64 + 1);
            out.push(b'c');
            out.extend_from_slice(id);
        }
        SendKey::Link(..) => put_bytes(out, &key.to_bytes()),
    }
}

fn put_target(out: &mut Vec<u8>, target: &Target) {
    match target {
        Target::User(uid) => put_user(out, uid),
        Target::Group(group) => put_bytes(out, &name::of(&TimelineId::Group(*group))),
    }
}

/// Appends a timeline's name, as [`timeline`] reads it.
pub(super) fn put_timeline(out: &mut Vec<u8>, timeline: &TimelineId) {
    match timeline {
        TimelineId::User(uid) => put_user(out, uid),
        TimelineId::Group(group) => put_target(out, &Target::Group(*group)),
    }
}

fn put_user(out: &mut Vec<u8>, uid: &Uid) {
    let uid = uid.as_str().as_bytes();
    put_varint(out, uid.len() as u64 + 1);
    out.push(b'u');
    out.extend_from_slice(uid);
}

/// The timeline that a name names.
pub(super) fn timeline(name: &[u8]) -> Option<TimelineId> {
    name::parse(name).map(|target| name::timeline_of(&target))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use im_core::id::{ClientMsgId, ConnId, GroupId};
    use im_proto::Seq;

    use super::*;

    fn uid(name: &str) -> Uid {
        Uid::new(name).unwrap()
    }

    fn post(to: Target, home: TimelineId, copy: Option<TimelineId>, key: SendKey) -> Post {
        let message = Message {
            msgid: MsgId(-7),
            kind: CmdId::C2C_SEND,
            from: uid("alice"),
            to,
            key,
            content_type: ContentType(-3),
            content: Bytes::from_static(b"hello"),
            sent_at: Timestamp(-12),
        };
        Post { message, home, copy }
    }

    fn parsed(bytes: &[u8]) -> Option<Record> {
        parse(payload(bytes)?, Bytes::copy_from_slice)
    }

    #[test]
    fn a_message_survives_its_record_wherever_it_stands() {
        let (alice, bob) = (TimelineId::User(uid("alice")), TimelineId::User(uid("bob")));
        let group = TimelineId::Group(GroupId(9));
        let client = SendKey::Client(ClientMsgId::new("k").unwrap());
        let link = SendKey::Link(ConnId(-5), CmdId(1006), Seq(4));
        for (to, home, copy, key) in [
            (Target::User(uid("bob")), alice.clone(), Some(bob.clone()), client.clone()),
            (Target::User(uid("bob")), bob.clone(), Some(alice.clone()), link.clone()),
            (Target::User(uid("alice")), alice.clone(), None, link),
            (Target::Group(GroupId(9)), group.clone(), None, client.clone()),
            (Target::Group(GroupId(9)), group.clone(), Some(alice.clone()), client.clone()),
            (Target::Group(GroupId(9)), alice.clone(), Some(group), client),
        ] {
            let post = post(to, home, copy, key);
            let copied = post.copy.is_some().then_some(Version(300));
            let mut bytes = Vec::new();
            let past = Past { first_digest: Some(Digest([9; 16])), withdrawn_at: Some(Timestamp(-1)) };
            let past = if copied.is_some() { past } else { Past::default() };
            let Past { first_digest, withdrawn_at } = past;
            put_message(&mut bytes, &post, Version(7), copied, past);
            let expected = Stored {
                message: post.message.clone(),
                home: (post.home.clone(), Version(7)),
                copy: post.copy.clone().zip(copied),
                first_digest,
                withdrawn_at,
            };
            assert_eq!(parsed(&bytes), Some(Record::Message(expected)));
            let key = post.message.key.to_bytes();
            assert_eq!(sender_and_key(payload(&bytes).unwrap()), Some(("alice", &key[..])));
        }
    }

    #[test]
    fn acks_leases_and_seals_survive_their_records() {
        let ack = CursorAck {
            uid: uid("alice"),
            device: DeviceId::default(),
            timeline: TimelineId::Group(GroupId(1)),
            version: Version(5),
        };
        let row = NodeRow { holder: "here".to_owned(), epoch: 3, until: Timestamp(9) };
        let mut bytes = Vec::new();
        put_ack(&mut bytes, &ack);
        assert_eq!(parsed(&bytes), Some(Record::Ack(ack)));
        bytes.clear();
        put_lease(&mut bytes, NodeId(1023), &row);
        assert_eq!(parsed(&bytes), Some(Record::Lease(NodeId(1023), row)));
        bytes.clear();
        put_seal(&mut bytes);
        assert_eq!(parsed(&bytes), Some(Record::Seal));
    }

    #[test]
    fn a_flipped_bit_anywhere_makes_a_record_none() {
        let key = SendKey::Client(ClientMsgId::new("k").unwrap());
        let home = TimelineId::User(uid("alice"));
        let mut bytes = Vec::new();
        put_message(
            &mut bytes,
            &post(Target::User(uid("alice")), home, None, key),
            Version(1),
            None,
            Past::default(),
        );
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(payload(&bytes), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(payload(&bytes).is_some());
    }
}
