use std::time::Duration;

use futures::executor::block_on;
use im_core::id::{ClientMsgId, DeviceId, GroupId, MsgId, Uid, Version};
use im_core::memory::MemoryStore;
use im_core::message::{ContentType, Message, SendKey, Target, TimelineId};
use im_core::storage::{CursorAck, Cursors as _, Nodes as _, Post, Timelines as _};
use im_core::time::Timestamp;
use im_proto::CmdId;

pub(crate) fn uid(name: &str) -> Uid {
    Uid::new(name).unwrap()
}

pub(crate) fn user(name: &str) -> TimelineId {
    TimelineId::User(uid(name))
}

pub(crate) fn message(from: &str, to: Target, number: i64) -> Message {
    Message {
        msgid: MsgId(number),
        kind: CmdId::C2C_SEND,
        from: uid(from),
        to,
        key: SendKey::Client(ClientMsgId::new(&format!("key {number}")).unwrap()),
        content_type: ContentType(0),
        content: "0123456789".into(),
        sent_at: Timestamp(number),
    }
}

pub(crate) fn direct(from: &str, to: &str, number: i64) -> Post {
    let message = message(from, Target::User(uid(to)), number);
    Post { message, home: user(from), copy: (from != to).then(|| user(to)) }
}

pub(crate) fn ack(name: &str, version: i64) -> CursorAck {
    CursorAck {
        uid: uid(name),
        device: DeviceId::new("phone").unwrap(),
        timeline: user(name),
        version: Version(version),
    }
}

/// 30 messages among three users and in a group, 2 cursors, a node number.
pub(crate) fn filled() -> MemoryStore {
    const NAMES: [&str; 3] = ["alice", "bob", "carol"];
    let name = |n: i64| NAMES[usize::try_from(n % 3).unwrap()];
    let post = |n: i64| match n % 5 {
        4 => {
            let group = GroupId(7);
            let message = message(name(n), Target::Group(group), n);
            Post { message, home: TimelineId::Group(group), copy: None }
        }
        _ => direct(name(n), name(n / 4), n),
    };
    let store = MemoryStore::default();
    let placed = block_on(store.append((0..30).map(post).collect()));
    placed.into_iter().for_each(|placed| assert!(!placed.unwrap().repeated));
    let acked = block_on(store.ack(vec![ack("alice", 3), ack("bob", 5)]));
    acked.into_iter().for_each(|acked| acked.unwrap());
    block_on(store.lease_node("a", Timestamp(1), Duration::from_secs(1))).unwrap();
    store
}
