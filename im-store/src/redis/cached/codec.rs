//! Entries and conversation rows as bytes. What does not decode is as good as not kept.

use bytes::{Buf, BufMut, Bytes};
use im_core::id::{GroupId, MsgId, Uid, Version};
use im_core::message::{ContentType, Entry, Message, SendKey, Target};
use im_core::storage::Conversation;
use im_core::time::Timestamp;
use im_proto::CmdId;

/// The format's number, to be changed with the format.
const ENTRY: u8 = 1;

pub(super) fn entry(entry: &Entry) -> Vec<u8> {
    let message = &entry.message;
    let mut out = Vec::with_capacity(128 + message.content.len());
    out.put_u8(ENTRY);
    out.put_i64(entry.version.0);
    out.put_i64(message.msgid.0);
    out.put_u32(message.kind.0);
    out.put_i32(message.content_type.0);
    out.put_i64(message.sent_at.0);
    out.put_u8(u8::from(entry.withdrawn_at.is_some()));
    out.put_i64(entry.withdrawn_at.unwrap_or_default().0);
    short(&mut out, message.from.as_str().as_bytes());
    target(&mut out, &message.to);
    short(&mut out, &message.key.to_bytes());
    out.put_slice(&message.content);
    out
}

pub(super) fn parse_entry(bytes: Vec<u8>) -> Option<Entry> {
    let mut bytes = Bytes::from(bytes);
    let rest = &mut bytes;
    if rest.try_get_u8().ok()? != ENTRY {
        return None;
    }
    let version = Version(rest.try_get_i64().ok()?);
    let msgid = MsgId(rest.try_get_i64().ok()?);
    let kind = CmdId(rest.try_get_u32().ok()?);
    let content_type = ContentType(rest.try_get_i32().ok()?);
    let sent_at = Timestamp(rest.try_get_i64().ok()?);
    let is_withdrawn = rest.try_get_u8().ok()? == 1;
    let withdrawn_at = Timestamp(rest.try_get_i64().ok()?);
    let from = parse_uid(&parse_short(rest)?)?;
    let to = parse_target(rest)?;
    let key = SendKey::from_bytes(&parse_short(rest)?)?;
    let message = Message { msgid, kind, from, to, key, content_type, content: bytes, sent_at };
    Some(Entry { version, message, withdrawn_at: is_withdrawn.then_some(withdrawn_at) })
}

/// The format's number, to be changed with the format.
const ROWS: u8 = 1;

pub(super) fn rows(rows: &[Conversation]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + rows.len() * 64);
    out.put_u8(ROWS);
    for row in rows {
        target(&mut out, &row.with);
        for number in [row.last_version.0, row.last_msgid.0, row.last_at.0, row.unread] {
            out.put_i64(number);
        }
    }
    out
}

pub(super) fn parse_rows(bytes: Vec<u8>) -> Option<Vec<Conversation>> {
    let mut bytes = Bytes::from(bytes);
    let rest = &mut bytes;
    if rest.try_get_u8().ok()? != ROWS {
        return None;
    }
    let mut rows = Vec::new();
    while rest.has_remaining() {
        rows.push(Conversation {
            with: parse_target(rest)?,
            last_version: Version(rest.try_get_i64().ok()?),
            last_msgid: MsgId(rest.try_get_i64().ok()?),
            last_at: Timestamp(rest.try_get_i64().ok()?),
            unread: rest.try_get_i64().ok()?,
        });
    }
    Some(rows)
}

/// Names and keys have at most 80 bytes.
fn short(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u8(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    out.put_slice(bytes);
}

fn parse_short(bytes: &mut Bytes) -> Option<Bytes> {
    let len = usize::from(bytes.try_get_u8().ok()?);
    (bytes.len() >= len).then(|| bytes.split_to(len))
}

fn parse_uid(bytes: &[u8]) -> Option<Uid> {
    Uid::new(std::str::from_utf8(bytes).ok()?).ok()
}

fn target(out: &mut Vec<u8>, target: &Target) {
    match target {
        Target::User(uid) => {
            out.put_u8(b'u');
            short(out, uid.as_str().as_bytes());
        }
        Target::Group(group) => {
            out.put_u8(b'g');
            out.put_i64(group.0);
        }
    }
}

fn parse_target(bytes: &mut Bytes) -> Option<Target> {
    match bytes.try_get_u8().ok()? {
        b'u' => parse_uid(&parse_short(bytes)?).map(Target::User),
        b'g' => Some(Target::Group(GroupId(bytes.try_get_i64().ok()?))),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use im_core::id::{ClientMsgId, ConnId};
    use im_proto::Seq;

    use super::*;

    fn entries() -> Vec<Entry> {
        let user = |name: &str| Target::User(Uid::new(name).unwrap());
        let message = |to, key, content: &'static [u8]| Message {
            msgid: MsgId(-7),
            kind: CmdId::C2G_SEND,
            from: Uid::new("😀\0'").unwrap(),
            to,
            key,
            content_type: ContentType(-3),
            content: Bytes::from_static(content),
            sent_at: Timestamp(1_700_000_000_000),
        };
        let client = SendKey::Client(ClientMsgId::new(&"k".repeat(64)).unwrap());
        let link = SendKey::Link(ConnId(5), CmdId::C2G_SEND, Seq(9));
        let first = message(Target::Group(GroupId(i64::MAX)), client, b"\0\xff content");
        let second = message(user(&"u".repeat(64)), link, b"");
        let withdrawn_at = Some(Timestamp(0));
        vec![
            Entry { version: Version(1), message: first, withdrawn_at: None },
            Entry { version: Version(i64::MAX), message: second, withdrawn_at },
        ]
    }

    #[test]
    fn entries_survive_their_bytes() {
        for kept in entries() {
            assert_eq!(parse_entry(entry(&kept)), Some(kept));
        }
    }

    #[test]
    fn rows_survive_their_bytes() {
        let row = |with, unread| Conversation {
            with,
            last_version: Version(9),
            last_msgid: MsgId(8),
            last_at: Timestamp(-7),
            unread,
        };
        let kept = vec![row(Target::Group(GroupId(-1)), 0), row(Target::User(Uid::new("é").unwrap()), 3)];
        assert_eq!(parse_rows(rows(&kept)), Some(kept));
        assert_eq!(parse_rows(rows(&[])), Some(Vec::new()));
    }

    #[test]
    fn what_is_cut_off_or_of_another_format_is_nothing() {
        for kept in entries() {
            let bytes = entry(&kept);
            let content = kept.message.content.len();
            for len in 0..bytes.len() - content {
                assert_eq!(parse_entry(bytes[..len].to_vec()), None, "{len}");
            }
            assert_eq!(parse_entry([&[2], &bytes[1..]].concat()), None);
        }
        assert_eq!(parse_rows(vec![1, b'x']), None);
        assert_eq!(parse_rows(Vec::new()), None);
    }
}
