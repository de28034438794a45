//! An end for every wait of the suites, whatever the adapter does.

use std::pin::pin;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, select};

/// What `future` gives; `None` if it takes longer than `limit`.
pub(super) async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let (late, is_late) = oneshot::channel();
    let (done, is_done) = channel::<()>();
    #[allow(
        clippy::disallowed_methods,
        reason = "a suite runs on any runtime and none, so a thread keeps the time; it ends with the wait"
    )]
    std::thread::spawn(move || {
        if is_done.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            let _nobody_waits = late.send(());
        }
    });
    let given = match select(pin!(future), is_late).await {
        Either::Left((given, _)) => Some(given),
        Either::Right(_) => None,
    };
    drop(done);
    given
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    #[test]
    fn a_wait_ends_by_itself() {
        let never = futures::future::pending::<()>();
        assert_eq!(block_on(within(Duration::from_millis(5), never)), None);
        assert_eq!(block_on(within(Duration::from_secs(300), async { 7 })), Some(7));
    }
}
