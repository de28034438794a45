//! The use-cases, one file each, over the traits alone, and in `commands` what clients ask of them.
//!
//! [`Logic`] is what a gate calls: [`login`](Logic::login) once a link, [`serve`](Logic::serve) once a turn with all that its links
//! asked. Requests of one turn are sorted by command and each use-case is called once with a slice of them, so that a turn costs one append and
//! one fan-out however many messages it brought.
//!
//! Code of the server's own calls the use-cases too: [`send`](Logic::send), [`read`](Logic::read), [`heads`](Logic::heads),
//! [`push`](Logic::push), [`kick`](Logic::kick), [`online`](Logic::online). They answer with an [`ErrorCode`](im_proto::ErrorCode), as clients are answered.
//!
//! The way of a direct message: [`Logic::serve`] → `commands::c2c` → [`Logic::send`] → [`GroupCommit::append`] →
//! [`Timelines::append`](crate::storage::Timelines::append) → `commands::c2c`, and beside it `fan_out::run` →
//! [`fanout::plan`](crate::fanout::plan) → [`Bus::publish`].

mod acks;
mod auth;
mod commands;
mod company;
mod fan_out;
pub mod group_commit;
mod maintenance;
mod missed;
mod node_lease;
mod nudge;
mod online;
mod policy;
mod read;
mod refusal;
mod room;
mod route_lease;
mod send;
mod start;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures::FutureExt;
use futures::channel::{mpsc, oneshot};
use futures::future::{BoxFuture, join_all};
use im_proto::CmdId;

use self::acks::AckBook;
pub use self::commands::Command;
pub use self::company::Stranger;
use self::group_commit::GroupCommit;
pub use self::policy::Policy;
pub use self::read::PageAsk;
use self::refusal::refusal;
pub use self::send::{Origin, Outgoing, Sending};
pub use self::start::StartError;
use crate::delivery::Deliveries;
use crate::fanout::Stored;
use crate::id::{ConnId, IdsExhausted, NodeId, StoreEpoch};
use crate::ports::{Authenticator, Clock, RoomPolicy, WakeUp};
use crate::rate_limited_log::RateLimitedLog;
use crate::router::{Bus, Delivery, Routes};
use crate::session::{Ack, Caller, Reply, Request};
use crate::storage::{Blocklist, Store};

/// What a server is made of.
#[derive(Clone)]
pub struct Ports {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// Who is where.
    pub routes: Arc<dyn Routes>,
    /// How to reach gates.
    pub bus: Arc<dyn Bus>,
    /// Who may log in.
    pub authenticator: Arc<dyn Authenticator>,
    /// How to wake a device.
    pub wake_up: Arc<dyn WakeUp>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who may enter rooms and speak there.
    pub rooms: Arc<dyn RoomPolicy>,
    /// Who hears nothing from whom. Without one nobody is blocked.
    pub blocklist: Option<Arc<dyn Blocklist>>,
    /// The integrator's own commands. One that the library serves itself is never asked here.
    pub commands: BTreeMap<CmdId, Arc<dyn Command>>,
}

/// What the links of a gate asked since the last turn, in the order in which it came.
#[derive(Debug, Default)]
pub struct Turn {
    /// Commands.
    pub requests: Vec<Request>,
    /// Acknowledgements.
    pub acks: Vec<Ack>,
    /// Logins that are over. They take effect after the requests.
    pub leaves: Vec<Arc<Caller>>,
}

impl Turn {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.acks.is_empty() && self.leaves.is_empty()
    }
}

/// The use-cases over a set of ports.
pub struct Logic {
    ports: Ports,
    policy: Policy,
    /// This server's, among those that share its store.
    name: String,
    lease: node_lease::OwnLease,
    /// The store's, when this server started.
    epoch: StoreEpoch,
    commit: GroupCommit,
    acks: Mutex<AckBook>,
    deliveries: Mutex<Deliveries>,
    fan_out: Mutex<mpsc::Sender<Vec<Stored>>>,
    /// Bytes of messages that wait for their fan-out.
    fan_out_bytes: AtomicUsize,
    rooms: Mutex<room::Directory>,
    room_queue: mpsc::UnboundedSender<Vec<Delivery>>,
    /// Bytes of what was said in rooms and waits for the bus.
    room_bytes: AtomicUsize,
    left_routes: RateLimitedLog,
    lost_pushes: RateLimitedLog,
    late_nudges: RateLimitedLog,
    route_lease: route_lease::RouteLease,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    superseded: AtomicBool,
    outlived: AtomicBool,
}

/// The futures that a server runs beside its gates: the writer of appends, the fan-outs of messages and of rooms, the upkeep (deadlines, flushes), and the leases. Spawn
/// each, or poll them all; they end after [`Logic::stop`].
pub type Background = Vec<BoxFuture<'static, ()>>;

impl Logic {
    /// Takes a node number for `holder` from the store and makes the use-cases and what runs beside them. `holder` names this server
    /// and stays the same over its restarts; two servers that run at one time need two names.
    ///
    /// Before that it looks which servers serve beside this one. If a lease may be that of a dead server that would be a
    /// [`Stranger`], it waits for the lease to end.
    ///
    /// # Errors
    /// The store's, if it gives no lease; the router's, if it takes no node; and [`StartError::Company`].
    pub async fn start(
        ports: Ports,
        policy: Policy,
        holder: &str,
    ) -> Result<(Arc<Self>, Background), StartError> {
        company::admit(&ports, holder, policy.node_lease.max(policy.route_lease)).await?;
        let epoch = ports.store.epoch().await?;
        let now = ports.clock.now();
        let lease = ports.store.lease_node(holder, now, policy.node_lease).await?;
        // Where it begins later still, that is the floor that a bump left.
        if lease.from > now && lease.from <= now + policy.node_lease {
            tracing::info!(
                name = holder,
                "a server of this name was killed a moment ago, or still runs; if it runs, it stops now"
            );
        }
        let (fan_out, stored) = mpsc::channel(policy.fan_out_queue);
        let (room_queue, said) = mpsc::unbounded();
        let (stop, stopped) = oneshot::channel();
        let mut writer = None;
        let logic = Arc::new_cyclic(|logic: &Weak<Self>| {
            let logic = logic.clone();
            let announce = move |stored| {
                if let Some(logic) = logic.upgrade() {
                    logic.announce(stored)
                }
            };
            let (commit, write) = GroupCommit::new(
                ports.store.clone(),
                ports.blocklist.clone(),
                policy.group_commit.clone(),
                announce,
            );
            writer = Some(write.boxed());
            Self {
                name: holder.to_owned(),
                lease: node_lease::OwnLease::new(lease),
                epoch,
                commit,
                acks: Mutex::default(),
                deliveries: Mutex::new(Deliveries::new(policy.delivery.clone())),
                fan_out: Mutex::new(fan_out),
                fan_out_bytes: AtomicUsize::new(0),
                rooms: Mutex::default(),
                room_queue,
                room_bytes: AtomicUsize::new(0),
                left_routes: RateLimitedLog::default(),
                lost_pushes: RateLimitedLog::default(),
                late_nudges: RateLimitedLog::default(),
                route_lease: route_lease::RouteLease::new(ports.clock.tick() + policy.route_lease),
                stop: Mutex::new(Some(stop)),
                superseded: AtomicBool::new(false),
                outlived: AtomicBool::new(false),
                ports,
                policy,
            }
        });
        let fan_out = fan_out::run(logic.clone(), stored);
        let rooms = room::run(logic.clone(), said);
        let (route_stop, routes_stopped) = oneshot::channel();
        let (upkeep, lease) = maintenance::run(logic.clone(), stopped, route_stop);
        let routes = route_lease::run(logic.clone(), routes_stopped);
        // Whatever the router refuses now it would refuse to logins too.
        if let Err(refused) = logic.try_to_renew_routes().await {
            logic.release_lease().await;
            return Err(refused.into());
        }
        let background = [fan_out.boxed(), rooms.boxed(), upkeep.boxed(), lease.boxed(), routes.boxed()];
        Ok((logic, writer.into_iter().chain(background).collect()))
    }

    /// The node whose number is in all ids made here.
    pub fn node(&self) -> NodeId {
        self.lease.node()
    }

    /// What the server is made of.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// An id for a new link. It needs no renewal of the node's lease, so that clients log in and read while the store takes no writes.
    ///
    /// Ids of links do not follow the clock. They lie inside the lease, as those of messages do, and count on from its start: 2,048 for
    /// each millisecond of it. The lease that a server starts with is enough for 20 million links, and every second of
    /// service adds two million.
    ///
    /// # Errors
    /// [`IdsExhausted`] when the server has stopped, or those are used up.
    pub fn next_conn(&self) -> Result<ConnId, IdsExhausted> {
        self.lease.next_link()
    }

    /// Serves a turn. What it sends is queued for the store before this returns, so that turns keep their order if this is called in their
    /// order; the futures then bring the replies, each group as soon as it is there. Poll them side by side.
    ///
    /// # Cancel safety
    /// Dropping the futures withdraws no message; replies and acknowledgements in them are lost.
    pub fn serve(self: &Arc<Self>, turn: Turn) -> Vec<BoxFuture<'static, Vec<Reply>>> {
        let mut groups: Vec<_> = self.serve_requests(turn.requests).collect();
        if !turn.acks.is_empty() {
            groups.push(acks::take(self.clone(), turn.acks).map(|()| Vec::new()).boxed());
        }
        if !turn.leaves.is_empty() {
            groups.push(self.leave(turn.leaves).map(|()| Vec::new()).boxed());
        }
        groups
    }

    /// Whether another server took this one's node number, which happens when two run under one name. This one has stopped then, as by
    /// [`stop`](Self::stop), since ids of its own could be made twice.
    pub fn is_superseded(&self) -> bool {
        self.superseded.load(Ordering::Acquire)
    }

    /// Whether the store began another epoch while this server ran. It has stopped then, as by [`stop`](Self::stop), and has to be started again: its links are of
    /// the epoch before. That is looked at with each renewal of the node's lease.
    pub fn has_outlived_its_epoch(&self) -> bool {
        self.outlived.load(Ordering::Acquire)
    }

    /// Takes no more messages; the [`Background`] futures end when what was taken is stored and flushed.
    pub fn stop(&self) {
        self.commit.close();
        lock(&self.fan_out).close_channel();
        self.room_queue.close_channel();
        if let Some(stop) = lock(&self.stop).take() {
            // If nobody listens, the upkeep has ended already.
            let _ = stop.send(());
        }
    }
}

impl std::fmt::Debug for Logic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logic").field("node", &self.node()).finish_non_exhaustive()
    }
}

/// Runs all of a server's background futures in one.
pub async fn run_all(background: Background) {
    join_all(background).await;
}

/// Nothing here panics while it holds a lock, and if it did, the data are still those of the last whole step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
