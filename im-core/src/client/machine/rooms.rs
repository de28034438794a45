//! Rooms: entering them, again after every login, speaking and listening there.

use bytes::Bytes;
use im_proto::CmdId;
use im_proto::v1::{RoomJoinResponse, RoomLeaveResponse, RoomPush, RoomSendResponse};
use prost::Message as _;

use super::heard::Broken;
use super::{Asked, Client};
use crate::client::rooms::{RoomAction, RoomEvent, Saying, Standing};
use crate::client::{Effect, frame};
use crate::id::{ClientMsgId, MsgId, RoomId};
use crate::time::Tick;

impl Client {
    pub(super) fn on_room_action(&mut self, now: Tick, action: RoomAction, effects: &mut Vec<Effect>) {
        match action {
            RoomAction::Join { room, leave } => self.join(now, room, leave, effects),
            RoomAction::Leave(room) => self.leave(now, room, effects),
            RoomAction::Say(saying) => self.say(now, saying, effects),
        }
    }

    fn join(&mut self, now: Tick, room: RoomId, leave: Option<RoomId>, effects: &mut Vec<Effect>) {
        let leave = leave.filter(|leave| *leave != room);
        if self.is_ready() {
            self.ask_for_room(now, room, leave, effects);
            return;
        }
        if let Some(leave) = leave {
            self.leave(now, leave, effects);
        }
        self.rooms.set(room, Standing::Outside);
    }

    fn ask_for_room(&mut self, now: Tick, room: RoomId, leave: Option<RoomId>, effects: &mut Vec<Effect>) {
        self.rooms.set(room.clone(), Standing::Asked);
        let body = frame::room_join(&room, leave.as_ref());
        self.request(now, CmdId::ROOM_JOIN, body, Asked::Join { room, leave }, effects);
    }

    fn leave(&mut self, now: Tick, room: RoomId, effects: &mut Vec<Effect>) {
        self.rooms.forget(&room);
        if self.is_ready() {
            let body = frame::room_leave(&room);
            self.request(now, CmdId::ROOM_LEAVE, body, Asked::LeaveRoom(room), effects);
        } else {
            effects.push(Effect::Room(RoomEvent::Left(room)));
        }
    }

    fn say(&mut self, now: Tick, saying: Saying, effects: &mut Vec<Effect>) {
        let heard = matches!(self.rooms.standing(&saying.room), Some(Standing::Asked | Standing::Inside));
        let body = frame::room_send(&saying);
        if self.is_ready() && heard {
            self.request(now, CmdId::ROOM_SEND, body, Asked::Say(saying.client_msg_id), effects);
        } else {
            effects.push(unsaid(saying.client_msg_id));
        }
    }

    /// Asks for the rooms that the client wants to be in and is not.
    pub(super) fn enter_rooms(&mut self, now: Tick, effects: &mut Vec<Effect>) {
        if self.rooms.retry_at.is_some_and(|at| at > now) {
            return;
        }
        self.rooms.retry_at = None;
        for room in self.rooms.to_ask() {
            self.ask_for_room(now, room, None, effects);
        }
    }

    pub(super) fn on_joined(
        &mut self,
        now: Tick,
        room: RoomId,
        leave: Option<RoomId>,
        body: Bytes,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Broken> {
        let response = RoomJoinResponse::decode(body)?;
        match frame::error(response.err_code) {
            Ok(()) => {
                self.rooms.failures = 0;
                self.rooms.update(&room, Standing::Inside);
                if let Some(leave) = leave {
                    self.leave_behind(leave, effects);
                }
                effects.push(Effect::Room(RoomEvent::Joined { room, members: response.members }));
            }
            Err(Some(code)) if code.is_retryable() => {
                self.rooms.update(&room, Standing::Outside);
                self.rooms.failures = self.rooms.failures.saturating_add(1);
                let delay = self.config.backoff.delay(self.rooms.failures, &mut self.random);
                self.rooms.retry_at = Some(now + delay);
            }
            Err(code) => {
                self.rooms.forget(&room);
                effects.push(Effect::Room(RoomEvent::Refused { room, code }));
            }
        }
        Ok(())
    }

    /// A room that the client changed away from, unless it has asked for it again meanwhile.
    fn leave_behind(&mut self, room: RoomId, effects: &mut Vec<Effect>) {
        if self.rooms.standing(&room) == Some(Standing::Inside) {
            self.rooms.forget(&room);
        }
        effects.push(Effect::Room(RoomEvent::Left(room)));
    }

    pub(super) fn on_left(
        &mut self,
        room: RoomId,
        body: Bytes,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Broken> {
        RoomLeaveResponse::decode(body)?;
        effects.push(Effect::Room(RoomEvent::Left(room)));
        Ok(())
    }

    pub(super) fn on_said(
        &mut self,
        client_msg_id: ClientMsgId,
        body: Bytes,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Broken> {
        let response = RoomSendResponse::decode(body)?;
        effects.push(Effect::Room(match frame::error(response.err_code) {
            Ok(()) => {
                RoomEvent::Said { client_msg_id, msgid: MsgId(response.msgid), members: response.members }
            }
            Err(code) => RoomEvent::Unsaid { client_msg_id, code },
        }));
        Ok(())
    }

    pub(super) fn on_room_push(&mut self, body: Bytes, effects: &mut Vec<Effect>) -> Result<(), Broken> {
        let push = RoomPush::decode(body)?;
        let room = RoomId::new(&push.room).map_err(|_| Broken)?;
        if self.rooms.standing(&room).is_none() {
            // Left meanwhile.
            return Ok(());
        }
        effects.push(Effect::Room(match push.missed {
            0 => RoomEvent::Heard(frame::heard(room, &push)?),
            messages => RoomEvent::Missed { room, messages },
        }));
        Ok(())
    }

    /// The link is gone, and the answers with it.
    pub(super) fn lose_rooms(&mut self, effects: &mut Vec<Effect>) {
        for request in std::mem::take(&mut self.requests).into_values() {
            match request.what {
                Asked::Say(client_msg_id) => effects.push(unsaid(client_msg_id)),
                Asked::LeaveRoom(room) => effects.push(Effect::Room(RoomEvent::Left(room))),
                // A client that was on its way somewhere else goes there when it comes back.
                Asked::Join { leave: Some(leave), .. } => self.leave_behind(leave, effects),
                _ => {}
            }
        }
        self.rooms.all_outside();
    }
}

fn unsaid(client_msg_id: ClientMsgId) -> Effect {
    Effect::Room(RoomEvent::Unsaid { client_msg_id, code: None })
}
