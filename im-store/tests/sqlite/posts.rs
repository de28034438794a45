//! Posts to store, and what has to be true of any store that took them.

use std::collections::BTreeMap;

use bytes::Bytes;
use im_core::id::{ClientMsgId, MsgId, Uid, Version};
use im_core::message::{ContentType, Entry, Message, SendKey, Target, TimelineId};
use im_core::storage::{Conversation, Post, Read, Store, StoreErrorKind};
use im_core::time::Timestamp;
use im_proto::CmdId;

pub(crate) fn uid(name: &str) -> Uid {
    Uid::new(name).unwrap()
}

pub(crate) fn user(name: &str) -> TimelineId {
    TimelineId::User(uid(name))
}

/// A direct message whose content has `size` bytes.
pub(crate) fn direct(from: &str, to: &str, msgid: i64, size: usize) -> Post {
    let message = Message {
        msgid: MsgId(msgid),
        kind: CmdId::C2C_SEND,
        from: uid(from),
        to: Target::User(uid(to)),
        key: SendKey::Client(ClientMsgId::new(&format!("key {msgid}")).unwrap()),
        content_type: ContentType(0),
        content: Bytes::from(vec![b'x'; size]),
        sent_at: Timestamp(msgid),
    };
    Post { message, home: user(from), copy: (from != to).then(|| user(to)) }
}

/// Ten messages of a thousand bytes from alice to bob.
pub(crate) fn ten(first: i64) -> Vec<Post> {
    (first..first + 10).map(|n| direct("alice", "bob", n, 1_000)).collect()
}

/// Appends [`ten`] after ten until the store is full. Gives the number of posts that were acknowledged.
pub(crate) async fn fill(store: &dyn Store) -> i64 {
    let mut acked = 0;
    loop {
        let answers = store.append(ten(acked + 1)).await;
        if answers.iter().all(Result::is_ok) {
            acked += 10;
            continue;
        }
        for answer in answers {
            let error = answer.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Unavailable);
            assert!(error.is_retryable());
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(source.contains("full"), "{source}");
        }
        return acked;
    }
}

/// A whole timeline.
pub(crate) async fn entries(store: &dyn Store, name: &str) -> Vec<Entry> {
    let read = Read {
        timeline: user(name),
        after: Version::ZERO,
        until: None,
        limit: usize::MAX,
        max_bytes: usize::MAX,
        least: None,
    };
    store.read(vec![read]).await.remove(0).unwrap().entries
}

/// Asserts that a user's versions are contiguous from 1 to the head, and that the conversation list is what they say.
pub(crate) async fn assert_sound(store: &dyn Store, name: &str) {
    let entries = entries(store, name).await;
    let versions: Vec<_> = entries.iter().map(|entry| entry.version.0).collect();
    let head = store.heads(vec![user(name)]).await.unwrap()[0].head;
    assert_eq!(versions, (1..=head.0).collect::<Vec<_>>(), "{name}'s versions");

    let rows = store.conversations(&uid(name), None, usize::MAX).await.unwrap();
    assert_eq!(rows, recomputed(name, &entries), "{name}'s conversations");
}

fn recomputed(name: &str, entries: &[Entry]) -> Vec<Conversation> {
    let mut rows: BTreeMap<Target, Conversation> = BTreeMap::new();
    for Entry { version, message, .. } in entries {
        let with = message.conversation(&user(name));
        let unread = rows.get(&with).map_or(0, |row| row.unread) + 1;
        let row = Conversation {
            with: with.clone(),
            last_version: *version,
            last_msgid: message.msgid,
            last_at: message.sent_at,
            unread: if message.from == uid(name) { 0 } else { unread },
        };
        rows.insert(with, row);
    }
    let mut rows: Vec<_> = rows.into_values().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.last_version));
    rows
}
