//! Takes TCP connections and hands them to the gate.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{self, Handle};
use tokio::sync::oneshot;

use crate::gate::{Gate, Refusal};

/// The first pause after an accept that failed for want of descriptors or memory; each one in a row is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Accepts on a thread of its own until the future is dropped, which closes the listener; what was accepted is the gate's and lives on.
///
/// A task beside the shards would wait for their turns. While thousands log in at once the system's queue of connections fills up in
/// such a turn, and a full queue drops SYNs, which come again after a second. A thread that mostly sleeps is let run when it wakes.
///
/// The future ends by itself only if the thread did. Called in the gate's runtime.
///
/// # Errors
/// The thread, or what it waits with, could not be made.
pub(crate) fn accept(listener: TcpListener, gate: Arc<Gate>) -> io::Result<impl Future<Output = ()> + Send> {
    let listener = listener.into_std()?;
    let home = Handle::current();
    let (stop, stopped) = oneshot::channel::<()>();
    let (ending, ended) = oneshot::channel::<()>();
    let waiting = runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = thread::Builder::new().name("accept".to_owned()).spawn(move || {
        let _ending = ending;
        waiting.block_on(async {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            tokio::select! {
                _ = stopped => {}
                () = accept_all(listener, gate, home) => {}
            }
        });
    })?;
    let acceptor = Acceptor { stop: Some(stop), thread: Some(thread) };
    Ok(async move {
        let _acceptor = acceptor;
        let _ = ended.await;
    })
}

/// Ends the thread that accepts when it is dropped, and waits for that: the port is free then. The thread waits for nobody.
struct Acceptor {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.stop.take();
        // A panic of the thread's has ended the future that holds this, which the server reports.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn accept_all(listener: TcpListener, gate: Arc<Gate>, home: Handle) {
    let mut pause = FIRST_PAUSE;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                pause = FIRST_PAUSE;
                if let Err(why) = welcome(&gate, &home, stream, peer) {
                    gate.turned_away(peer, why);
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

fn welcome(gate: &Gate, home: &Handle, stream: TcpStream, peer: SocketAddr) -> Result<(), Refusal> {
    if let Err(failure) = stream.set_nodelay(true) {
        tracing::debug!(%peer, error = &failure as &dyn std::error::Error, "the link is slower than it could be");
    }
    let permit = gate.admit(peer.ip())?;
    match bring(home, stream) {
        Ok(stream) => gate.add(Box::new(stream), peer, permit),
        Err(failure) => {
            tracing::debug!(%peer, error = &failure as &dyn std::error::Error, "a connection was lost as it came");
            Ok(())
        }
    }
}

/// Has the connection's events go to the gate's runtime from now on.
fn bring(home: &Handle, stream: TcpStream) -> io::Result<TcpStream> {
    let stream = stream.into_std()?;
    let _inside = home.enter();
    TcpStream::from_std(stream)
}

/// Whether the error is that of the connection that was to be accepted, not of the listener.
fn concerns_one(failure: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(failure.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
