//! The rooms that a link is in.

use bytes::Bytes;
use im_proto::v1::{RoomJoinRequest, RoomJoinResponse, RoomLeaveRequest, RoomSendRequest};
use im_proto::{ErrorCode, Frame};
use prost::Message as _;

use super::machine::refuse;
use super::{Effect, Session};
use crate::id::RoomId;

/// Where a link is, and where it wants to go.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    joined: Vec<RoomId>,
    joining: Option<Joining>,
}

/// A join without an answer. There is one at most, since the link is not read meanwhile.
#[derive(Debug)]
struct Joining {
    room: RoomId,
    leave: Option<RoomId>,
}

impl Rooms {
    pub(super) fn is_joining(&self) -> bool {
        self.joining.is_some()
    }

    fn contains(&self, room: &str) -> bool {
        self.joined.iter().any(|joined| joined.as_str() == room)
    }

    /// Whether the link was in the room.
    fn remove(&mut self, room: &RoomId) -> bool {
        let at = self.joined.iter().position(|joined| joined == room);
        at.map(|at| self.joined.swap_remove(at)).is_some()
    }

    /// Takes note of a join, if it may be tried.
    fn begin(&mut self, joining: Joining, most: usize) -> Result<(), ErrorCode> {
        if self.joining.is_some() {
            return Err(ErrorCode::Unavailable);
        }
        let leaves = joining.leave.as_ref().is_some_and(|room| self.contains(room.as_str()));
        let stays = self.joined.len() - usize::from(leaves);
        if stays >= most && !self.contains(joining.room.as_str()) {
            return Err(ErrorCode::TooMany);
        }
        self.joining = Some(joining);
        Ok(())
    }
}

impl Session {
    pub(super) fn on_room_join(&mut self, frame: Frame, effects: &mut Vec<Effect>) {
        let most = self.limits.rooms;
        let begun = joining(&frame).and_then(|joining| match self.rooms() {
            Some(rooms) => rooms.get_or_insert_default().begin(joining, most),
            None => Err(ErrorCode::Forbidden),
        });
        match begun {
            Ok(()) => self.request(frame, effects),
            Err(code) => refuse(&frame, code, effects),
        }
    }

    /// The answer to a join.
    pub(super) fn on_joined(&mut self, answer: Bytes, effects: &mut Vec<Effect>) {
        let Some(rooms) = self.rooms().and_then(Option::as_mut) else { return };
        let Some(Joining { room, leave }) = rooms.joining.take() else { return };
        if RoomJoinResponse::decode(answer).is_ok_and(|answer| answer.err_code == 0) {
            if let Some(leave) = leave
                && rooms.remove(&leave)
            {
                effects.push(Effect::Exit(leave));
            }
            if !rooms.contains(room.as_str()) {
                rooms.joined.push(room.clone());
                effects.push(Effect::Enter(room));
            }
        }
        self.forget_rooms_if_none();
    }

    pub(super) fn on_room_leave(&mut self, frame: Frame, effects: &mut Vec<Effect>) {
        let room = match RoomLeaveRequest::decode(frame.body.clone()) {
            Ok(request) => RoomId::new(&request.room).map_err(|_| ErrorCode::NotFound),
            Err(_) => Err(ErrorCode::UndecodableBody),
        };
        match room {
            Ok(room) => {
                self.exit(room, effects);
                self.request(frame, effects);
            }
            Err(code) => refuse(&frame, code, effects),
        }
    }

    fn exit(&mut self, room: RoomId, effects: &mut Vec<Effect>) {
        let Some(rooms) = self.rooms().and_then(Option::as_mut) else { return };
        if rooms.remove(&room) {
            effects.push(Effect::Exit(room));
            self.forget_rooms_if_none();
        }
    }

    pub(super) fn on_room_send(&mut self, frame: Frame, effects: &mut Vec<Effect>) {
        let refused = match RoomSendRequest::decode(frame.body.clone()) {
            Ok(request) if self.is_in(&request.room) => None,
            // Nobody is in a room that cannot be.
            Ok(request) if RoomId::new(&request.room).is_err() => Some(ErrorCode::NotFound),
            Ok(_) => Some(ErrorCode::Forbidden),
            Err(_) => Some(ErrorCode::UndecodableBody),
        };
        match refused {
            None => self.request(frame, effects),
            Some(code) => refuse(&frame, code, effects),
        }
    }

    fn is_in(&mut self, room: &str) -> bool {
        self.rooms().is_some_and(|rooms| rooms.as_ref().is_some_and(|rooms| rooms.contains(room)))
    }

    fn forget_rooms_if_none(&mut self) {
        if let Some(rooms) = self.rooms()
            && rooms.as_ref().is_some_and(|rooms| rooms.joined.is_empty() && !rooms.is_joining())
        {
            *rooms = None;
        }
    }
}

fn joining(frame: &Frame) -> Result<Joining, ErrorCode> {
    let request = RoomJoinRequest::decode(frame.body.clone()).map_err(|_| ErrorCode::UndecodableBody)?;
    let room = RoomId::new(&request.room).map_err(|_| ErrorCode::NotFound)?;
    // A link is not in a room that cannot be, and need not leave the one that it is to be in.
    let leave = RoomId::new(&request.leave).ok().filter(|leave| *leave != room);
    Ok(Joining { room, leave })
}
