//! Takes TCP connections and hands them to the gate.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::gate::{Gate, Refusal};

/// The first pause after an accept that failed for want of descriptors or memory; each one in a row is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Refused connections are logged at most this often.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Accepts for ever: its task is to be aborted, which drops no accepted connection.
pub(crate) async fn accept(listener: TcpListener, gate: Arc<Gate>) {
    let mut pause = FIRST_PAUSE;
    let mut refusals = Refusals::default();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                pause = FIRST_PAUSE;
                if let Err(why) = welcome(&gate, stream, peer) {
                    refusals.log(peer, why);
                }
            }
            Err(failure) if concerns_one(&failure) => {}
            Err(failure) => {
                tracing::warn!(error = &failure as &dyn std::error::Error, ?pause, "cannot accept");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

fn welcome(gate: &Gate, stream: TcpStream, peer: SocketAddr) -> Result<(), Refusal> {
    if let Err(failure) = stream.set_nodelay(true) {
        tracing::debug!(%peer, error = &failure as &dyn std::error::Error, "the link is slower than it could be");
    }
    let permit = gate.admit(peer.ip())?;
    gate.add(Box::new(stream), permit)
}

/// Connections that were not taken since the log last said so: a flood of them must not become a flood of lines.
#[derive(Default)]
struct Refusals {
    count: u64,
    logged: Option<Instant>,
}

impl Refusals {
    fn log(&mut self, peer: SocketAddr, why: Refusal) {
        self.count += 1;
        if self.logged.is_none_or(|logged| logged.elapsed() >= LOG_EVERY) {
            tracing::warn!(last = %peer, %why, count = self.count, "refused connections");
            *self = Self { count: 0, logged: Some(Instant::now()) };
        }
    }
}

/// Whether the error is that of the connection that was to be accepted, not of the listener.
fn concerns_one(failure: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(failure.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
