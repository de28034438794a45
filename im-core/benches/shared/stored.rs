use bytes::Bytes;
use im_core::fanout::{Stored, audience};
use im_core::id::{ClientMsgId, ConnId, DeviceId, DeviceType, LoginEpoch, MsgId, NodeId, Uid, Version};
use im_core::message::{ContentType, Message, SendKey, Target};
use im_core::router::{Route, UserRoutes};
use im_core::time::Timestamp;
use im_proto::CmdId;

use super::{CONTENT, PAIRS, receiver, sender};

/// Messages that were just stored, and where their audience is: senders with one link, receivers with `links`.
pub fn batch(messages: usize, links: i64) -> (Vec<Stored>, Vec<UserRoutes>) {
    let route_of = |uid: Uid| {
        let pair: i64 = uid.as_str().rsplit('-').next().unwrap().parse().unwrap();
        let links = if uid.as_str().starts_with("sender") { 0..1 } else { 1..1 + links };
        links.map(|n| route(uid.clone(), pair * 100 + n)).collect()
    };
    let stored: Vec<Stored> = (0..messages).map(stored).collect();
    let routes = audience(&stored).into_iter().map(route_of).collect();
    (stored, routes)
}

fn stored(n: usize) -> Stored {
    let pair = n % PAIRS;
    let number = i64::try_from(n).unwrap();
    let message = Message {
        msgid: MsgId((1 << 60) + number),
        kind: CmdId::C2C_SEND,
        from: sender(pair),
        to: Target::User(receiver(pair)),
        key: SendKey::Client(ClientMsgId::new(&format!("00000000-0000-4000-8000-{number:012}")).unwrap()),
        content_type: ContentType(0),
        content: Bytes::from_static(&CONTENT),
        sent_at: Timestamp(1_000_000),
    };
    let origin = Some(ConnId(i64::try_from(pair).unwrap() * 100));
    Stored { message, home: Version(100_000), copy: Some(Version(100_000)), origin }
}

fn route(uid: Uid, conn: i64) -> Route {
    Route {
        uid,
        device: DeviceId::default(),
        device_type: DeviceType::WEB,
        conn: ConnId(conn),
        node: NodeId(0),
        epoch: LoginEpoch(1),
        since: Timestamp(0),
    }
}
