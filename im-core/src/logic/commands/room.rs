//! Entering a room, leaving it, and what is said there.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use im_proto::v1::{
    RoomJoinRequest, RoomJoinResponse, RoomLeaveRequest, RoomLeaveResponse, RoomSendRequest, RoomSendResponse,
};
use im_proto::{CmdId, ErrorCode};
use prost::Message as _;

use super::reply;
use crate::id::{ClientMsgId, RoomId};
use crate::logic::Logic;
use crate::logic::room::Entering;
use crate::message::ContentType;
use crate::ports::RoomWord;
use crate::router::Delivery;
use crate::session::{Reply, Request};
use crate::time::Timestamp;

/// Does what needs no decision now, so that a link's messages keep their order; the future asks who is let in.
pub(super) fn serve(logic: &Arc<Logic>, requests: Vec<Request>) -> BoxFuture<'static, Vec<Reply>> {
    let now = logic.ports().clock.now();
    let (mut replies, mut asked, mut entering, mut parcels) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for request in requests {
        match request.ticket.cmd {
            CmdId::ROOM_JOIN => match join(&request) {
                Ok(join) => {
                    logic.begin_to_enter(&join);
                    entering.push(join);
                    asked.push(request);
                }
                Err(code) => replies.push(reply::error(&request, code)),
            },
            CmdId::ROOM_LEAVE => replies.push(leave(logic, &request)),
            _ => replies.push(say(logic, &request, now, &mut parcels)),
        }
    }
    logic.queue_parcels(parcels);
    let logic = logic.clone();
    async move {
        if !asked.is_empty() {
            let entered = logic.enter(entering).await;
            replies.extend(asked.iter().zip(entered).map(|(request, members)| joined(request, members)));
        }
        replies
    }
    .boxed()
}

fn join(request: &Request) -> Result<Entering, ErrorCode> {
    let body = RoomJoinRequest::decode(request.body.clone()).map_err(|_| ErrorCode::UndecodableBody)?;
    let room = RoomId::new(&body.room).map_err(|_| ErrorCode::NotFound)?;
    let leave = RoomId::new(&body.leave).ok().filter(|leave| *leave != room);
    Ok(Entering { caller: request.caller.clone(), room, leave })
}

fn joined(request: &Request, members: Result<usize, ErrorCode>) -> Reply {
    match members.map(count) {
        Ok(members) => reply::ok(request, &RoomJoinResponse { members, ..RoomJoinResponse::default() }),
        Err(code) => reply::error(request, code),
    }
}

fn leave(logic: &Logic, request: &Request) -> Reply {
    let Ok(body) = RoomLeaveRequest::decode(request.body.clone()) else {
        return reply::error(request, ErrorCode::UndecodableBody);
    };
    let Ok(room) = RoomId::new(&body.room) else {
        return reply::error(request, ErrorCode::NotFound);
    };
    logic.exit(&request.caller, &room);
    reply::ok(request, &RoomLeaveResponse::default())
}

fn say(logic: &Logic, request: &Request, now: Timestamp, parcels: &mut Vec<Delivery>) -> Reply {
    let said = word(request).and_then(|(word, id)| logic.say(&word, id, now, parcels));
    match said {
        Ok(said) => {
            let (msgid, members) = (said.msgid.0, count(said.listeners));
            let timestamp = now.0;
            reply::ok(request, &RoomSendResponse { msgid, timestamp, members, ..RoomSendResponse::default() })
        }
        Err(code) => reply::error(request, code),
    }
}

/// What is to be said, and the client's id of it.
fn word(request: &Request) -> Result<(RoomWord, String), ErrorCode> {
    let body = RoomSendRequest::decode(request.body.clone()).map_err(|_| ErrorCode::UndecodableBody)?;
    let room = RoomId::new(&body.room).map_err(|_| ErrorCode::NotFound)?;
    if !body.client_msg_id.is_empty() {
        ClientMsgId::new(&body.client_msg_id).map_err(|_| ErrorCode::TooLarge)?;
    }
    let word = RoomWord {
        caller: request.caller.clone(),
        room,
        content_type: ContentType(body.content_type),
        content: body.content,
    };
    Ok((word, body.client_msg_id))
}

fn count(links: usize) -> i64 {
    i64::try_from(links).unwrap_or(i64::MAX)
}
