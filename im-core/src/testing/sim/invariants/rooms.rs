//! A room is heard by the links that are in it and by no others: nothing before the answer that lets a link in, nothing after the one to its leave, and
//! only what somebody said there. The bus of this world loses, doubles and reorders, so that order is tried elsewhere.

use std::collections::BTreeSet;

use super::{Broken, Invariant};
use crate::id::{RoomId, Uid};
use crate::testing::sim::history::{Ending, Seen};

#[derive(Default)]
pub(super) struct Rooms {
    inside: BTreeSet<(usize, RoomId)>,
    said: BTreeSet<(RoomId, Uid, Vec<u8>)>,
}

impl Invariant for Rooms {
    fn name(&self) -> &'static str {
        "rooms"
    }

    fn see(&mut self, seen: &Seen<'_>) -> Result<(), Broken> {
        match seen {
            Seen::NewLink { device } => self.inside.retain(|(inside, _)| inside != device),
            Seen::Entered { device, room } => {
                self.inside.insert((*device, (*room).clone()));
            }
            Seen::Left { device, room } => {
                self.inside.remove(&(*device, (*room).clone()));
            }
            Seen::Spoke { uid, room, content } => {
                self.said.insert(((*room).clone(), (*uid).clone(), content.to_vec()));
            }
            Seen::Heard { device, room, from, content } => {
                if !self.inside.contains(&(*device, (*room).clone())) {
                    return Err(format!("device {device} hears room {room}, which it is not in"));
                }
                if !self.said.contains(&((*room).clone(), (*from).clone(), content.to_vec())) {
                    return Err(format!("device {device} hears in {room} what {from} never said there"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&self, _: &Ending) -> Result<(), Broken> {
        Ok(())
    }
}
