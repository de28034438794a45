use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use im_proto::{Frame, Seq};

use super::World;
use crate::id::{ConnId, StoreEpoch, Uid};
use crate::session::Session;
use crate::testing::sim::event::{End, Event, LinkId, Segment, ServerLife};
use crate::time::Tick;

/// Who holds a link's client end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    Device(usize),
    Hostile(usize),
}

/// A link and both of its ends.
pub(super) struct Link {
    pub(super) holder: Holder,
    pub(super) at: ServerLife,
    /// The epoch of the store when it was opened, and as long as it is open: servers are stopped before there is another.
    pub(super) epoch: StoreEpoch,
    pub(super) conn: ConnId,
    pub(super) session: Session,
    /// Whom the client says it is.
    pub(super) uid: Option<Uid>,
    /// Sends without an answer, with their targets.
    pub(super) sends: BTreeMap<Seq, String>,
    /// Frames that the session does not want yet.
    pub(super) inbox: VecDeque<Frame>,
    pub(super) timer: Option<Tick>,
    pub(super) up: Pipe,
    pub(super) down: Pipe,
    pub(super) open_at_server: bool,
    pub(super) open_at_client: bool,
}

/// One direction of a link: first in, first out, late.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// When the last segment arrives.
    last: Tick,
    /// From when on nothing arrives.
    pub(super) cut: Option<Tick>,
    /// What arrived and is no whole frame yet.
    pub(super) buffer: BytesMut,
}

impl Pipe {
    fn arrival(&mut self, now: Tick, takes: Duration) -> Tick {
        self.last = (now + takes).max(self.last + Duration::from_nanos(1));
        self.last
    }

    fn stall(&mut self, now: Tick, time: Duration) {
        self.last = self.last.max(now) + time;
    }

    pub(super) fn is_cut(&self, now: Tick) -> bool {
        self.cut.is_some_and(|cut| cut <= now)
    }
}

impl Link {
    fn pipe_to(&mut self, end: End) -> &mut Pipe {
        match end {
            End::Client => &mut self.down,
            End::Server => &mut self.up,
        }
    }
}

impl World {
    /// Writes bytes that are to come out at `end`.
    pub(super) fn write(&mut self, link: LinkId, end: End, segment: Segment) {
        let takes = self.kernel.dice(|dice| dice.micros(200, 15_000));
        let now = self.kernel.now();
        if let Some(state) = self.links.get_mut(&link) {
            let at = state.pipe_to(end).arrival(now, takes);
            self.kernel.at(at, Event::Arrives(link, end, segment));
        }
    }

    /// Writes bytes, at times in two parts.
    pub(super) fn write_bytes(&mut self, link: LinkId, end: End, mut bytes: Bytes) {
        if bytes.len() > 1 && self.kernel.dice(|dice| dice.happens(50)) {
            let first = self.kernel.dice(|dice| dice.index(bytes.len() - 1)) + 1;
            let head = bytes.split_to(first);
            self.write(link, end, Segment::Bytes(head));
        }
        self.write(link, end, Segment::Bytes(bytes));
    }

    /// The link breaks somewhere on its way. Each direction loses its tail, and each end learns of it later or not at all.
    pub(super) fn cut(&mut self, link: LinkId) {
        let now = self.kernel.now();
        let Some(state) = self.links.get_mut(&link) else { return };
        self.kernel.note("cut", link.0, 0);
        self.kernel.count(|counts| counts.links_cut += 1);
        for end in [End::Client, End::Server] {
            let pipe = state.pipe_to(end);
            let cut = now + self.kernel.dice(|dice| dice.millis(0, 30));
            pipe.cut = Some(pipe.cut.map_or(cut, |earlier| earlier.min(cut)));
            if self.kernel.dice(|dice| dice.happens(250)) {
                self.kernel.count(|counts| counts.links_half_open += 1);
            } else {
                let learns = cut + self.kernel.dice(|dice| dice.millis(0, 800));
                self.kernel.at(learns, Event::Breaks(link, end));
            }
        }
    }

    pub(super) fn stall(&mut self, link: LinkId) {
        let now = self.kernel.now();
        let time = self.kernel.dice(|dice| dice.millis(100, 5_000));
        let end = if self.kernel.dice(|dice| dice.happens(500)) { End::Client } else { End::Server };
        if let Some(state) = self.links.get_mut(&link) {
            self.kernel.note("stall", link.0, 0);
            self.kernel.count(|counts| counts.links_stalled += 1);
            state.pipe_to(end).stall(now, time);
        }
    }

    pub(super) fn breaks(&mut self, link: LinkId, end: End) {
        match end {
            End::Client => self.lost_at_client(link),
            End::Server => self.lost_at_server(link),
        }
    }

    /// Forgets a link that neither end holds any more.
    pub(super) fn tidy(&mut self, link: LinkId) {
        if self.links.get(&link).is_some_and(|link| !link.open_at_client && !link.open_at_server) {
            self.links.remove(&link);
        }
    }
}
