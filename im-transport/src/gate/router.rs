//! What becomes of the router, told to the shards.

use std::sync::Arc;
use std::time::Duration;

use super::Gate;

/// Between two looks: short beside the lease of the node's routes.
const LOOK: Duration = Duration::from_millis(200);

impl Gate {
    /// Sends the links away while the router is out of reach, and has them confirmed when it may have lost them, for ever: its task is to be
    /// aborted.
    pub(crate) async fn watch_router(self: Arc<Self>) {
        let mut losses = self.logic.route_losses();
        let mut cut_off = false;
        loop {
            tokio::time::sleep(LOOK).await;
            let is_cut_off = self.logic.is_cut_off();
            if is_cut_off {
                // Also those that connected since the last look.
                self.shards.iter().for_each(|shard| shard.cut_off());
            }
            if is_cut_off != std::mem::replace(&mut cut_off, is_cut_off) {
                let links = self.connections();
                match is_cut_off {
                    true => tracing::error!(links, "cut off from the router: the links are sent away"),
                    false => tracing::info!("the router is back"),
                }
            }
            let known = std::mem::replace(&mut losses, self.logic.route_losses());
            if losses != known {
                self.recover();
            }
        }
    }
}
