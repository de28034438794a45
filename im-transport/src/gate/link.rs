mod rooms;

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use im_core::logic::Turn;
use im_core::session::{CloseReason, Effect, Input, Login, Session};
use im_core::time::Tick;
use im_proto::{Decoder, ErrorCode, Limits, OutFrame};

use super::GateLimits;
use super::access::{AccessLog, End, Guest};
use super::admission::Permit;
use super::in_flight::{InFlight, Weight, is_page};
use super::mailbox::NewLink;
use super::outbox::{Outbox, Spares};
use super::ready::{LinkWaker, Ready};
use super::rooms::RoomLists;
use super::stream::{self, BoxStream};

/// One read takes at most this much.
const SCRATCH: usize = 64 << 10;

/// With less room than this a fresh piece of scratch is better than a short read.
const SCRATCH_LOW: usize = 8 << 10;

/// An incomplete frame below this is copied off, so that it does not hold a larger buffer.
const SMALL: usize = 4 << 10;

/// What the links of a shard share while they are handled.
pub(super) struct Work {
    /// What the current turn asks of the use-cases.
    pub(super) turn: Turn,
    /// Clients that want in.
    pub(super) logins: Vec<Login>,
    pub(super) limits: Arc<GateLimits>,
    /// Which links are in which rooms.
    pub(super) rooms: RoomLists,
    access: Arc<AccessLog>,
    in_flight: InFlight,
    /// The length of all links' rests.
    rests: usize,
    before_auth: Decoder,
    after_auth: Decoder,
    effects: Vec<Effect>,
    scratch: BytesMut,
    spares: Spares,
}

impl Work {
    pub(super) fn new(limits: Arc<GateLimits>, rooms: RoomLists, access: Arc<AccessLog>) -> Self {
        Self {
            turn: Turn::default(),
            logins: Vec::new(),
            before_auth: Decoder::new(Limits::new(limits.max_frame_before_auth)),
            after_auth: Decoder::new(Limits::new(limits.max_frame)),
            limits,
            rooms,
            access,
            in_flight: InFlight::default(),
            rests: 0,
            effects: Vec::new(),
            scratch: BytesMut::new(),
            spares: Spares::default(),
        }
    }

    /// Whether the use-cases are to be asked for more now.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight.get() < self.limits.shard_bytes_in_flight
    }

    /// Takes what the links asked, for the use-cases, with what it counts until it is answered.
    pub(super) fn take_turn(&mut self) -> (Turn, Arc<Weight>) {
        let mut turn = std::mem::take(&mut self.turn);
        // The next turn is likely as large.
        self.turn.requests.reserve(turn.requests.len());
        let weight = self.in_flight.hand_over(&mut turn);
        (turn, weight)
    }
}

/// Why the gate, not the session, ends a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Cut {
    /// More waits to be written than [`GateLimits::outbound_budget`].
    #[error("slow reader: too much waits to be written")]
    SlowReader,
    /// The shard's links hold more than [`GateLimits::shard_partial_frames`].
    #[error("too much of incomplete frames")]
    PartialFrames,
    /// The shard's links have more to take than [`GateLimits::shard_outbound`], this one for the longest time.
    #[error("slow reader: too much waits for all links together")]
    Backlog,
    /// Nothing was written for [`GateLimits::write_stall`].
    #[error("slow reader: takes nothing")]
    WriteStall,
    /// The stream ended.
    #[error("the client closed the connection")]
    Gone,
    /// The stream broke.
    #[error("the connection broke")]
    Broken,
    /// The server ended with the link still there.
    #[error("the server stopped")]
    Stopped,
}

/// How a link ends.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// Not yet.
    Open,
    /// What is queued is written first; then the peer has until this moment to close.
    Lingering { until: Tick, shut: bool },
    /// Now.
    Over,
}

/// One link: its stream, its session, and the bytes between them.
pub(super) struct Link {
    stream: BoxStream,
    session: Session,
    wake: Arc<LinkWaker>,
    waker: Waker,
    /// What arrived and is not handled: an incomplete frame, or frames that must wait. Empty on an idle link.
    rest: BytesMut,
    outbox: Option<Box<Outbox>>,
    /// When the last byte was written, or the first one queued since nothing waited.
    progress: Tick,
    /// More may be there than was read: nobody wakes for it.
    unread: bool,
    ending: Ending,
    /// A page of messages is on its way. Until it is there the link is not read: pages asked for on end would come faster than a phone
    /// can take them, and the link would be cut as a slow reader.
    awaits_page: bool,
    /// What the shard's timers hold for this link.
    pub(super) timer: Option<Tick>,
    /// On the shard's list of what the current turn changed.
    pub(super) touched: bool,
    /// On the shard's list of those that wait until its requests are answered.
    pub(super) starved: bool,
    guest: Guest,
    _permit: Permit,
}

impl Link {
    pub(super) fn new(new: NewLink, session: Session, index: usize, ready: Arc<Ready>) -> Self {
        let wake = LinkWaker::new(index, ready);
        Self {
            stream: new.stream,
            session,
            waker: Waker::from(wake.clone()),
            wake,
            rest: BytesMut::new(),
            outbox: None,
            progress: Tick::default(),
            unread: true,
            ending: Ending::Open,
            awaits_page: false,
            timer: None,
            touched: false,
            starved: false,
            guest: Guest::new(new.address, new.conn),
            _permit: new.permit,
        }
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Puts the link on the shard's list.
    pub(super) fn wake(&self) {
        self.waker.wake_by_ref();
    }

    /// The link came off the shard's list.
    pub(super) fn woken(&self) {
        self.wake.taken();
    }

    /// Feeds the session one input and does what it says.
    pub(super) fn input(&mut self, now: Tick, input: Input, work: &mut Work) {
        if let Input::Reply(reply) = &input
            && is_page(reply.ticket.cmd)
        {
            self.awaits_page = false;
        }
        self.session.handle(now, input, &mut work.effects);
        self.apply(now, work);
    }

    fn apply(&mut self, now: Tick, work: &mut Work) {
        let mut effects = std::mem::take(&mut work.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Write(frame) => self.queue(now, frame, work),
                Effect::Login(login) => {
                    self.guest.claims(login.caller.clone());
                    work.logins.push(login);
                }
                Effect::Request(request) => {
                    self.awaits_page |= work.in_flight.request(&request, work.limits.page_weight);
                    work.turn.requests.push(request);
                }
                Effect::Ack(ack) => {
                    work.in_flight.ack();
                    work.turn.acks.push(ack);
                }
                Effect::Enter(room) => work.rooms.enter(self.wake.link(), room),
                Effect::Exit(room) => work.rooms.exit(self.wake.link(), &room),
                Effect::Leave(caller) => {
                    work.rooms.end(self.wake.link());
                    work.turn.leaves.push(caller);
                }
                Effect::Close(reason) => self.close(now, reason, work),
            }
        }
        work.effects = effects;
    }

    fn close(&mut self, now: Tick, reason: CloseReason, work: &Work) {
        if matches!(self.ending, Ending::Over) {
            return;
        }
        work.access.ended(now, &self.guest, End::Closed(reason));
        self.ending = Ending::Lingering { until: now + work.limits.linger, shut: false };
    }

    /// The client was let in.
    pub(super) fn logged_in(&mut self, now: Tick, work: &Work) {
        work.access.logged_in(now, &mut self.guest);
    }

    /// The client is not let in.
    pub(super) fn refused(&self, now: Tick, code: ErrorCode, cause: &str, work: &Work) {
        work.access.refused(now, &self.guest, code, cause);
    }

    /// Ends the link without another byte.
    pub(super) fn cut(&mut self, now: Tick, why: Cut, work: &mut Work) {
        if matches!(self.ending, Ending::Over) {
            return;
        }
        if matches!(self.ending, Ending::Open) {
            work.access.ended(now, &self.guest, End::Cut(why));
        }
        self.ending = Ending::Over;
        self.outbox = None;
        let mut effects = Vec::new();
        self.session.handle(now, Input::Gone, &mut effects);
        for effect in effects {
            if let Effect::Leave(caller) = effect {
                work.rooms.end(self.wake.link());
                work.turn.leaves.push(caller);
            }
        }
    }

    fn queue(&mut self, now: Tick, frame: OutFrame, work: &mut Work) {
        if self.queued() >= work.limits.outbound_budget {
            // Perhaps the peer only had no chance to read yet.
            self.flush(now, work);
            if self.queued() >= work.limits.outbound_budget {
                self.cut(now, Cut::SlowReader, work);
            }
        }
        if matches!(self.ending, Ending::Over) {
            return;
        }
        if self.outbox.is_none() {
            self.progress = now;
        }
        self.outbox.get_or_insert_with(|| work.spares.take()).push(frame);
    }

    /// Bytes that wait to be written.
    pub(super) fn queued(&self) -> usize {
        self.outbox.as_ref().map_or(0, |outbox| outbox.len())
    }

    /// Whether the session and the bytes that wait to be written allow reading.
    fn may_read(&self, now: Tick, limits: &GateLimits) -> bool {
        matches!(self.ending, Ending::Open)
            && !self.awaits_page
            && self.session.may_read(now)
            && self.queued() <= limits.outbound_low_water
    }

    /// Whether this link could go on reading if the shard let it.
    pub(super) fn wants_read(&self, now: Tick, limits: &GateLimits) -> bool {
        self.unread && self.may_read(now, limits)
    }

    /// Reads and handles frames: until the stream is dry, the session wants no more, or the link has had its share of the turn.
    pub(super) fn read(&mut self, now: Tick, work: &mut Work) {
        let mut input = self.take_rest(work);
        let mut owned = true;
        let mut share = Share { frames: work.limits.frames_per_link, bytes: work.limits.bytes_per_link };
        self.unread = true;
        while self.handle_frames(now, &mut input, &mut share, work) && share.bytes > 0 {
            match self.poll_read(work) {
                Poll::Pending => {
                    self.unread = false;
                    break;
                }
                Poll::Ready(Ok(0)) => {
                    self.cut(now, Cut::Gone, work);
                    break;
                }
                Poll::Ready(Err(_)) => {
                    self.cut(now, Cut::Broken, work);
                    break;
                }
                Poll::Ready(Ok(count)) => share.bytes = share.bytes.saturating_sub(count),
            }
            if input.is_empty() {
                input = work.scratch.split();
                owned = false;
            } else {
                if !owned {
                    input = BytesMut::from(&input[..]);
                    owned = true;
                }
                input.extend_from_slice(&work.scratch.split());
            }
        }
        self.keep(now, input, owned, work);
    }

    fn take_rest(&mut self, work: &mut Work) -> BytesMut {
        work.rests -= self.rest.len();
        std::mem::take(&mut self.rest)
    }

    /// Handles whole frames; whether more may be read.
    fn handle_frames(&mut self, now: Tick, input: &mut BytesMut, share: &mut Share, work: &mut Work) -> bool {
        loop {
            if share.frames == 0 || !work.has_room() || !self.may_read(now, &work.limits) {
                return false;
            }
            let ready = self.session.caller().is_some();
            let decoder = if ready { work.after_auth } else { work.before_auth };
            match decoder.decode(input) {
                Ok(Some(frame)) => {
                    share.frames -= 1;
                    self.input(now, Input::Frame(frame), work);
                }
                Ok(None) => return true,
                Err(error) => {
                    self.input(now, Input::Malformed(error), work);
                    return false;
                }
            }
        }
    }

    /// Keeps what is not handled yet, in a buffer of its own.
    fn keep(&mut self, now: Tick, input: BytesMut, owned: bool, work: &mut Work) {
        if input.is_empty() || !matches!(self.ending, Ending::Open) {
            return;
        }
        let (small, most) = match self.session.caller() {
            Some(_) => (SMALL, work.limits.shard_partial_frames),
            None => (0, work.limits.shard_partial_frames / 2),
        };
        if input.len() > small && work.rests + input.len() > most {
            return self.cut(now, Cut::PartialFrames, work);
        }
        work.rests += input.len();
        let copied = !owned || input.len() < SMALL;
        self.rest = if copied { BytesMut::from(&input[..]) } else { input };
    }

    fn poll_read(&mut self, work: &mut Work) -> Poll<std::io::Result<usize>> {
        if work.scratch.capacity() < SCRATCH_LOW {
            // Takes the old memory again if no frame holds it any more.
            work.scratch.reserve(SCRATCH);
        }
        // What is read beyond the rate has to be kept, so a link without a login gets no more than a frame at once.
        let most = if self.session.caller().is_some() { SCRATCH } else { work.limits.max_frame_before_auth };
        let mut cx = Context::from_waker(&self.waker);
        stream::poll_read(&mut self.stream, &mut cx, &mut work.scratch, most)
    }

    /// Writes what the stream takes.
    fn flush(&mut self, now: Tick, work: &mut Work) {
        let Some(outbox) = &mut self.outbox else { return };
        let mut cx = Context::from_waker(&self.waker);
        let mut written = 0;
        let mut outcome = outbox.poll_write(&mut self.stream, &mut cx, &mut written);
        if matches!(outcome, Poll::Ready(Ok(()))) {
            for (room, count) in outbox.take_missed() {
                self.session.missed(&room, count).into_iter().for_each(|frame| outbox.push(frame));
            }
            outcome = outbox.poll_write(&mut self.stream, &mut cx, &mut written);
        }
        if written > 0 {
            self.progress = now;
        }
        match outcome {
            Poll::Ready(Ok(())) => work.spares.put(self.outbox.take()),
            Poll::Ready(Err(_)) => self.cut(now, Cut::Broken, work),
            Poll::Pending if self.progress + work.limits.write_stall <= now => {
                self.cut(now, Cut::WriteStall, work);
            }
            Poll::Pending => {}
        }
    }

    /// Writes, ends what is to end, and says whether the link is still there.
    pub(super) fn settle(&mut self, now: Tick, work: &mut Work) -> bool {
        self.flush(now, work);
        if !matches!(self.ending, Ending::Open) {
            self.take_rest(work);
        }
        if let Ending::Lingering { until, shut } = self.ending
            && (until <= now || (self.outbox.is_none() && self.say_goodbye(until, shut, work)))
        {
            self.ending = Ending::Over;
        }
        !matches!(self.ending, Ending::Over)
    }

    /// Ends the writing half, and reads on without looking until the peer has closed: a socket closed with unread bytes would
    /// be reset, and the peer might never see the last frames. Whether the peer has closed.
    fn say_goodbye(&mut self, until: Tick, shut: bool, work: &mut Work) -> bool {
        let mut cx = Context::from_waker(&self.waker);
        if !shut {
            match stream::poll_shutdown(&mut self.stream, &mut cx) {
                Poll::Pending => return false,
                Poll::Ready(Err(_)) => return true,
                Poll::Ready(Ok(())) => self.ending = Ending::Lingering { until, shut: true },
            }
        }
        match self.poll_read(work) {
            Poll::Pending => false,
            Poll::Ready(Err(_)) | Poll::Ready(Ok(0)) => true,
            Poll::Ready(Ok(_)) => {
                work.scratch.clear();
                self.wake();
                false
            }
        }
    }

    /// When something is due if nothing else happens.
    pub(super) fn next_deadline(&self, now: Tick, limits: &GateLimits) -> Option<Tick> {
        let lingers = match self.ending {
            Ending::Lingering { until, .. } => Some(until),
            _ => None,
        };
        let stalls = self.outbox.as_ref().map(|_| self.progress + limits.write_stall);
        let reads = if self.unread { self.session.next_read(now) } else { None };
        [lingers, stalls, reads].into_iter().fold(self.session.next_deadline(), earlier)
    }
}

/// The first of two moments, of which `None` never comes.
fn earlier(one: Option<Tick>, other: Option<Tick>) -> Option<Tick> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// What a link may still do in a turn.
struct Share {
    frames: usize,
    bytes: usize,
}
