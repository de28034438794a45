//! The composition of a server: parts in, a running server out.

mod builder;
mod error;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use im_core::logic::{Background, Logic, run_all};
use im_core::session::SessionLimits;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use self::builder::ServerBuilder;
pub use self::error::ServerError;
use crate::gate::{Gate, GateLimits};
use crate::tcp;

/// A running server. Dropping it stops it at once, without a word to its clients; [`shutdown`](Self::shutdown) is the polite way.
pub struct Server {
    logic: Arc<Logic>,
    gate: Arc<Gate>,
    tcp_addr: Option<SocketAddr>,
    drain: Duration,
    /// What waits for the accepting thread, and the dispatcher: they end only when they are aborted.
    feeders: JoinSet<()>,
    shards: JoinSet<()>,
    background: JoinSet<()>,
}

impl Server {
    /// A server to be put together.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    pub(self) async fn run(
        logic: Arc<Logic>,
        background: Background,
        session_limits: SessionLimits,
        gate_limits: GateLimits,
        shards: usize,
        listener: Option<TcpListener>,
    ) -> Result<Self, ServerError> {
        let drain = gate_limits.drain;
        let (gate, shards) = Gate::start(logic.clone(), session_limits, gate_limits, shards);
        let parcels = match gate.subscribe().await {
            Ok(parcels) => parcels,
            Err(failure) => {
                // So that its leases are given back: the next start need not reckon with this one.
                logic.stop();
                let _ = tokio::time::timeout(drain, run_all(background)).await;
                return Err(failure.into());
            }
        };
        let mut feeders = JoinSet::new();
        feeders.spawn(gate.clone().dispatch(parcels));
        feeders.spawn(gate.clone().watch_router());
        feeders.spawn(gate.clone().tell_left_out());
        let mut tcp_addr = None;
        if let Some(listener) = listener {
            tcp_addr = listener.local_addr().ok();
            feeders.spawn(tcp::accept(listener, gate.clone()).map_err(ServerError::Acceptor)?);
        }
        let background = background.into_iter().collect();
        Ok(Self { logic, gate, tcp_addr, drain, feeders, shards, background })
    }

    /// Where it listens for TCP, with the port that was bound. `None` if it does not.
    pub fn tcp_addr(&self) -> Option<SocketAddr> {
        self.tcp_addr
    }

    /// Links now, logged in or not.
    pub fn connections(&self) -> usize {
        self.gate.connections()
    }

    /// The use-cases, to call them from code of your own.
    pub fn logic(&self) -> &Arc<Logic> {
        &self.logic
    }

    /// Ends if the server cannot go on: a part of it panicked, another server runs under its name
    /// ([`ServerError::Superseded`]), or its store began another epoch ([`ServerError::EpochEnded`]). It should then be shut down.
    ///
    /// # Cancel safety
    /// Dropping the future and calling again is fine.
    pub async fn failed(&mut self) -> ServerError {
        let ended = tokio::select! {
            Some(ended) = self.feeders.join_next() => ended,
            Some(ended) = self.shards.join_next() => ended,
            Some(ended) = self.background.join_next() => ended,
            else => return std::future::pending().await,
        };
        match ended {
            Ok(()) if self.logic.is_superseded() => ServerError::Superseded,
            Ok(()) if self.logic.has_outlived_its_epoch() => ServerError::EpochEnded,
            ended => ServerError::Crashed(ended.err()),
        }
    }

    /// Stops: takes no more connections, tells every client to come back after a random time, answers what was asked, closes the
    /// links, hints or wakes whoever has not acknowledged yet ([`Logic::hand_over`]), stores the last acknowledgements, and gives back the
    /// leases of this node. Takes at most twice [`GateLimits::drain`].
    ///
    /// # Errors
    /// [`ServerError::Unflushed`], [`ServerError::Crashed`]; the server is gone all the same.
    ///
    /// # Cancel safety
    /// Dropping the future stops the server at once.
    pub async fn shutdown(mut self) -> Result<(), ServerError> {
        let failed = self.drain_links().await;
        self.gate.tell_all_left_out();
        let until = Instant::now() + self.drain;
        self.hand_over().await;
        self.logic.stop();
        let flushed = tokio::time::timeout_at(until, all(&mut self.background)).await;
        failed.and(flushed.map_err(|_| ServerError::Unflushed)?)
    }

    /// Half of the time is left for the acknowledgements.
    async fn hand_over(&self) {
        if tokio::time::timeout(self.drain / 2, self.logic.hand_over()).await.is_err() {
            tracing::warn!("hints are lost; receivers pull later");
        }
    }

    async fn drain_links(&mut self) -> Result<(), ServerError> {
        self.feeders.shutdown().await;
        self.gate.drain();
        let drained = tokio::time::timeout(self.drain, all(&mut self.shards)).await;
        match drained {
            Ok(outcome) => outcome,
            Err(_) => {
                tracing::warn!(links = self.connections(), "cuts the links that are left");
                self.gate.stop();
                all(&mut self.shards).await
            }
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("tcp_addr", &self.tcp_addr).finish_non_exhaustive()
    }
}

/// Waits for all tasks; the first panic, if there was one.
async fn all(tasks: &mut JoinSet<()>) -> Result<(), ServerError> {
    let mut outcome = Ok(());
    while let Some(ended) = tasks.join_next().await {
        if let Err(failure) = ended {
            outcome = outcome.and(Err(ServerError::Crashed(Some(failure))));
        }
    }
    outcome
}
