//! Rooms: who is let in, and what is said there. Nothing is stored. A message goes over the bus once a node that has members; the gate there has
//! a list of its own links.
//!
//! Which rooms a link is in is its session's to know, so that a message comes here only from a member. Here is counted how many links of which
//! node are in a room: in memory, since there is one process. With many the counts belong beside the routes.

mod directory;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::channel::mpsc;
use futures::future::Either;
use futures::{FutureExt, StreamExt};
use im_proto::v1::{
    RoomJoinRequest, RoomJoinResponse, RoomLeaveRequest, RoomLeaveResponse, RoomPush, RoomSendRequest,
    RoomSendResponse,
};
use im_proto::{CmdId, ErrorCode, Suffix};
use prost::Message as _;

pub(super) use self::directory::Directory;
use super::{Logic, lock, reply};
use crate::id::{ClientMsgId, MsgId, RoomId};
use crate::message::ContentType;
use crate::ports::{RoomEntry, RoomWord};
use crate::router::{Delivery, Parcel};
use crate::session::{Push, Reply, Request};
use crate::time::Timestamp;

/// What a parcel that waits for the bus counts besides its body.
const OVERHEAD: usize = 256;

/// Whether a command is served here. All of a turn's are served together, in their order.
pub(super) fn is_room(cmd: CmdId) -> bool {
    [CmdId::ROOM_JOIN, CmdId::ROOM_LEAVE, CmdId::ROOM_SEND].contains(&cmd)
}

/// Does what needs no decision now, so that a link's messages keep their order; the future asks who is let in.
pub(super) fn serve(
    logic: Arc<Logic>,
    requests: Vec<Request>,
) -> impl Future<Output = Vec<Reply>> + Send + 'static {
    let now = logic.ports.clock.now();
    let (mut replies, mut joins, mut parcels) = (Vec::new(), Vec::new(), Vec::new());
    for request in requests {
        match request.ticket.cmd {
            CmdId::ROOM_JOIN => match Join::new(&request) {
                Ok(join) => {
                    lock(&logic.rooms).begin(request.caller.conn);
                    joins.push((request, join));
                }
                Err(code) => replies.push(reply::error(&request, code)),
            },
            CmdId::ROOM_LEAVE => replies.push(leave(&logic, &request)),
            _ => replies.push(match say(&logic, &request, now, &mut parcels) {
                Ok(response) => reply::ok(&request, &response),
                Err(code) => reply::error(&request, code),
            }),
        }
    }
    logic.queue_parcels(parcels);
    async move {
        if !joins.is_empty() {
            replies.extend(enter(&logic, joins).await);
        }
        replies
    }
}

/// A join that may be tried.
struct Join {
    room: RoomId,
    leave: Option<RoomId>,
}

impl Join {
    fn new(request: &Request) -> Result<Self, ErrorCode> {
        let body = RoomJoinRequest::decode(request.body.clone()).map_err(|_| ErrorCode::UndecodableBody)?;
        let room = RoomId::new(&body.room).map_err(|_| ErrorCode::NotFound)?;
        let leave = RoomId::new(&body.leave).ok().filter(|leave| *leave != room);
        Ok(Self { room, leave })
    }
}

async fn enter(logic: &Logic, joins: Vec<(Request, Join)>) -> Vec<Reply> {
    let entry = |(request, join): &(Request, Join)| RoomEntry {
        caller: request.caller.clone(),
        room: join.room.clone(),
    };
    let verdicts = decide(logic, joins.iter().map(entry).collect()).await;
    let verdicts = verdicts.into_iter().chain(std::iter::repeat(Err(ErrorCode::Unavailable)));
    let mut rooms = lock(&logic.rooms);
    let mut replies = Vec::with_capacity(joins.len());
    for ((request, join), verdict) in joins.into_iter().zip(verdicts) {
        // A link that went meanwhile must not be counted: nobody would count it out.
        let there = rooms.finish(request.caller.conn);
        replies.push(match verdict {
            Ok(()) if there => {
                if let Some(leave) = &join.leave {
                    rooms.exit(&request.caller, leave);
                }
                rooms.enter(&request.caller, &join.room);
                let members = count(rooms.members(&join.room));
                reply::ok(&request, &RoomJoinResponse { members, ..RoomJoinResponse::default() })
            }
            Ok(()) => reply::error(&request, ErrorCode::Unavailable),
            Err(code) => reply::error(&request, code),
        });
    }
    replies
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

fn leave(logic: &Logic, request: &Request) -> Reply {
    let Ok(body) = RoomLeaveRequest::decode(request.body.clone()) else {
        return reply::error(request, ErrorCode::UndecodableBody);
    };
    let Ok(room) = RoomId::new(&body.room) else {
        return reply::error(request, ErrorCode::NotFound);
    };
    lock(&logic.rooms).exit(&request.caller, &room);
    reply::ok(request, &RoomLeaveResponse::default())
}

/// Makes the parcels of one message, one a node that has members.
fn say(
    logic: &Logic,
    request: &Request,
    now: Timestamp,
    parcels: &mut Vec<Delivery>,
) -> Result<RoomSendResponse, ErrorCode> {
    let body = RoomSendRequest::decode(request.body.clone()).map_err(|_| ErrorCode::UndecodableBody)?;
    let room = RoomId::new(&body.room).map_err(|_| ErrorCode::NotFound)?;
    if body.content.len() > logic.policy.max_room_content {
        return Err(ErrorCode::TooLarge);
    }
    if !body.client_msg_id.is_empty() {
        ClientMsgId::new(&body.client_msg_id).map_err(|_| ErrorCode::TooLarge)?;
    }
    let word = RoomWord {
        caller: request.caller.clone(),
        room,
        content_type: ContentType(body.content_type),
        content: body.content,
    };
    may_say(logic, &word)?;
    let msgid = logic.lease.next_message(now).map_err(|_| ErrorCode::Unavailable)?;
    let (members, nodes) = {
        let rooms = lock(&logic.rooms);
        (rooms.members(&word.room), rooms.nodes(&word.room).collect::<Vec<_>>())
    };
    let push = Push {
        cmd: CmdId::ROOM_PUSH,
        body: encode(&word, body.client_msg_id, msgid, now),
        suffix: Suffix::NONE,
    };
    let bytes = nodes.len() * (push.body.len() + OVERHEAD);
    if !logic.has_room_for_parcels(bytes) {
        return Err(ErrorCode::Unavailable);
    }
    parcels.extend(nodes.into_iter().map(|node| Delivery {
        node,
        conn: request.caller.conn,
        parcel: Parcel::Room(word.room.clone(), push.clone()),
    }));
    // The sender is one of them, whom nothing is sent to.
    let members = count(members.saturating_sub(1));
    Ok(RoomSendResponse { msgid: msgid.0, timestamp: now.0, members, ..RoomSendResponse::default() })
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

fn count(links: usize) -> i64 {
    i64::try_from(links).unwrap_or(i64::MAX)
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

    fn queue_parcels(&self, parcels: Vec<Delivery>) {
        if !parcels.is_empty() {
            // Fails only once the server has stopped.
            let _ = self.room_queue.unbounded_send(parcels);
        }
    }
}
