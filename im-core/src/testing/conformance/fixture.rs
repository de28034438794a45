use bytes::Bytes;
use im_proto::CmdId;

use crate::id::{ClientMsgId, DeviceId, GroupId, MsgId, Uid, Version};
use crate::message::{ContentType, Entry, Message, SendKey, Target, TimelineId};
use crate::storage::{Placed, Post, Read, Store, StoreError};
use crate::testing::conformance::Failure;
use crate::time::Timestamp;

/// Names that quoting, collations, C strings and pattern matching get wrong. Bytes decide, so all of them differ.
pub(super) const NAMES: [&str; 22] = [
    "o'brien",
    "\"",
    "'; DROP TABLE entries; --",
    "%",
    "_",
    "\\",
    "\0",
    "a\0b",
    "a\0c",
    "a",
    "A",
    "a ",
    " a",
    "é",
    "e\u{301}",
    "ß",
    "ss",
    "😀",
    "\u{10FFFF}",
    "\u{202E}abc",
    "\u{FEFF}a",
    "123",
];

pub(super) fn uid(name: &str) -> Uid {
    Uid::new(name).expect("the suite's names are short")
}

pub(super) fn device(name: &str) -> DeviceId {
    DeviceId::new(name).expect("the suite's names are short")
}

pub(super) fn user(name: &str) -> TimelineId {
    TimelineId::User(uid(name))
}

pub(super) fn group(number: i64) -> TimelineId {
    TimelineId::Group(GroupId(number))
}

pub(super) fn key(name: &str) -> SendKey {
    SendKey::Client(ClientMsgId::new(name).expect("the suite's names are short"))
}

/// A direct message. Its key, content and time follow from its msgid.
pub(super) fn direct(from: &str, to: &str, msgid: i64) -> Post {
    let message = message(from, Target::User(uid(to)), CmdId::C2C_SEND, msgid);
    Post { message, home: user(from), copy: (from != to).then(|| user(to)) }
}

/// A message to a group.
pub(super) fn to_group(from: &str, number: i64, msgid: i64) -> Post {
    let message = message(from, Target::Group(GroupId(number)), CmdId::C2G_SEND, msgid);
    Post { message, home: group(number), copy: None }
}

fn message(from: &str, to: Target, kind: CmdId, msgid: i64) -> Message {
    Message {
        msgid: MsgId(msgid),
        kind,
        from: uid(from),
        to,
        key: key(&format!("key {msgid}")),
        content_type: ContentType(i32::try_from(msgid % 7).unwrap_or_default()),
        content: Bytes::from(format!("message {msgid}")),
        sent_at: Timestamp(1_700_000_000_000 + msgid),
    }
}

/// The same post, sent again later under another msgid, as a server does with a repeat that it does not know.
pub(super) fn resent(post: &Post, msgid: i64) -> Post {
    let message =
        Message { msgid: MsgId(msgid), sent_at: Timestamp(1_800_000_000_000), ..post.message.clone() };
    Post { message, ..post.clone() }
}

/// What a first append answers.
pub(super) fn placed(post: &Post, home: i64, copy: Option<i64>) -> Placed {
    Placed {
        msgid: post.message.msgid,
        sent_at: post.message.sent_at,
        home: Version(home),
        copy: copy.map(Version),
        repeated: false,
    }
}

/// What a repeat answers.
pub(super) fn repeated(post: &Post, home: i64, copy: Option<i64>) -> Placed {
    Placed { repeated: true, ..placed(post, home, copy) }
}

/// The answer to the only question.
pub(super) fn only<T>(mut answers: Vec<T>) -> Result<T, Failure> {
    match (answers.pop(), answers.len()) {
        (Some(answer), 0) => Ok(answer),
        (came, rest) => Err(Failure::Differs {
            what: "the number of answers to one question".to_owned(),
            expected: "1".to_owned(),
            came: (rest + usize::from(came.is_some())).to_string(),
        }),
    }
}

/// Appends one post.
pub(super) async fn append_one(
    store: &dyn Store,
    post: &Post,
) -> Result<Result<Placed, StoreError>, Failure> {
    only(store.append(vec![post.clone()]).await)
}

/// Appends posts of which none may fail.
pub(super) async fn append_all(store: &dyn Store, posts: &[Post]) -> Result<Vec<Placed>, Failure> {
    let answers = store.append(posts.to_vec()).await;
    super::check::same("the number of answers to append", answers.len(), posts.len())?;
    Ok(answers.into_iter().collect::<Result<_, _>>()?)
}

/// A read without bounds.
pub(super) fn everything(timeline: TimelineId) -> Read {
    Read { timeline, after: Version::ZERO, until: None, limit: 1_000_000, max_bytes: usize::MAX, least: None }
}

/// All entries of a timeline.
pub(super) async fn entries(store: &dyn Store, timeline: TimelineId) -> Result<Vec<Entry>, Failure> {
    Ok(only(store.read(vec![everything(timeline)]).await)??.entries)
}

/// A timeline as (version, msgid).
pub(super) async fn outline(store: &dyn Store, timeline: TimelineId) -> Result<Vec<(i64, i64)>, Failure> {
    let entries = entries(store, timeline).await?;
    Ok(entries.iter().map(|entry| (entry.version.0, entry.message.msgid.0)).collect())
}

/// What [`outline`] is for these msgids, in order, from version 1.
pub(super) fn numbered(msgids: impl IntoIterator<Item = i64>) -> Vec<(i64, i64)> {
    (1..).zip(msgids).collect()
}
