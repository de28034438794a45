//! The gate

mod admission;
mod audit;
mod dispatch;
mod in_flight;
mod limits;
mod link;
mod mailbox;
mod outbox;
mod ready;
mod shard;
mod stream;

use std::sync::Arc;

use im_core::id::ConnId;
use im_core::logic::Logic;
use im_core::session::SessionLimits;
use tokio::task::JoinSet;

pub use self::admission::Refusal;
pub(crate) use self::admission::{Admission, Permit};
pub use self::limits::GateLimits;
pub(crate) use self::mailbox::NewLink;
use self::mailbox::{Mailbox, Phase};
use self::shard::Shard;
pub use self::stream::{BoxStream, Stream};

/// A running gate, shared by its listeners.
pub(crate) struct Gate {
    logic: Arc<Logic>,
    admission: Arc<Admission>,
    shards: Vec<Arc<Mailbox>>,
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
        for mailbox in &mailboxes {
            let shard = Shard::new(logic.clone(), session_limits.clone(), limits.clone(), mailbox.clone());
            // A turn is bounded work of its own; tokio's budget would only make sockets look dry that are not.
            tasks.spawn(tokio::task::unconstrained(shard.run()));
        }
        let gate = Arc::new(Self { logic, admission: Admission::new(&limits), shards: mailboxes });
        (gate, tasks)
    }

    /// Counts a connection from `address`, or says why not.
    pub(crate) fn admit(&self, address: std::net::IpAddr) -> Result<Permit, Refusal> {
        self.admission.admit(address)
    }

    /// Makes a link of an accepted connection.
    pub(crate) fn add(&self, stream: BoxStream, permit: Permit) -> Result<(), Refusal> {
        let conn = self.logic.next_conn().map_err(|_| Refusal::NoIds)?;
        self.shards[self.shard_of(conn)].add(NewLink { conn, stream, permit });
        Ok(())
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
