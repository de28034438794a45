//! What is measured: a server that runs already, or one that is started for a round.

mod accounts;
mod spawn;

use std::net::SocketAddr;
use std::path::PathBuf;

pub(crate) use accounts::Accounts;
pub(crate) use spawn::{Floor, Spawned, Spawner};

use crate::proc::Pid;
use crate::wire::Dialect;

/// A server that serves.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// Its process, if that is known.
    pub(crate) pid: Option<Pid>,
    pub(crate) dialect: Dialect,
    pub(crate) accounts: Accounts,
    /// What the round is called.
    pub(crate) label: String,
    /// Its data directory, if this program made it.
    pub(crate) data: Option<PathBuf>,
}
