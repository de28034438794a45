//! What has to be done when time passes: deadlines of deliveries, the flush of acknowledgements, and beside them the renewal of the node's lease.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, select};

use super::{Logic, node_lease};

/// How often it looks. Deadlines are met within this time.
const TICK: Duration = Duration::from_millis(500);

/// The upkeep, and beside it the renewal of the lease: without one no message is taken, so that it waits for nothing else that is slow. Both
/// end when the server stops; `routes` is dropped then.
pub(super) fn run(
    logic: Arc<Logic>,
    stopped: oneshot::Receiver<()>,
    routes: oneshot::Sender<()>,
) -> (impl Future<Output = ()> + Send, impl Future<Output = ()> + Send) {
    // Dropped with the upkeep.
    let (done, upkeep_ended) = oneshot::channel();
    (upkeep(logic.clone(), stopped, [done, routes]), node_lease::run(logic, upkeep_ended))
}

async fn upkeep(logic: Arc<Logic>, mut stopped: oneshot::Receiver<()>, _done: [oneshot::Sender<()>; 2]) {
    let mut flush_at = logic.ports.clock.tick() + logic.policy.ack_flush;
    loop {
        let sleep = logic.ports.clock.sleep_until(logic.ports.clock.tick() + TICK);
        match select(stopped, sleep).await {
            Either::Left(_) => break,
            Either::Right(((), again)) => stopped = again,
        }
        let now = logic.ports.clock.tick();
        if flush_at <= now {
            logic.flush_acks().await;
            flush_at = now + logic.policy.ack_flush;
        }
        logic.nudge().await;
    }
    logic.flush_last_acks().await;
}
