use im_core::logic::{StartError, Stranger};
use im_core::storage::StoreError;

/// Why a server does not start, or did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// A part without a default was not given to the builder; this is the builder's method for it.
    #[error("the server needs .{0}(…) before it can start")]
    Missing(&'static str),
    /// Nothing was given to the builder that listens: nobody could reach the server.
    #[error("the server listens nowhere: give it an address with .tcp(…)")]
    NoListener,
    /// Routes that servers share without a bus that they share: no push or kick would get from one to another.
    #[error("servers with shared .routes(…) need a shared .bus(…) too")]
    RoutesWithoutBus,
    /// Two handlers for one command, or one for a command that the library serves itself.
    #[error("command {0} has a handler already")]
    CommandTaken(im_proto::CmdId),
    /// An address could not be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address as it was given.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The thread that accepts connections was not to be had.
    #[error("connections cannot be accepted")]
    Acceptor(#[source] std::io::Error),
    /// The store gave no node number.
    #[error("the store does not let the server start")]
    Store(#[from] StoreError),
    /// The router took no node, and would take no login. Only a router outside of this process can refuse.
    #[error("the router does not let the server start")]
    Routes(#[source] im_core::router::RouteError),
    /// Another server runs that does not belong together with this one: servers of one store have to share their routes, and those of two stores must not.
    #[error(transparent)]
    Company(Stranger),
    /// The server could not be started for another reason.
    #[error("the server does not start")]
    Start(#[source] StartError),
    /// The bus took no subscription.
    #[error("the bus does not let the server start")]
    Bus(#[from] im_core::router::BusError),
    /// A task of the server's own panicked. Nothing that was acknowledged is lost; the server must be started again.
    #[error("a part of the server has failed")]
    Crashed(#[source] Option<tokio::task::JoinError>),
    /// Another server runs under this one's name and took its node number. Give each server a name of its own.
    #[error("another server runs under this one's name: give each server a name of its own")]
    Superseded,
    /// The store began another epoch while the server ran. It must be started again, so that clients learn of it.
    #[error(
        "the store's epoch is another than when the server started: start it again, so that clients learn of it"
    )]
    EpochEnded,
    /// What was acknowledged is stored, but the last acknowledgements of receivers were not stored in time.
    #[error("the store did not take the last acknowledgements in time")]
    Unflushed,
}

impl From<StartError> for ServerError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Store(error) => Self::Store(error),
            StartError::Routes(error) => Self::Routes(error),
            StartError::Company(stranger) => Self::Company(stranger),
            other => Self::Start(other),
        }
    }
}
