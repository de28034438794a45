use bytes::Bytes;
use im_proto::v1::RoomPush;
use prost::Message as _;

use super::World;
use crate::client::{Input, RoomAction, RoomEvent, Saying};
use crate::id::{ClientMsgId, RoomId, Uid};
use crate::message::ContentType;
use crate::testing::sim::history::Seen;

/// Few, so that devices meet.
const ROOMS: [&str; 2] = ["lobby", "attic"];

/// Live chat.
impl World {
    /// Somebody enters a room, leaves one, or says something.
    pub(super) fn chat(&mut self) {
        let (device, what, at, aside) = self.kernel.dice(|dice| {
            (dice.index(self.devices.len()), dice.between(0, 9), dice.index(ROOMS.len()), dice.happens(300))
        });
        let (Ok(room), Ok(other)) = (RoomId::new(ROOMS[at]), RoomId::new(ROOMS[1 - at])) else { return };
        match what {
            0..=3 => self.room_action(device, RoomAction::Join { room, leave: aside.then_some(other) }),
            4 => self.room_action(device, RoomAction::Leave(room)),
            _ => self.speak(device, room),
        }
    }

    fn speak(&mut self, device: usize, room: RoomId) {
        let number = self.kernel.dice(super::super::dice::Dice::number);
        let Ok(client_msg_id) = ClientMsgId::new(&format!("{number:x}")) else { return };
        let content = Bytes::from(format!("{room}:{device}#{number}"));
        let uid = self.devices[device].uid.clone();
        self.see(&Seen::Spoke { uid: &uid, room: &room, content: &content });
        let saying = Saying { room, client_msg_id, content_type: ContentType(0), content };
        self.room_action(device, RoomAction::Say(saying));
    }

    fn room_action(&mut self, device: usize, action: RoomAction) {
        self.client_input(device, Input::Room(action));
    }

    /// What the client makes of it.
    pub(super) fn room_event(&mut self, device: usize, event: &RoomEvent) {
        match event {
            RoomEvent::Joined { room, .. } => self.see(&Seen::Entered { device, room }),
            RoomEvent::Left(room) => self.left(device, room),
            RoomEvent::Heard(_) => self.kernel.count(|counts| counts.room_words_heard += 1),
            RoomEvent::Unsaid { .. } => self.kernel.count(|counts| counts.room_words_unsaid += 1),
            RoomEvent::Refused { room, code } => {
                self.fail("rooms", format!("device {device} is not let into {room}: {code:?}"));
            }
            RoomEvent::Said { .. } | RoomEvent::Missed { .. } => {}
        }
    }

    /// A client without a login is out at once, for itself: the server need not know yet, and its link may bring what was said before.
    fn left(&mut self, device: usize, room: &RoomId) {
        if self.devices[device].running.as_ref().is_some_and(|process| process.client.is_ready()) {
            self.see(&Seen::Left { device, room });
        }
    }

    /// What the server pushes, whatever the client makes of it.
    pub(super) fn room_push(&mut self, device: usize, body: Bytes) {
        let Ok(push) = RoomPush::decode(body) else { return };
        if let (Ok(room), Ok(from)) = (RoomId::new(&push.room), Uid::new(&push.from)) {
            self.see(&Seen::Heard { device, room: &room, from: &from, content: &push.content });
        }
    }
}
