//! Which links hear of a stored message: [`plan`] is a function of what was stored and where the users are.
//!
//! A message is encoded once for all links of its receiver and once for the sender's other links; what differs by link, the version in
//! its user's own timeline, is a suffix.

use std::collections::BTreeMap;

use bytes::Bytes;
use im_proto::borrowed::C2cPush;
use im_proto::{CmdId, Suffix};

use crate::id::{ClientMsgId, ConnId, Uid, Version};
use crate::message::{Message, Target};
use crate::router::{Delivery, Parcel, Route};
use crate::session::Push;

/// A direct message that is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What was stored, under the msgid and time that it was stored with.
    pub message: Message,
    /// Its version in the sender's timeline.
    pub home: Version,
    /// Its version in the receiver's, unless that is the sender.
    pub copy: Option<Version>,
    /// The link that sent it, which knows already.
    pub origin: Option<ConnId>,
}

/// The users whose links [`plan`] needs to know.
pub fn audience(stored: &[Stored]) -> Vec<Uid> {
    let mut users: Vec<Uid> = stored
        .iter()
        .flat_map(|stored| [Some(&stored.message.from), receiver(stored)])
        .flatten()
        .cloned()
        .collect();
    users.sort_unstable();
    users.dedup();
    users
}

/// A push for every link of every receiver, and for every other link of every sender, in the order of `stored`.
pub fn plan(stored: &[Stored], routes: &BTreeMap<Uid, Vec<Route>>) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for stored in stored {
        if let (Some(to), Some(version)) = (receiver(stored), stored.copy) {
            deliver(stored, links(routes, to), version, body_for_receiver, &mut deliveries);
        }
        deliver(stored, links(routes, &stored.message.from), stored.home, body_for_sender, &mut deliveries);
    }
    deliveries
}

/// The push of one entry of a user's own timeline, to all the links given.
pub fn entry(message: &Message, owner: &Uid, version: Version, routes: &[Route]) -> Vec<Delivery> {
    let own = &message.from == owner;
    let body = if own { body_for_sender(message) } else { body_for_receiver(message) };
    routes.iter().map(|route| delivery(route, &body, version)).collect()
}

fn receiver(stored: &Stored) -> Option<&Uid> {
    match &stored.message.to {
        Target::User(uid) => Some(uid),
        Target::Group(_) => None,
    }
}

fn links<'a>(routes: &'a BTreeMap<Uid, Vec<Route>>, uid: &Uid) -> &'a [Route] {
    routes.get(uid).map_or(&[], Vec::as_slice)
}

fn deliver(
    stored: &Stored,
    routes: &[Route],
    version: Version,
    encode: fn(&Message) -> Bytes,
    deliveries: &mut Vec<Delivery>,
) {
    let mut others = routes.iter().filter(|route| Some(route.conn) != stored.origin).peekable();
    if others.peek().is_some() {
        let body = encode(&stored.message);
        deliveries.extend(others.map(|route| delivery(route, &body, version)));
    }
}

fn delivery(route: &Route, body: &Bytes, version: Version) -> Delivery {
    let push = Push { cmd: CmdId::C2C_PUSH, body: body.clone(), suffix: Suffix::version(version.0) };
    Delivery { node: route.node, conn: route.conn, parcel: Parcel::Push(push) }
}

fn body_for_receiver(message: &Message) -> Bytes {
    encode(message, "")
}

/// The sender's own devices learn whom the message is for.
fn body_for_sender(message: &Message) -> Bytes {
    match &message.to {
        Target::User(to) => encode(message, to.as_str()),
        Target::Group(group) => encode(message, &group.to_string()),
    }
}

/// Everything but the version, which is the suffix.
fn encode(message: &Message, to: &str) -> Bytes {
    let push = C2cPush {
        from: message.from.as_str(),
        content: &message.content,
        msgid: message.msgid.0,
        timestamp: message.sent_at.0,
        content_type: message.content_type.0,
        client_msg_id: message.key.client_msg_id().map_or("", ClientMsgId::as_str),
        to,
    };
    push.encode()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use im_proto::v1::C2cPush;
    use prost::Message as _;

    use super::*;
    use crate::id::{DeviceId, DeviceType, LoginEpoch, MsgId, NodeId};
    use crate::message::{ContentType, SendKey};
    use crate::time::Timestamp;

    fn uid(name: &str) -> Uid {
        Uid::new(name).unwrap()
    }

    fn stored(to: &str, copy: Option<i64>) -> Stored {
        let message = Message {
            msgid: MsgId(77),
            kind: CmdId::C2C_SEND,
            from: uid("alice"),
            to: Target::User(uid(to)),
            key: SendKey::Client(ClientMsgId::new("k").unwrap()),
            content_type: ContentType(0),
            content: Bytes::from_static(b"hi"),
            sent_at: Timestamp(5),
        };
        Stored { message, home: Version(3), copy: copy.map(Version), origin: Some(ConnId(1)) }
    }

    fn route(name: &str, conn: i64) -> Route {
        Route {
            uid: uid(name),
            device: DeviceId::default(),
            device_type: DeviceType::WEB,
            conn: ConnId(conn),
            node: NodeId(0),
            epoch: LoginEpoch(1),
            since: Timestamp(0),
        }
    }

    fn decoded(deliveries: &[Delivery]) -> Vec<(ConnId, String, i64)> {
        let decode = |delivery: &Delivery| {
            let Parcel::Push(push) = &delivery.parcel else { panic!("only pushes") };
            let bytes = [&push.body[..], push.suffix.as_bytes()].concat();
            let body = C2cPush::decode(&bytes[..]).unwrap();
            assert_eq!((&body.content[..], body.msgid, body.timestamp), (&b"hi"[..], 77, 5));
            (delivery.conn, body.to, body.version)
        };
        deliveries.iter().map(decode).collect()
    }

    #[test]
    fn every_link_of_the_receiver_and_the_other_links_of_the_sender_hear_of_it() {
        let routes = BTreeMap::from([
            (uid("alice"), vec![route("alice", 1), route("alice", 2)]),
            (uid("bob"), vec![route("bob", 3), route("bob", 4)]),
        ]);
        let pushes = decoded(&plan(&[stored("bob", Some(9))], &routes));
        let none = String::new;
        assert_eq!(
            pushes,
            [(ConnId(3), none(), 9), (ConnId(4), none(), 9), (ConnId(2), "bob".to_owned(), 3)]
        );
    }

    #[test]
    fn a_message_to_oneself_goes_once_to_each_other_link() {
        let routes = BTreeMap::from([(uid("alice"), vec![route("alice", 1), route("alice", 2)])]);
        let pushes = decoded(&plan(&[stored("alice", None)], &routes));
        assert_eq!(pushes, [(ConnId(2), "alice".to_owned(), 3)]);
    }

    #[test]
    fn a_body_is_encoded_once_for_all_links_of_a_user() {
        let routes = BTreeMap::from([(uid("bob"), vec![route("bob", 3), route("bob", 4)])]);
        let bodies: Vec<_> = plan(&[stored("bob", Some(9))], &routes)
            .into_iter()
            .map(|delivery| match delivery.parcel {
                Parcel::Push(push) => push.body.as_ptr(),
                _ => panic!("only pushes"),
            })
            .collect();
        assert_eq!(bodies[0], bodies[1]);
    }
}
