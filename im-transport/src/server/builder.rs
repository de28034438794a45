use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use im_core::logic::{Command, Logic, Policy, Ports};
use im_core::memory::{MemoryBus, MemoryRoutes};
use im_core::ports::{Authenticator, Clock, LogWakeUp, OpenRooms, RoomPolicy, WakeUp};
use im_core::router::{Bus, Routes};
use im_core::session::SessionLimits;
use im_core::storage::{Blocklist, Store};
use im_proto::CmdId;
use tokio::net::{TcpListener, TcpSocket};

use super::{Server, ServerError};
use crate::clock::SystemClock;
use crate::gate::GateLimits;

/// What a server is made of. Only a [`store`](Self::store), an [`authenticator`](Self::authenticator) and where to listen ([`tcp`](Self::tcp)) have no default.
#[must_use = "a server runs only once it is started"]
#[derive(Default)]
pub struct ServerBuilder {
    name: Option<String>,
    store: Option<Arc<dyn Store>>,
    authenticator: Option<Arc<dyn Authenticator>>,
    routes: Option<Arc<dyn Routes>>,
    bus: Option<Arc<dyn Bus>>,
    wake_up: Option<Arc<dyn WakeUp>>,
    clock: Option<Arc<dyn Clock>>,
    rooms: Option<Arc<dyn RoomPolicy>>,
    blocklist: Option<Arc<dyn Blocklist>>,
    commands: Vec<(CmdId, Arc<dyn Command>)>,
    policy: Policy,
    session_limits: SessionLimits,
    gate_limits: GateLimits,
    shards: Option<usize>,
    tcp: Option<String>,
}

impl ServerBuilder {
    /// Where everything is kept. The server does not close it: whoever opened it does, after [`Server::shutdown`].
    pub fn store(self, store: Arc<dyn Store>) -> Self {
        Self { store: Some(store), ..self }
    }

    /// Who may log in.
    pub fn authenticator(self, authenticator: Arc<dyn Authenticator>) -> Self {
        Self { authenticator: Some(authenticator), ..self }
    }

    /// Who is where. Default: in memory, which is right for a server of one process. Several servers share their routes, and their [`bus`](Self::bus) too: without one
    /// the server does not start ([`ServerError::RoutesWithoutBus`]).
    ///
    /// All servers of a store have to share their routes, and those of different stores must not. A server that finds another one running where that is
    /// not so does not start ([`ServerError::Company`]). Where the other may have died, it waits until the lease has ended.
    pub fn routes(self, routes: Arc<dyn Routes>) -> Self {
        Self { routes: Some(routes), ..self }
    }

    /// How to reach the gate that holds a link. Default: in memory, which is right for a server of one process, whose [`routes`](Self::routes) are there too.
    pub fn bus(self, bus: Arc<dyn Bus>) -> Self {
        Self { bus: Some(bus), ..self }
    }

    /// How to wake a device. Default: a line in the log.
    pub fn wake_up(self, wake_up: Arc<dyn WakeUp>) -> Self {
        Self { wake_up: Some(wake_up), ..self }
    }

    /// The time. Default: the machine's. The gate's timers follow it.
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock: Some(clock), ..self }
    }

    /// Who may enter rooms and speak there. Default: everybody.
    pub fn rooms(self, rooms: Arc<dyn RoomPolicy>) -> Self {
        Self { rooms: Some(rooms), ..self }
    }

    /// Who hears nothing from whom: a message to a user who has blocked its sender is refused. Default: nobody is blocked.
    pub fn blocklist(self, blocklist: Arc<dyn Blocklist>) -> Self {
        Self { blocklist: Some(blocklist), ..self }
    }

    /// Serves a command of your own. Numbers that the protocol names, and those below 1,000, are taken.
    pub fn command(mut self, cmd: CmdId, handler: Arc<dyn Command>) -> Self {
        self.commands.push((cmd, handler));
        self
    }

    /// What the use-cases allow.
    pub fn policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// The bounds of every session.
    pub fn session_limits(self, session_limits: SessionLimits) -> Self {
        Self { session_limits, ..self }
    }

    /// The bounds of the gate.
    pub fn gate_limits(self, gate_limits: GateLimits) -> Self {
        Self { gate_limits, ..self }
    }

    /// Tasks that the links are spread over, at least 1. Default: the cores there are.
    pub fn shards(self, shards: usize) -> Self {
        Self { shards: Some(shards), ..self }
    }

    /// Listens on `HOST:PORT`; port 0 takes a free one, which [`Server::tcp_addr`] tells. Without it the server does not start
    /// ([`ServerError::NoListener`]).
    pub fn tcp(self, address: impl Into<String>) -> Self {
        Self { tcp: Some(address.into()), ..self }
    }

    /// What this server is called among those that share its store; it stays the same over restarts. Default: `server`. Of two with one name the older one
    /// ends, with [`ServerError::Superseded`].
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Starts the server on the current tokio runtime, which needs its timer and I/O drivers. It serves when this returns.
    ///
    /// # Errors
    /// See [`ServerError`]; nothing runs then.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    ///
    /// # Cancel safety
    /// Dropping the future stops what was started; the node number stays leased for a few seconds.
    pub async fn start(self) -> Result<Server, ServerError> {
        if self.routes.is_some() && self.bus.is_none() {
            return Err(ServerError::RoutesWithoutBus);
        }
        let ports = Ports {
            store: self.store.ok_or(ServerError::Missing("store"))?,
            authenticator: self.authenticator.ok_or(ServerError::Missing("authenticator"))?,
            routes: self.routes.unwrap_or_else(|| Arc::new(MemoryRoutes::default())),
            bus: self.bus.unwrap_or_else(|| Arc::new(MemoryBus::default())),
            wake_up: self.wake_up.unwrap_or_else(|| Arc::new(LogWakeUp)),
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock::new())),
            rooms: self.rooms.unwrap_or_else(|| Arc::new(OpenRooms)),
            blocklist: self.blocklist,
            commands: commands(self.commands)?,
        };
        let tcp = listen(self.tcp.ok_or(ServerError::NoListener)?).await?;
        let name = self.name.as_deref().unwrap_or("server");
        let (logic, background) = Logic::start(ports, self.policy, name).await?;
        let shards = self.shards.unwrap_or_else(cores);
        Server::run(logic, background, self.session_limits, self.gate_limits, shards, Some(tcp)).await
    }
}

impl std::fmt::Debug for ServerBuilder {
    /// Names what can be named: adapters have no words for themselves.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerBuilder")
            .field("name", &self.name)
            .field("tcp", &self.tcp)
            .field("shards", &self.shards)
            .field("policy", &self.policy)
            .field("session_limits", &self.session_limits)
            .field("gate_limits", &self.gate_limits)
            .finish_non_exhaustive()
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Connections that wait to be taken; the system may allow fewer (`net.core.somaxconn`, 4,096 on Linux). With the usual 128, SYNs of a
/// reconnect storm are dropped and come again after a second.
const BACKLOG: u32 = 4_096;

async fn listen(address: String) -> Result<TcpListener, ServerError> {
    bind_first(&address).await.map_err(|source| ServerError::Listen { address, source })
}

/// Listens on the first of the host's addresses that works.
async fn bind_first(address: &str) -> io::Result<TcpListener> {
    let mut failure = io::ErrorKind::AddrNotAvailable.into();
    for address in tokio::net::lookup_host(address).await? {
        match bind(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // So that a restarted server need not wait for the links of the one before to be forgotten.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn commands(
    handlers: Vec<(CmdId, Arc<dyn Command>)>,
) -> Result<BTreeMap<CmdId, Arc<dyn Command>>, ServerError> {
    let mut commands = BTreeMap::new();
    for (cmd, handler) in handlers {
        let ours = cmd.0 < 1_000 || (cmd.name().is_some() && !FREE.contains(&cmd));
        if ours || commands.insert(cmd, handler).is_some() {
            return Err(ServerError::CommandTaken(cmd));
        }
    }
    Ok(commands)
}

/// Commands of the protocol that the library leaves to the integrator.
const FREE: [CmdId; 1] = [CmdId::C2S];
