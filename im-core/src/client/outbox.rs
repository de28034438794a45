use std::collections::{BTreeMap, VecDeque};

use super::{Backoff, Outgoing, SplitMix64};
use crate::id::Uid;
use crate::time::Tick;

/// The order in which a message came to be sent; its name inside this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u64);

/// What is to be sent, oldest first, and which of it is in flight.
///
/// A retryable failure takes the failed message and all later ones to the same user out of flight and holds them back for a while;
/// they leave again oldest first. Messages to others go on.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: VecDeque<Queued>,
    next: Place,
    bytes: usize,
    in_flight: usize,
    bytes_in_flight: usize,
    held_back: BTreeMap<Uid, HeldBack>,
}

#[derive(Debug)]
struct Queued {
    place: Place,
    message: Outgoing,
    in_flight: bool,
}

#[derive(Debug)]
struct HeldBack {
    failures: u32,
    until: Tick,
    /// Whether its time has come; the count of failures is kept until an answer is not one.
    released: bool,
}

/// How much may be in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

impl Outbox {
    pub(super) fn new(saved: Vec<Outgoing>) -> Self {
        let mut outbox = Self {
            queue: VecDeque::new(),
            next: Place(0),
            bytes: 0,
            in_flight: 0,
            bytes_in_flight: 0,
            held_back: BTreeMap::new(),
        };
        saved.into_iter().for_each(|message| outbox.push(message));
        outbox
    }

    pub(super) fn push(&mut self, message: Outgoing) {
        self.bytes += message.size();
        self.queue.push_back(Queued { place: self.next, message, in_flight: false });
        self.next = Place(self.next.0 + 1);
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn bytes_in_flight(&self) -> usize {
        self.bytes_in_flight
    }

    /// The next message that may leave; it counts as in flight from now on.
    pub(super) fn take(&mut self, now: Tick, window: Window) -> Option<(Place, Outgoing)> {
        self.held_back.values_mut().for_each(|held| held.released |= held.until <= now);
        if self.in_flight >= window.messages.max(1) {
            return None;
        }
        let held_back = &self.held_back;
        let free = |to: &Uid| held_back.get(to).is_none_or(|held| held.until <= now);
        let next = self.queue.iter_mut().find(|queued| !queued.in_flight && free(&queued.message.to))?;
        let size = next.message.size();
        if self.in_flight > 0 && self.bytes_in_flight + size > window.bytes {
            return None;
        }
        next.in_flight = true;
        self.in_flight += 1;
        self.bytes_in_flight += size;
        Some((next.place, next.message.clone()))
    }

    /// The server answered for good: forgets the message and gives it back.
    pub(super) fn settle(&mut self, place: Place) -> Option<Outgoing> {
        let index = self.queue.binary_search_by_key(&place, |queued| queued.place).ok()?;
        let queued = self.queue.remove(index)?;
        let size = queued.message.size();
        self.bytes -= size;
        if queued.in_flight {
            self.in_flight -= 1;
            self.bytes_in_flight -= size;
        }
        self.held_back.remove(&queued.message.to);
        Some(queued.message)
    }

    /// The server could not take it now. Names the messages that are out of flight by this; answers to them mean nothing any more.
    pub(super) fn hold_back(
        &mut self,
        place: Place,
        now: Tick,
        backoff: &Backoff,
        random: &mut SplitMix64,
    ) -> Vec<Place> {
        let Ok(index) = self.queue.binary_search_by_key(&place, |queued| queued.place) else {
            return Vec::new();
        };
        let to = self.queue[index].message.to.clone();
        let failures = self.held_back.get(&to).map_or(1, |held| held.failures.saturating_add(1));
        let until = now + backoff.delay(failures, random);
        let mut rewound = Vec::new();
        for queued in self.queue.range_mut(index..) {
            if queued.in_flight && queued.message.to == to {
                queued.in_flight = false;
                self.in_flight -= 1;
                self.bytes_in_flight -= queued.message.size();
                rewound.push(queued.place);
            }
        }
        self.held_back.insert(to, HeldBack { failures, until, released: false });
        rewound
    }

    /// The link is gone: nothing is in flight and nothing is held back, for the next link begins with the oldest.
    pub(super) fn rewind(&mut self) {
        self.queue.iter_mut().for_each(|queued| queued.in_flight = false);
        self.in_flight = 0;
        self.bytes_in_flight = 0;
        self.held_back.clear();
    }

    /// When the next held back messages may leave. What is free already needs no deadline: it left, or waits for an answer.
    pub(super) fn next_deadline(&self) -> Option<Tick> {
        self.held_back.values().filter(|held| !held.released).map(|held| held.until).min()
    }
}
