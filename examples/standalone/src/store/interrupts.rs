use tokio::signal::unix::{Signal, SignalKind, signal};

use super::failure::Failure;

/// SIGINT and SIGTERM, from when they were first listened for.
pub(super) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    pub(super) fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(Failure::Signals);
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Works until it is done, or until a signal comes: then `None`.
    pub(super) async fn stop<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            _ = self.interrupt.recv() => None,
            _ = self.terminate.recv() => None,
        }
    }

    /// As [`stop`](Self::stop), for work that leaves nothing to say when it is cut off.
    pub(super) async fn within<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Failure> {
        self.stop(work).await.ok_or(Failure::Interrupted)
    }
}
