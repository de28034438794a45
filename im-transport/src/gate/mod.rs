//! The gate: drives a [`Session`](im_core::session::Session) for each link, and calls the use-cases for all of them together.
//!
//! A gate is a few tasks, its shards, by default one a core. A shard owns its links: a message costs no task, channel or boxed future of
//! its own. Which shard a link belongs to follows from its [`ConnId`], so whoever has a parcel for it knows
//! where to leave it.
//!
//! # A turn
//!
//! A shard sleeps until something wakes it, and then does one turn of bounded work:
//!
//! 1. **Mail.** New sockets become links. Pushes and kicks, which the bus brought, go to the sessions.
//! 2. **Timers.** Sessions whose deadline has come are told so. A link has at most one timer; that moves later only when it fires, so that
//!    a frame costs no change of it.
//! 3. **Reading.** Each socket has a waker of its own, which puts its link on the shard's list. Up to
//!    [`links_per_turn`](GateLimits::links_per_turn) of them are read into one shared piece of memory and their frames, slices of it, handled. A
//!    link that has more than its share waits for the next turn, behind the others.
//! 4. **Serving.** What the sessions asked is one [`Turn`](im_core::logic::Turn), and
//!    [`Logic::serve`] is called once with it. Its answers are futures that the shard itself polls; logins are too.
//! 5. **Answers** that are there go to the sessions.
//! 6. **Writing.** Every link that has something to write is written to once: small frames from one buffer, large bodies from where they are,
//!    in one vectored write. The buffer goes when it is empty.
//! 7. **Rooms.** What was said in a room is put on end once for all of its members here, and each gets it in one write.
//!
//! # When there is too much
//!
//! | of | then |
//! |---|---|
//! | connections, in all or from one address | the next one is closed at once |
//! | requests of a link without an answer, or frames a second | the link is not read until there is room ([`SessionLimits`]) |
//! | pages of messages for a link, more than one | the next request waits, and what is behind it |
//! | requests of a shard without an answer | no link of it is read until there is room |
//! | incomplete frames of a shard's links together, in bytes | the link whose frame grows is cut; links without a login at half of it |
//! | bytes to write to a link, more than [`outbound_low_water`](GateLimits::outbound_low_water) | the link is not read |
//! | bytes to write to a link, more than [`outbound_budget`](GateLimits::outbound_budget), or none taken for [`write_stall`](GateLimits::write_stall) | the link is cut |
//! | bytes to write to a link, more than [`room_backlog`](GateLimits::room_backlog) | it gets nothing of rooms, and is told how much that was |
//! | bytes to write to all links of a shard | those that have not taken everything for the longest time are cut |
//! | pushes for a shard that does not keep up | the oldest are dropped, kicks never; receivers find the gap and pull, members of rooms are told |
//! | logins of a shard without an answer | the next one is told to try again |
//!
//! A panic in a part that the integrator brought, an authenticator or a command, is logged, and its own requests are told to try again;
//! other links do not notice.
//!
//! A link that is closed, not cut, gets [`linger`](GateLimits::linger) to take what was queued. Then its writing half is ended and it
//! is read, unseen, until the peer closes too, for a socket closed with bytes unread would be reset under the last frames.
//!
//! # Who came and went
//!
//! Each login and its end are a line of the log at `info`, with user, device, address and link; so is each login that is refused, with its cause, and each
//! link that ends without one. Of logins and ends 20 a second are listed, of refusals 10, of failures of the server's own 1; the others are counted, and are
//! lines at `debug`. A subscriber that leaves these lines out makes them cost nothing but the counting.
//!
//! # After an outage
//!
//! When the gate has subscribed to the bus again, and when the router may have lost routes, each shard goes through its links, a few at a time: it has them confirmed
//! at the router, and hints at the newest message those that were told of less than their user's timeline has ([`Logic::missed`]).

mod access;
mod admission;
mod audit;
mod backlog;
mod dispatch;
mod in_flight;
mod limits;
mod link;
mod mailbox;
mod outbox;
mod ready;
mod rooms;
mod router;
mod run;
mod shard;
mod stream;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use im_core::id::ConnId;
use im_core::logic::Logic;
use im_core::session::SessionLimits;
use im_core::time::Tick;
use tokio::task::JoinSet;

use self::access::AccessLog;
pub(crate) use self::admission::{Admission, Permit, Refusal};
pub use self::limits::GateLimits;
use self::link::Work;
pub(crate) use self::mailbox::NewLink;
use self::mailbox::{Mailbox, Phase};
use self::rooms::{RoomIndex, RoomLists};
use self::shard::Shard;
pub(crate) use self::stream::BoxStream;

/// A running gate, shared by its listeners.
pub(crate) struct Gate {
    logic: Arc<Logic>,
    admission: Arc<Admission>,
    shards: Vec<Arc<Mailbox>>,
    rooms: Arc<RoomIndex>,
    access: Arc<AccessLog>,
}

impl Gate {
    /// Starts `shards` tasks, and the one that brings them their parcels, on the current runtime. They end with
    /// [`drain`](Self::drain) or [`stop`](Self::stop).
    pub(crate) fn start(
        logic: Arc<Logic>,
        session_limits: SessionLimits,
        limits: GateLimits,
        shards: usize,
    ) -> (Arc<Self>, JoinSet<()>) {
        let (session_limits, limits) = (Arc::new(session_limits), Arc::new(limits));
        let mut tasks = JoinSet::new();
        let mailboxes: Vec<Arc<Mailbox>> =
            (0..shards.max(1)).map(|_| Mailbox::new(limits.shard_mailbox)).collect();
        let (rooms, access) = (Arc::new(RoomIndex::default()), Arc::new(AccessLog::default()));
        for (number, mailbox) in mailboxes.iter().enumerate() {
            let lists = RoomLists::new(number, rooms.clone());
            let (session_limits, limits) = (session_limits.clone(), limits.clone());
            let work = Work::new(limits, lists, access.clone());
            let shard = Shard::new(logic.clone(), session_limits, mailbox.clone(), work);
            // A turn is bounded work of its own; tokio's budget would only make sockets look dry that are not.
            tasks.spawn(tokio::task::unconstrained(shard.run()));
        }
        let admission = Admission::new(&limits);
        let gate = Arc::new(Self { logic, admission, shards: mailboxes, rooms, access });
        (gate, tasks)
    }

    /// Counts a connection from `address`, or says why not.
    pub(crate) fn admit(&self, address: IpAddr) -> Result<Permit, Refusal> {
        self.admission.admit(address)
    }

    /// Makes a link of an accepted connection from `address`.
    pub(crate) fn add(&self, stream: BoxStream, address: SocketAddr, permit: Permit) -> Result<(), Refusal> {
        let conn = self.logic.next_conn().map_err(|_| Refusal::NoIds)?;
        self.shards[self.shard_of(conn)].add(NewLink { conn, stream, address, permit });
        Ok(())
    }

    /// A connection was not taken.
    pub(crate) fn turned_away(&self, address: SocketAddr, why: Refusal) {
        self.access.turned_away(self.logic.ports().clock.tick(), address, why);
    }

    /// Tells every second what the log left out, for ever: its task is to be aborted.
    pub(crate) async fn tell_left_out(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.access.tell_left_out(self.logic.ports().clock.tick());
        }
    }

    /// Tells what the log left out, of the last second too.
    pub(crate) fn tell_all_left_out(&self) {
        self.access.tell_left_out(Tick(u64::MAX));
    }

    /// Links now.
    pub(crate) fn connections(&self) -> usize {
        self.admission.count()
    }

    /// Sends the clients away; the tasks end when they are gone.
    pub(crate) fn drain(&self) {
        self.enter(Phase::Draining);
    }

    /// Ends the tasks with whatever they still hold.
    pub(crate) fn stop(&self) {
        self.enter(Phase::Stopped);
    }

    /// Routes or pushes may be lost: has all links confirmed, and told what they may have missed.
    fn recover(&self) {
        self.shards.iter().for_each(|shard| shard.recover());
    }

    fn enter(&self, phase: Phase) {
        for shard in &self.shards {
            shard.enter(phase);
        }
    }

    /// The low bits of an id count from zero each millisecond, so they alone would favour the first shard.
    fn shard_of(&self, conn: ConnId) -> usize {
        let mixed = conn.0.cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        usize::try_from(mixed).unwrap_or(0) % self.shards.len()
    }
}
