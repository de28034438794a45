use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use im_core::id::{ConnId, RoomId};
use im_core::router::{Delivery, Parcel};
use im_core::session::{KickReason, Push};

use super::admission::Permit;
use super::ready::Ready;
use super::run::Said;
use super::stream::BoxStream;

/// What a push counts besides its body.
const OVERHEAD: usize = 128;

/// A socket that was just accepted.
pub(crate) struct NewLink {
    pub(crate) conn: ConnId,
    pub(crate) stream: BoxStream,
    pub(crate) address: SocketAddr,
    pub(crate) permit: Permit,
}

/// Whether a shard runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// It does.
    #[default]
    Running,
    /// It sends its clients away and ends when the last one is gone.
    Draining,
    /// It ends now.
    Stopped,
}

/// What others leave for a shard.
#[derive(Default)]
pub(super) struct Mail {
    pub(super) links: Vec<NewLink>,
    pub(super) pushes: VecDeque<(ConnId, Push)>,
    pub(super) rooms: RoomMail,
    /// The last one a link, so the links bound them.
    pub(super) kicks: HashMap<ConnId, (KickReason, Option<Duration>)>,
    pub(super) phase: Phase,
    /// The links are to go to another gate, now.
    pub(super) cut_off: bool,
    /// Routes or pushes may be lost.
    pub(super) recover: bool,
    bytes: usize,
}

/// What was said in rooms, in order.
#[derive(Default)]
pub(super) struct RoomMail {
    said: VecDeque<(RoomId, ConnId, Push)>,
    /// Messages that were dropped, all of them older than what is in `said`.
    missed: HashMap<RoomId, u64>,
    bytes: usize,
}

/// A shard as the rest of the server sees it.
pub(crate) struct Mailbox {
    capacity: usize,
    mail: Mutex<Mail>,
    pub(super) ready: Arc<Ready>,
}

impl Mailbox {
    /// A mailbox for pushes of `capacity` bytes to links, and for as many to rooms.
    pub(super) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self { capacity, mail: Mutex::default(), ready: Arc::default() })
    }

    /// Hands a socket over.
    pub(crate) fn add(&self, link: NewLink) {
        self.lock().links.push(link);
        self.ready.wake();
    }

    /// Leaves parcels; when there is no space the oldest pushes go, never a kick.
    pub(super) fn deliver(&self, batch: Vec<Delivery>) {
        let mut mail = self.lock();
        mail.pushes.reserve(batch.len());
        for delivery in batch {
            match delivery.parcel {
                Parcel::Push(push) => mail.push(delivery.conn, push, self.capacity),
                Parcel::Room(room, push) => mail.rooms.push(room, delivery.conn, push, self.capacity),
                Parcel::Kick { reason, retry_after } => {
                    mail.kicks.insert(delivery.conn, (reason, retry_after));
                }
            }
        }
        drop(mail);
        self.ready.wake();
    }

    /// Moves on to a later phase; never back.
    pub(super) fn enter(&self, phase: Phase) {
        let mut mail = self.lock();
        mail.phase = mail.phase.max(phase);
        drop(mail);
        self.ready.wake();
    }

    /// Sends the clients away without ending.
    pub(super) fn cut_off(&self) {
        self.lock().cut_off = true;
        self.ready.wake();
    }

    /// Has all links confirmed at the router, and then told what they may have missed.
    pub(super) fn recover(&self) {
        self.lock().recover = true;
        self.ready.wake();
    }

    /// Takes what is there; what was said in rooms only if the shard has told everything that it took before, so that it waits where it is
    /// bounded.
    pub(super) fn take(&self, with_rooms: bool) -> Mail {
        let mut mail = self.lock();
        let phase = mail.phase;
        let rooms = if with_rooms { RoomMail::default() } else { std::mem::take(&mut mail.rooms) };
        std::mem::replace(&mut *mail, Mail { phase, rooms, ..Mail::default() })
    }

    /// Nothing panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mail {
    fn push(&mut self, conn: ConnId, push: Push, capacity: usize) {
        self.bytes += weight(&push);
        self.pushes.push_back((conn, push));
        while self.bytes > capacity
            && let Some((_, dropped)) = self.pushes.pop_front()
        {
            self.bytes -= weight(&dropped);
        }
    }
}

impl RoomMail {
    fn push(&mut self, room: RoomId, from: ConnId, push: Push, capacity: usize) {
        self.bytes += weight(&push);
        self.said.push_back((room, from, push));
        while self.bytes > capacity
            && let Some((room, _, dropped)) = self.said.pop_front()
        {
            self.bytes -= weight(&dropped);
            *self.missed.entry(room).or_default() += 1;
        }
    }

    /// What was said, room by room.
    pub(super) fn by_room(self) -> HashMap<RoomId, Said> {
        let mut rooms: HashMap<RoomId, Said> = HashMap::new();
        for (room, missed) in self.missed {
            rooms.entry(room).or_default().missed = missed;
        }
        for (room, from, push) in self.said {
            rooms.entry(room).or_default().pushes.push((from, push));
        }
        rooms
    }
}

fn weight(push: &Push) -> usize {
    push.body.len() + OVERHEAD
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;
    use im_core::id::NodeId;
    use im_proto::{CmdId, Suffix};

    use super::*;

    fn delivery(conn: i64, parcel: Parcel) -> Delivery {
        Delivery { node: NodeId(0), conn: ConnId(conn), parcel }
    }

    fn push(conn: i64) -> Delivery {
        let body = Bytes::from(vec![0; 72]);
        delivery(conn, Parcel::Push(Push { cmd: CmdId::C2C_PUSH, body, suffix: Suffix::NONE }))
    }

    #[test]
    fn what_a_full_mailbox_drops_of_a_room_is_counted() {
        let mailbox = Mailbox::new(400);
        let [quiet, loud] = ["quiet", "loud"].map(|name| RoomId::new(name).unwrap());
        let Parcel::Push(said) = push(1).parcel else { panic!("a push") };
        let parcel = |room: &RoomId| delivery(1, Parcel::Room(room.clone(), said.clone()));
        mailbox.deliver(vec![parcel(&quiet), parcel(&loud), parcel(&loud), parcel(&loud)]);
        assert!(mailbox.take(false).rooms.by_room().is_empty());
        let rooms = mailbox.take(true).rooms.by_room();
        let left = |room| (rooms[room].pushes.len(), rooms[room].missed);
        assert_eq!((left(&quiet), left(&loud)), ((0, 1), (2, 1)));
    }

    #[test]
    fn a_full_mailbox_drops_the_oldest_pushes_and_no_kick() {
        let mailbox = Mailbox::new(400);
        let kick = Parcel::Kick { reason: KickReason::Administrator, retry_after: None };
        mailbox.deliver(vec![push(1), push(2), delivery(1, kick.clone()), push(3), delivery(1, kick)]);
        let mail = mailbox.take(true);
        let left: Vec<ConnId> = mail.pushes.iter().map(|(conn, _)| *conn).collect();
        assert_eq!(left, [ConnId(2), ConnId(3)]);
        assert_eq!(mail.kicks.len(), 1);
        assert!(mailbox.take(true).pushes.is_empty());
    }
}
