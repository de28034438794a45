//! Which links hear of a stored message: [`plan`] is a function of what was stored and where the users are.
//!
//! A message is encoded once for all links of its receiver and once for the sender's other links; what differs by link, the version in
//! its user's own timeline, is a suffix.

use bytes::Bytes;
use im_proto::borrowed::C2cPush;
use im_proto::{CmdId, Suffix};

use crate::id::{ClientMsgId, ConnId, Uid, Version};
use crate::message::{Message, Target};
use crate::pieces::Pieces;
use crate::router::{Delivery, Parcel, Route, UserRoutes};
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

/// The users whose links [`plan`] needs to know: both ends of each message. Messages that follow one another between the same two, as
/// those of one link mostly do, name them once.
pub fn audience(stored: &[Stored]) -> Vec<Uid> {
    let mut users = Vec::with_capacity(2 * stored.len());
    for run in stored.chunk_by(same_ends) {
        users.push(run[0].message.from.clone());
        users.extend(receiver(&run[0]).cloned());
    }
    users
}

/// A push for every link of every receiver, and for every other link of every sender, in the order of `stored`. `routes` are those
/// of the [`audience`], in its order.
pub fn plan(stored: &[Stored], routes: &[UserRoutes]) -> Vec<Delivery> {
    let mut routes = routes.iter();
    let mut plan = Plan::new(stored);
    for run in stored.chunk_by(same_ends) {
        let from = routes.next();
        let to = receiver(&run[0]).and_then(|_| routes.next());
        for stored in run {
            if let (Some(to), Some(version)) = (to, stored.copy) {
                plan.deliver(stored, to, version, false);
            }
            if let Some(from) = from {
                plan.deliver(stored, from, stored.home, true);
            }
        }
    }
    plan.deliveries
}

/// The push of one entry of a user's own timeline, to all the links given.
pub fn entry(message: &Message, owner: &Uid, version: Version, routes: &[Route]) -> Vec<Delivery> {
    let push = hint(message, owner, version);
    routes.iter().map(|route| delivery(route, push.body.clone(), version)).collect()
}

/// The push of one entry of a user's own timeline.
pub fn hint(message: &Message, owner: &Uid, version: Version) -> Push {
    let own = &message.from == owner;
    push(encode(message, own, &mut Pieces::new(0)), version)
}

fn same_ends(one: &Stored, next: &Stored) -> bool {
    one.message.from == next.message.from && one.message.to == next.message.to
}

fn receiver(stored: &Stored) -> Option<&Uid> {
    match &stored.message.to {
        Target::User(uid) => Some(uid),
        Target::Group(_) => None,
    }
}

struct Plan {
    deliveries: Vec<Delivery>,
    bodies: Pieces,
}

impl Plan {
    fn new(stored: &[Stored]) -> Self {
        let bytes = stored.iter().map(|stored| stored.message.size()).sum();
        Self { deliveries: Vec::with_capacity(stored.len()), bodies: Pieces::new(bytes) }
    }

    /// To all the links but the one that sent it; `own` for the sender's.
    fn deliver(&mut self, stored: &Stored, routes: &[Route], version: Version, own: bool) {
        let mut others = routes.iter().filter(|route| Some(route.conn) != stored.origin).peekable();
        if others.peek().is_none() {
            return;
        }
        let mut body = encode(&stored.message, own, &mut self.bodies);
        while let Some(route) = others.next() {
            // Most users have one link: it gets the body itself.
            let shared = if others.peek().is_some() { body.clone() } else { std::mem::take(&mut body) };
            self.deliveries.push(delivery(route, shared, version));
        }
    }
}

fn delivery(route: &Route, body: Bytes, version: Version) -> Delivery {
    Delivery { node: route.node, conn: route.conn, parcel: Parcel::Push(push(body, version)) }
}

fn push(body: Bytes, version: Version) -> Push {
    Push { cmd: CmdId::C2C_PUSH, body, suffix: Suffix::version(version.0) }
}

/// Everything but the version, which is the suffix. The sender's own devices learn whom the message is for.
fn encode(message: &Message, own: bool, bodies: &mut Pieces) -> Bytes {
    let group;
    let to = match &message.to {
        _ if !own => "",
        Target::User(to) => to.as_str(),
        Target::Group(id) => {
            group = id.to_string();
            &group
        }
    };
    let push = C2cPush {
        from: message.from.as_str(),
        content: &message.content,
        msgid: message.msgid.0,
        timestamp: message.sent_at.0,
        content_type: message.content_type.0,
        client_msg_id: message.key.client_msg_id().map_or("", ClientMsgId::as_str),
        to,
    };
    bodies.cut(push.len(), |out| push.encode(out))
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
        let routes = [
            vec![route("alice", 1), route("alice", 2)].into(),
            vec![route("bob", 3), route("bob", 4)].into(),
        ];
        let pushes = decoded(&plan(&[stored("bob", Some(9))], &routes));
        let none = String::new;
        assert_eq!(
            pushes,
            [(ConnId(3), none(), 9), (ConnId(4), none(), 9), (ConnId(2), "bob".to_owned(), 3)]
        );
    }

    #[test]
    fn a_message_to_oneself_goes_once_to_each_other_link() {
        let alice: UserRoutes = vec![route("alice", 1), route("alice", 2)].into();
        let routes = [alice.clone(), alice];
        let pushes = decoded(&plan(&[stored("alice", None)], &routes));
        assert_eq!(pushes, [(ConnId(2), "alice".to_owned(), 3)]);
    }

    #[test]
    fn messages_on_end_between_the_same_two_name_them_once() {
        let batch = ["bob", "bob", "carol", "bob"].map(|to| stored(to, Some(9)));
        let names = ["alice", "bob", "alice", "carol", "alice", "bob"].map(uid);
        assert_eq!(audience(&batch), names);

        let routes = names.map(|name| match name.as_str() {
            "bob" => vec![route("bob", 3)].into(),
            "carol" => vec![route("carol", 5)].into(),
            _ => UserRoutes::default(),
        });
        let conns: Vec<i64> = plan(&batch, &routes).iter().map(|delivery| delivery.conn.0).collect();
        assert_eq!(conns, [3, 3, 5, 3]);
    }

    #[test]
    fn a_body_is_encoded_once_for_all_links_of_a_user() {
        let routes = [UserRoutes::default(), vec![route("bob", 3), route("bob", 4)].into()];
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
