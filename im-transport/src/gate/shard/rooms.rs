//! What was said in rooms, on its way to the members here.

use std::collections::{HashMap, VecDeque};

use im_core::id::RoomId;
use im_core::time::Tick;

use super::Shard;
use crate::gate::run::{Runs, Said};

/// What a turn brought for rooms, and how far it got.
#[derive(Debug, Default)]
pub(super) struct Telling {
    rooms: VecDeque<(RoomId, Said)>,
    /// Members of the first room that have not been told, last first.
    members: Vec<usize>,
    begun: bool,
}

/// What of a room a turn does.
struct Share {
    /// Members that it tells.
    most: usize,
    /// Whether an earlier turn has begun.
    later: bool,
    /// Whether links are written to at once.
    at_once: bool,
}

impl Telling {
    /// Whether there is something to tell. Until then nothing more is taken from the mailbox, which is bounded.
    pub(super) fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    pub(super) fn put(&mut self, rooms: HashMap<RoomId, Said>) {
        self.rooms.extend(rooms);
    }
}

impl Shard {
    /// Gives the members of rooms what was said there, after what else this turn has for them; so many a turn, since a room can be large. Of a
    /// single room, which it mostly is, each link is written to at once; of several, what a link gets is gathered first.
    pub(super) fn tell_rooms(&mut self, now: Tick) {
        let mut share = self.work.limits.members_per_turn.max(1);
        let at_once = self.telling.rooms.len() == 1;
        while share > 0
            && let Some((room, said)) = self.telling.rooms.pop_front()
        {
            let later = std::mem::replace(&mut self.telling.begun, true);
            if !later {
                self.work.rooms.members(&room, &mut self.telling.members);
            }
            let told = self.tell_room(now, &room, &said, Share { most: share, later, at_once });
            share = share.saturating_sub(told);
            if self.telling.members.is_empty() {
                self.telling.begun = false;
            } else {
                self.telling.rooms.push_front((room, said));
            }
        }
        if !self.touched.is_empty() {
            self.settle(now);
        }
    }

    /// Tells some of the members that are left; how many, counting as some more what had to be encoded for few.
    fn tell_room(&mut self, now: Tick, room: &RoomId, said: &Said, share: Share) -> usize {
        let Share { most, later, at_once } = share;
        let mut members = std::mem::take(&mut self.telling.members);
        let mut told = 0;
        let senders = said.senders();
        let mut runs = Runs::new(room, said);
        while told + runs.more_pieces() < most
            && let Some(index) = members.pop()
        {
            told += 1;
            // Between two turns members leave, and their places are taken by others.
            if later && !self.work.rooms.contains(index, room) {
                continue;
            }
            let link = &mut self.links[index];
            let Some(version) = link.session().push_version() else { continue };
            if said.missed > 0 {
                link.miss(now, room, said.missed);
            }
            if link.hear(now, runs.of(version), &senders, at_once, &mut self.work) {
                self.touch(index);
            }
        }
        self.telling.members = members;
        told + runs.more_pieces()
    }
}
