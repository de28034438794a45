//! The message as it is stored, and the entry that it makes in a timeline.

use std::hash::Hasher;

use bytes::Bytes;
use im_proto::{CmdId, Seq};
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::id::{ClientMsgId, ConnId, GroupId, MsgId, Uid, Version};
use crate::time::Timestamp;

/// Whose timeline it is. Every user and every group has one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TimelineId {
    /// A user's own timeline.
    User(Uid),
    /// A group's timeline.
    Group(GroupId),
}

/// Where a message is addressed; seen from one of its ends, the conversation that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// One user.
    User(Uid),
    /// A group.
    Group(GroupId),
}

/// What a content is: 0 text, then image, voice, video, file, location, card; from 100 the integrator's own. The server
/// stores and compares the number and never reads the content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentType(pub i32);

/// What makes a repeat of a send recognisable: unique for its sender.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SendKey {
    /// The client named the message. Good for at least 30 days, over any link.
    Client(ClientMsgId),
    /// The client gave no name: link, command and sequence number serve for the link's life.
    Link(ConnId, CmdId, Seq),
}

impl SendKey {
    /// The client's own id, if it gave one.
    pub fn client_msg_id(&self) -> Option<&ClientMsgId> {
        match self {
            Self::Client(id) => Some(id),
            Self::Link(..) => None,
        }
    }

    /// The key as bytes, for adapters to index: unequal for unequal keys, at most 80 bytes long.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Client(id) => [b"c", id.as_str().as_bytes()].concat(),
            Self::Link(conn, cmd, seq) => {
                [&b"l"[..], &conn.0.to_be_bytes(), &cmd.0.to_be_bytes(), &seq.0.to_be_bytes()].concat()
            }
        }
    }

    /// The key that [`to_bytes`](Self::to_bytes) made these bytes from; `None` for any others.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (b'c', id) => Some(Self::Client(ClientMsgId::new(std::str::from_utf8(id).ok()?).ok()?)),
            (b'l', link) => {
                let (conn, rest) = link.split_first_chunk::<8>()?;
                let (cmd, rest) = rest.split_first_chunk::<4>()?;
                let seq = <[u8; 4]>::try_from(rest).ok()?;
                Some(Self::Link(
                    ConnId(i64::from_be_bytes(*conn)),
                    CmdId(u32::from_be_bytes(*cmd)),
                    Seq(u32::from_be_bytes(seq)),
                ))
            }
            _ => None,
        }
    }
}

/// What a send says: command, target, content type and content, as 16 bytes of SipHash-1-3 with a zero key. Two sends under one
/// [`SendKey`] are the same send exactly if their digests are equal. A sender who makes two of its own contents
/// collide fools only itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 16]);

/// A message: stored once, then placed in one timeline or two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Unique in the system; fixed before the first try to store and kept by every retry.
    pub msgid: MsgId,
    /// The command that brought it, [`CmdId::C2C_SEND`] for a direct message.
    pub kind: CmdId,
    /// Who sent it.
    pub from: Uid,
    /// Whom it is for.
    pub to: Target,
    /// What makes a repeat recognisable.
    pub key: SendKey,
    /// What the content is.
    pub content_type: ContentType,
    /// The content, opaque.
    pub content: Bytes,
    /// When the server accepted it.
    pub sent_at: Timestamp,
}

impl Message {
    /// The digest of command, target, content type and content.
    pub fn digest(&self) -> Digest {
        let mut hasher = SipHasher13::new();
        match &self.to {
            Target::User(uid) => {
                hasher.write_u8(0);
                hasher.write_u8(u8::try_from(uid.as_str().len()).unwrap_or(u8::MAX));
                hasher.write(uid.as_str().as_bytes());
            }
            Target::Group(group) => {
                hasher.write_u8(1);
                hasher.write_i64(group.0);
            }
        }
        hasher.write_u32(self.kind.0);
        hasher.write_i32(self.content_type.0);
        hasher.write(&self.content);
        Digest(hasher.finish128().as_bytes())
    }

    /// The conversation that this message belongs to in `owner`'s timeline: with the receiver for the sender, with the
    /// sender for the receiver, the group for everybody.
    pub fn conversation(&self, owner: &TimelineId) -> Target {
        match (&self.to, owner) {
            (Target::User(to), TimelineId::User(owner)) if to == owner => Target::User(self.from.clone()),
            (to, _) => to.clone(),
        }
    }

    /// About how many bytes the message takes, for budgets.
    pub fn size(&self) -> usize {
        self.content.len() + self.from.as_str().len() + 128
    }
}

/// One entry of a timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in this timeline.
    pub version: Version,
    /// What it says.
    pub message: Message,
    /// When it was withdrawn, if it was; its content is empty then.
    pub withdrawn_at: Option<Timestamp>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn message(to: Target, content: &str) -> Message {
        Message {
            msgid: MsgId(1),
            kind: CmdId::C2C_SEND,
            from: Uid::new("alice").unwrap(),
            to,
            key: SendKey::Client(ClientMsgId::new("k").unwrap()),
            content_type: ContentType(0),
            content: Bytes::copy_from_slice(content.as_bytes()),
            sent_at: Timestamp(0),
        }
    }

    fn user(name: &str) -> Target {
        Target::User(Uid::new(name).unwrap())
    }

    #[test]
    fn the_digest_tells_target_type_and_content_apart() {
        let first = message(user("bob"), "hi");
        assert_eq!(first.digest(), message(user("bob"), "hi").digest());
        assert_ne!(first.digest(), message(user("bo"), "bhi").digest());
        assert_ne!(first.digest(), message(user("bob"), "hi!").digest());
        assert_ne!(first.digest(), Message { content_type: ContentType(1), ..first.clone() }.digest());
    }

    #[test]
    fn the_digest_is_the_same_in_every_build_because_it_is_stored() {
        let digest = message(user("bob"), "hi").digest();
        assert_eq!(digest.0, [72, 40, 81, 173, 106, 148, 211, 114, 62, 248, 180, 46, 123, 92, 192, 231]);
    }

    #[test]
    fn a_key_survives_its_bytes_and_kinds_never_meet() {
        let client = SendKey::Client(ClientMsgId::new("l2345678").unwrap());
        let link = SendKey::Link(ConnId(-5), CmdId::C2C_SEND, Seq(9));
        for key in [&client, &link] {
            assert_eq!(SendKey::from_bytes(&key.to_bytes()).as_ref(), Some(key));
        }
        assert_eq!(SendKey::from_bytes(b""), None);
        assert_eq!(SendKey::from_bytes(b"lshort"), None);
    }
}
