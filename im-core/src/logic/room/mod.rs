//! Rooms: who is let in, and what is said there. Nothing is stored. A message goes over the bus once a node that has members; the gate there has
//! a list of its own links.
//!
//! Which rooms a link is in is its session's to know, so that a message comes here only from a member. Here is counted how many links of which
//! node are in a room: in memory, since there is one process. With many the counts belong beside the routes.

mod directory;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::channel::mpsc;
use futures::future::Either;
use futures::{FutureExt, StreamExt};
use im_proto::v1::RoomPush;
use im_proto::{CmdId, ErrorCode, Suffix};
use prost::Message as _;

pub(super) use self::directory::Directory;
use super::{Logic, lock};
use crate::id::{MsgId, RoomId};
use crate::ports::{RoomEntry, RoomWord};
use crate::router::{Delivery, Parcel};
use crate::session::{Caller, Push};
use crate::time::Timestamp;

/// What a parcel that waits for the bus counts besides its body.
const OVERHEAD: usize = 256;

/// A link that wants into a room.
pub(super) struct Entering {
    pub(super) caller: Arc<Caller>,
    pub(super) room: RoomId,
    /// The room that it leaves if it is let in.
    pub(super) leave: Option<RoomId>,
}

/// What was said.
pub(super) struct Said {
    pub(super) msgid: MsgId,
    /// The links that it goes to.
    pub(super) listeners: usize,
}

impl Logic {
    /// A link asks to be let in: from now on it is noted if it goes.
    pub(super) fn begin_to_enter(&self, entering: &Entering) {
        lock(&self.rooms).begin(entering.caller.conn);
    }

    /// Asks who is let in, and lets them; each answer has how many links are in the room then.
    pub(super) async fn enter(&self, entering: Vec<Entering>) -> Vec<Result<usize, ErrorCode>> {
        let entry =
            |entering: &Entering| RoomEntry { caller: entering.caller.clone(), room: entering.room.clone() };
        let verdicts = decide(self, entering.iter().map(entry).collect()).await;
        let verdicts = verdicts.into_iter().chain(std::iter::repeat(Err(ErrorCode::Unavailable)));
        let mut rooms = lock(&self.rooms);
        let enter = |(Entering { caller, room, leave }, verdict): (Entering, Result<(), ErrorCode>)| {
            // A link that went meanwhile must not be counted: nobody would count it out.
            let there = rooms.finish(caller.conn);
            verdict?;
            if !there {
                return Err(ErrorCode::Unavailable);
            }
            if let Some(leave) = &leave {
                rooms.exit(&caller, leave);
            }
            rooms.enter(&caller, &room);
            Ok(rooms.members(&room))
        };
        entering.into_iter().zip(verdicts).map(enter).collect()
    }

    /// A link goes out of a room.
    pub(super) fn exit(&self, caller: &Caller, room: &RoomId) {
        lock(&self.rooms).exit(caller, room);
    }

    /// Makes the parcels of one message, one a node that has members.
    pub(super) fn say(
        &self,
        word: &RoomWord,
        client_msg_id: String,
        now: Timestamp,
        parcels: &mut Vec<Delivery>,
    ) -> Result<Said, ErrorCode> {
        if word.content.len() > self.policy.max_room_content {
            return Err(ErrorCode::TooLarge);
        }
        may_say(self, word)?;
        let msgid = self.lease.next_message(now).map_err(|_| ErrorCode::Unavailable)?;
        let (members, nodes) = {
            let rooms = lock(&self.rooms);
            (rooms.members(&word.room), rooms.nodes(&word.room).collect::<Vec<_>>())
        };
        let push = Push {
            cmd: CmdId::ROOM_PUSH,
            body: encode(word, client_msg_id, msgid, now),
            suffix: Suffix::NONE,
        };
        let bytes = nodes.len() * (push.body.len() + OVERHEAD);
        if !self.has_room_for_parcels(bytes) {
            return Err(ErrorCode::Unavailable);
        }
        parcels.extend(nodes.into_iter().map(|node| Delivery {
            node,
            conn: word.caller.conn,
            parcel: Parcel::Room(word.room.clone(), push.clone()),
        }));
        // The sender is one of them, whom nothing is sent to.
        Ok(Said { msgid, listeners: members.saturating_sub(1) })
    }
}

async fn decide(logic: &Logic, entries: Vec<RoomEntry>) -> Vec<Result<(), ErrorCode>> {
    let deadline = logic.ports.clock.tick() + logic.policy.room_deadline;
    let timeout = logic.ports.clock.sleep_until(deadline);
    match futures::future::select(logic.ports.rooms.enter(entries), timeout).await {
        Either::Left((verdicts, _)) => verdicts,
        Either::Right(_) => {
            tracing::warn!(deadline = ?logic.policy.room_deadline, "nobody is let into rooms for now: it took too long to decide");
            Vec::new()
        }
    }
}

/// Asks the integrator. Their panic must not end the gate, which calls this.
fn may_say(logic: &Logic, word: &RoomWord) -> Result<(), ErrorCode> {
    let asked = std::panic::catch_unwind(AssertUnwindSafe(|| logic.ports.rooms.say(word)));
    asked.unwrap_or_else(|_| {
        tracing::error!("a room policy panicked; the message is refused as unavailable");
        Err(ErrorCode::Unavailable)
    })
}

/// A push, the same for all members.
fn encode(word: &RoomWord, client_msg_id: String, msgid: MsgId, now: Timestamp) -> Bytes {
    let push = RoomPush {
        from: word.caller.uid.as_str().to_owned(),
        room: word.room.as_str().to_owned(),
        content: word.content.clone(),
        msgid: msgid.0,
        timestamp: now.0,
        missed: 0,
        content_type: word.content_type.0,
        client_msg_id,
    };
    push.encode_to_vec().into()
}

/// Takes what was said to the bus: all that waits at once, in the order in which it was said.
pub(super) async fn run(logic: Arc<Logic>, mut queue: mpsc::UnboundedReceiver<Vec<Delivery>>) {
    while let Some(mut parcels) = queue.next().await {
        while let Some(Some(more)) = queue.next().now_or_never() {
            parcels.extend(more);
        }
        let bytes: usize = parcels.iter().map(weight).sum();
        logic.publish(parcels).await;
        logic.room_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn weight(parcel: &Delivery) -> usize {
    match &parcel.parcel {
        Parcel::Room(_, push) => push.body.len() + OVERHEAD,
        Parcel::Push(_) | Parcel::Kick { .. } => 0,
    }
}

impl Logic {
    /// Counts so many bytes among those that wait for the bus, if there is room.
    fn has_room_for_parcels(&self, bytes: usize) -> bool {
        let waiting = self.room_bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = waiting.saturating_add(bytes) <= self.policy.room_bytes;
        if !fits {
            self.room_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }

    /// Takes what was said to the bus, in this order.
    pub(super) fn queue_parcels(&self, parcels: Vec<Delivery>) {
        if !parcels.is_empty() {
            // Fails only once the server has stopped.
            let _ = self.room_queue.unbounded_send(parcels);
        }
    }
}
