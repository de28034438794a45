//! Posts between users and groups of several databases, and what has to be true of them afterwards.

use std::collections::HashMap;

use bytes::Bytes;
use im_core::id::{ClientMsgId, GroupId, MsgId, Uid, Version};
use im_core::message::{ContentType, Entry, Message, SendKey, Target, TimelineId};
use im_core::storage::{Pending, Placed, Post, Read, Shard, Store};
use im_core::time::Timestamp;
use im_proto::CmdId;

/// With two and with three databases, neighbours of this list have different ones.
pub(crate) const USERS: [&str; 6] = ["alice", "bob", "carol", "dave", "erin", "frank"];
pub(crate) const GROUPS: [i64; 3] = [1, 2, 3];

pub(crate) fn uid(name: &str) -> Uid {
    Uid::new(name).unwrap()
}

pub(crate) fn user(name: &str) -> TimelineId {
    TimelineId::User(uid(name))
}

fn message(from: &str, to: Target, kind: CmdId, msgid: i64) -> Message {
    Message {
        msgid: MsgId(msgid),
        kind,
        from: uid(from),
        to,
        key: SendKey::Client(ClientMsgId::new(&format!("key {msgid}")).unwrap()),
        content_type: ContentType(0),
        content: Bytes::from(format!("message {msgid}")),
        sent_at: Timestamp(msgid),
    }
}

pub(crate) fn direct(from: &str, to: &str, msgid: i64) -> Post {
    let message = message(from, Target::User(uid(to)), CmdId::C2C_SEND, msgid);
    Post { message, home: user(from), copy: (from != to).then(|| user(to)) }
}

pub(crate) fn to_group(from: &str, group: i64, msgid: i64) -> Post {
    let message = message(from, Target::Group(GroupId(group)), CmdId::C2G_SEND, msgid);
    Post { message, home: TimelineId::Group(GroupId(group)), copy: None }
}

/// Everybody writes to everybody and to every group, in batches.
pub(crate) fn batches() -> Vec<Vec<Post>> {
    let mut posts = Vec::new();
    let mut msgid = 0;
    for shift in [1, 2, 5, 0] {
        for (at, from) in USERS.iter().enumerate() {
            msgid += 1;
            posts.push(direct(from, USERS[(at + shift) % USERS.len()], msgid));
            msgid += 1;
            posts.push(to_group(from, GROUPS[(at + shift) % GROUPS.len()], msgid));
        }
    }
    posts.chunks(10).map(<[Post]>::to_vec).collect()
}

pub(crate) fn timelines() -> impl Iterator<Item = TimelineId> {
    let groups = GROUPS.iter().map(|group| TimelineId::Group(GroupId(*group)));
    USERS.iter().map(|name| user(name)).chain(groups)
}

pub(crate) async fn entries(store: &dyn Store, timeline: TimelineId) -> Vec<Entry> {
    let read = Read {
        timeline,
        after: Version::ZERO,
        until: None,
        limit: usize::MAX,
        max_bytes: usize::MAX,
        least: None,
    };
    store.read(vec![read]).await.remove(0).unwrap().entries
}

pub(crate) async fn pending(databases: &[std::sync::Arc<dyn Shard>]) -> usize {
    let mut count = 0;
    for database in databases {
        count += database.intents(Pending::After(Default::default()), 10_000).await.unwrap().len();
    }
    count
}

/// Every acknowledged post stands where its ack said. Nothing stands twice, or in one of two places, or before what its sender sent there earlier; and
/// conversations are what the timelines say.
pub(crate) async fn assert_sound(store: &dyn Store, acked: &[(Post, Placed)], context: &str) {
    let mut places: HashMap<(TimelineId, MsgId), Version> = HashMap::new();
    let mut messages: HashMap<MsgId, Message> = HashMap::new();
    for timeline in timelines() {
        let entries = entries(store, timeline.clone()).await;
        let versions: Vec<_> = entries.iter().map(|entry| entry.version.0).collect();
        let count = i64::try_from(entries.len()).unwrap();
        assert_eq!(versions, (1..=count).collect::<Vec<_>>(), "{context}: versions of {timeline:?}");
        let mut last: HashMap<Uid, MsgId> = HashMap::new();
        for Entry { version, message, .. } in entries {
            let before = last.insert(message.from.clone(), message.msgid);
            assert!(before.is_none_or(|before| before < message.msgid), "{context}: order in {timeline:?}");
            places.insert((timeline.clone(), message.msgid), version);
            messages.insert(message.msgid, message);
        }
    }
    for message in messages.values() {
        let target = match &message.to {
            Target::User(uid) => TimelineId::User(uid.clone()),
            Target::Group(group) => TimelineId::Group(*group),
        };
        let sender = matches!(message.to, Target::User(_)).then(|| TimelineId::User(message.from.clone()));
        for timeline in [Some(target), sender].into_iter().flatten() {
            let place = (timeline, message.msgid);
            assert!(places.contains_key(&place), "{context}: nothing at {place:?}");
        }
        let key = (message.from.clone(), message.key.clone());
        let found = store.find(vec![key]).await.unwrap().remove(0);
        assert_eq!(found.map(|found| found.placed.msgid), Some(message.msgid), "{context}: the key");
    }
    for (post, placed) in acked {
        let at = |timeline: &TimelineId| places.get(&(timeline.clone(), placed.msgid)).copied();
        assert_eq!(at(&post.home), Some(placed.home), "{context}: home of {placed:?}");
        assert_eq!(post.copy.as_ref().and_then(at), placed.copy, "{context}: copy of {placed:?}");
    }
    for name in USERS {
        assert_conversations(store, name, context).await;
    }
}

pub(crate) async fn assert_conversations(store: &dyn Store, name: &str, context: &str) {
    let mut expected: HashMap<Target, (Version, i64)> = HashMap::new();
    for Entry { version, message, .. } in entries(store, user(name)).await {
        let row = expected.entry(message.conversation(&user(name))).or_default();
        *row = (version, if message.from == uid(name) { 0 } else { row.1 + 1 });
    }
    let rows = store.conversations(&uid(name), None, 100).await.unwrap();
    let rows: HashMap<_, _> =
        rows.into_iter().map(|row| (row.with, (row.last_version, row.unread))).collect();
    assert_eq!(rows, expected, "{context}: {name}'s conversations");
}
