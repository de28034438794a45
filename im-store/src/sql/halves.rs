//! How the rows of `messages` tell posts that are stored whole from halves of posts between two databases (see
//! [`Outbox`](im_core::storage::Outbox)). Every adapter of SQL stores them so:
//!
//! | row | `home` | `copy` | `send_key` |
//! |---|---|---|---|
//! | a whole post | its version | the copy's version, or NULL | the key |
//! | the sender's half | its version | 0, then the version it got in the other database | the key |
//! | a key alone | below 1 | 0, then the version it got in the other database | the key |
//! | the receiver's half | its version | NULL | `x`, timeline, version, the key: in nobody's way |

use im_core::id::{MsgId, Uid, Version};
use im_core::message::{Digest, Message, SendKey};
use im_core::storage::{Found, Placed};
use im_core::time::Timestamp;

/// What is remembered of a send.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    found: Found,
    /// Whether its other half has still to be delivered.
    pub(crate) pending: bool,
}

impl Sent {
    pub(crate) fn new(digest: Digest, placed: Placed, pending: bool) -> Self {
        Self { found: Found { digest, placed: Placed { repeated: true, ..placed } }, pending }
    }

    /// From the columns `digest`, `msgid`, `sent_at`, `home` and `copy`; `None` if the digest is none.
    pub(crate) fn of_row(digest: &[u8], [msgid, sent_at, home]: [i64; 3], copy: Option<i64>) -> Option<Self> {
        let (home, other) = (Version(home), copy.map(Version));
        let (home, copy) = match home > Version::ZERO {
            true => (home, other.filter(|copy| *copy > Version::ZERO)),
            false => (other.unwrap_or_default(), None),
        };
        let (msgid, sent_at) = (MsgId(msgid), Timestamp(sent_at));
        let placed = Placed { msgid, sent_at, home, copy, repeated: true };
        Some(Self::new(Digest(digest.try_into().ok()?), placed, other == Some(Version::ZERO)))
    }

    pub(crate) fn digest(&self) -> Digest {
        self.found.digest
    }

    pub(crate) fn into_placed(self) -> Placed {
        self.found.placed
    }

    /// What [`find`](im_core::storage::Timelines::find) says: nothing as long as it is pending.
    pub(crate) fn into_found(self) -> Option<Found> {
        (!self.pending).then_some(self.found)
    }
}

/// A message that stands in a timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) version: Version,
    pub(crate) from: Uid,
    pub(crate) key: SendKey,
}

impl Standing {
    /// Whether it is this message: of equal msgids only one can be.
    pub(crate) fn is(&self, message: &Message) -> bool {
        self.from == message.from && self.key == message.key
    }
}

/// Marks the key of a receiver's half. No [`SendKey`] begins with it, and all come before it.
pub(crate) const COPY: u8 = b'x';

/// What stands before the key.
const PREFIX: usize = 1 + 8 + 8;

/// The column `send_key` of a receiver's half in the timeline of `owner`.
pub(crate) fn copy_key(owner: i64, version: Version, key: &SendKey) -> Vec<u8> {
    [&[COPY][..], &owner.to_be_bytes(), &version.0.to_be_bytes(), &key.to_bytes()].concat()
}

/// Whether a column `send_key` is of a receiver's half.
#[cfg(any(feature = "sqlite", feature = "mysql", feature = "postgres"))]
pub(crate) fn is_copy(column: &[u8]) -> bool {
    column.first() == Some(&COPY)
}

/// The key in a column `send_key`.
pub(crate) fn send_key(column: &[u8]) -> Option<SendKey> {
    match column.first() {
        Some(&COPY) => SendKey::from_bytes(column.get(PREFIX..)?),
        _ => SendKey::from_bytes(column),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use im_core::id::{ClientMsgId, ConnId};
    use im_proto::{CmdId, Seq};

    #[test]
    fn a_key_is_the_same_in_both_halves_and_never_taken_for_the_other() {
        let client = SendKey::Client(ClientMsgId::new(&"x".repeat(64)).unwrap());
        for key in [client, SendKey::Link(ConnId(-1), CmdId::C2C_SEND, Seq(7))] {
            let copy = copy_key(i64::MAX, Version(i64::MAX), &key);
            assert!(copy.len() <= 96, "{}", copy.len());
            assert_ne!(copy, key.to_bytes());
            assert_eq!((send_key(&copy), send_key(&key.to_bytes())), (Some(key.clone()), Some(key)));
        }
        assert_eq!((send_key(b"x"), send_key(b"")), (None, None));
    }

    #[test]
    fn rows_tell_whole_posts_and_halves_apart() {
        let of = |home, copy| {
            let sent = Sent::of_row(&[7; 16], [1, 2, home], copy).unwrap();
            let pending = sent.pending;
            let placed = sent.into_placed();
            (placed.home.0, placed.copy.map(|copy| copy.0), pending)
        };
        assert_eq!(of(3, None), (3, None, false));
        assert_eq!(of(3, Some(4)), (3, Some(4), false));
        assert_eq!(of(3, Some(0)), (3, None, true));
        assert_eq!(of(-1, Some(0)), (0, None, true));
        assert_eq!(of(-1, Some(5)), (5, None, false));
        assert!(Sent::of_row(&[7; 15], [1, 2, 3], None).is_none());
    }
}
