//! Takes TCP connections and hands them to the gate.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use crate::gate::Gate;

/// The first pause after an accept that failed for want of descriptors or memory; each one in a row is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Accepts for ever: its task is to be aborted, which drops no accepted connection.
pub(crate) async fn accept(listener: TcpListener, gate: Arc<Gate>) {
    let mut pause = FIRST_PAUSE;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                pause = FIRST_PAUSE;
                welcome(&gate, stream, peer);
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

fn welcome(gate: &Gate, stream: TcpStream, peer: SocketAddr) {
    if let Err(failure) = stream.set_nodelay(true) {
        tracing::debug!(%peer, error = &failure as &dyn std::error::Error, "the link is slower than it could be");
    }
    let taken = gate.admit(peer.ip()).and_then(|permit| gate.add(Box::new(stream), permit));
    if let Err(why) = taken {
        tracing::debug!(%peer, %why, "refused a connection");
    }
}

/// Whether the error is that of the connection that was to be accepted, not of the listener.
fn concerns_one(failure: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(failure.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
