use std::error::Error;
use std::sync::Arc;

use im_core::logic::Policy;
use im_core::session::SessionLimits;
use im_transport::gate::GateLimits;
use im_transport::jwt::JwtAuthenticator;
use im_transport::{Server, ServerError};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::settings::Settings;
use crate::store::{Location, Opened};
use crate::{descriptors, logging, output, routes, runtime, secret, start_error};

/// The library's error knows neither the name nor how it is given.
#[derive(Debug, thiserror::Error)]
#[error(
    "another server runs under this one's name, {0:?}, over the same store, and takes its place: give each a name of its own, \
     with --node or IM_NODE, and start this one again"
)]
struct NameTaken(String);

/// Runs the server until a signal or a failure ends it.
pub(crate) fn run(settings: &Settings, location: &Location) -> Result<(), Box<dyn Error>> {
    runtime::block_on(run_until_asked(settings, location))?
}

async fn run_until_asked(settings: &Settings, location: &Location) -> Result<(), Box<dyn Error>> {
    let mut signals = Signals::new()?;
    let started = tokio::select! {
        started = Running::start(settings, location) => started?,
        name = signals.next() => {
            tracing::info!(signal = name, "stops before it serves");
            return Ok(());
        }
    };
    started.announce();
    started.serve(&mut signals, settings).await
}

/// A server, and the store below it.
struct Running {
    server: Server,
    store: Opened,
}

impl Running {
    async fn start(settings: &Settings, location: &Location) -> Result<Self, Box<dyn Error>> {
        let secret = secret::load_or_create(&settings.data)?;
        // First: it is known at once whether it can be reached, and a big store opens for long.
        let builder = routes::join(Server::builder(), settings).await?;
        tracing::info!(store = %location, "opens");
        let mut store = location.serve().await?;
        store.look_after();
        let server = builder
            .store(store.shared())
            .authenticator(Arc::new(JwtAuthenticator::new(&secret)))
            .policy(policy(settings))
            .session_limits(session_limits(settings))
            .gate_limits(gate_limits(settings))
            .tcp(&settings.tcp)
            .name(settings.node())
            .start()
            .await
            .map_err(|failure| start_error::told(failure, settings, location))?;
        Ok(Self { server, store })
    }

    /// Says that it serves. It does so too where nobody reads that.
    fn announce(&self) {
        let Some(address) = self.server.tcp_addr() else { return };
        // What was said on the way comes before.
        logging::flush();
        if let Err(failure) = output::line(&format!("ready tcp={address}")) {
            let error = &failure as &dyn Error;
            tracing::warn!(error, %address, "serves, but cannot say so on standard output");
        }
    }

    async fn serve(mut self, signals: &mut Signals, settings: &Settings) -> Result<(), Box<dyn Error>> {
        let failure = tokio::select! {
            name = signals.next() => {
                let links = self.server.connections();
                tracing::info!(signal = name, links, "stops: sends clients away, and answers what they asked");
                None
            }
            failure = self.server.failed() => Some(failure),
        };
        let stopped = tokio::select! {
            stopped = self.stop() => stopped,
            name = signals.next() => return Err(format!("{name} while stopping").into()),
        };
        tracing::info!("stopped");
        match failure {
            Some(ServerError::Superseded) => Err(NameTaken(settings.node().to_owned()).into()),
            Some(failure) => Err(failure.into()),
            None => Ok(stopped?),
        }
    }

    async fn stop(self) -> Result<(), ServerError> {
        let stopped = self.server.shutdown().await;
        self.store.close().await;
        stopped
    }
}

fn policy(settings: &Settings) -> Policy {
    let mut policy = Policy::default();
    policy.kick = settings.kick.0;
    policy
}

fn session_limits(settings: &Settings) -> SessionLimits {
    let mut limits = SessionLimits::default();
    limits.idle = settings.idle();
    limits.auth_deadline = settings.auth();
    limits
}

fn gate_limits(settings: &Settings) -> GateLimits {
    let mut limits = GateLimits::default();
    limits.max_connections = descriptors::room_for(settings.max_connections);
    limits.max_connections_per_address = settings.max_connections_per_address;
    limits.drain = settings.drain();
    limits
}

/// The signals that ask the server to end. Until they are listened for, they end the process at once.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one; its name.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
