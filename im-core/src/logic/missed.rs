//! What links may have missed while no push found its way to them.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::Logic;
use super::nudge::only;
use crate::fanout;
use crate::id::{ConnId, Version};
use crate::message::{Entry, TimelineId};
use crate::session::{Caller, Push};
use crate::storage::StoreError;

impl Logic {
    /// Hints for links that may have missed pushes: the newest entry of each user who has more than the link [was told of](crate::session::Session::told).
    ///
    /// A gate asks about all its links when its subscription of the bus broke, or when [`route_losses`](Self::route_losses) has grown, as soon as it is subscribed
    /// and they are [confirmed](Self::confirm): what was stored before is seen here, and the push of what is stored after finds the link. A few at a time, for it gets
    /// a whole message for each.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// The store's, if it is for now: nobody is hinted then. Ask again.
    pub fn missed(
        self: &Arc<Self>,
        links: Vec<(Arc<Caller>, Version)>,
    ) -> BoxFuture<'static, Result<Vec<(ConnId, Push)>, StoreError>> {
        let logic = self.clone();
        async move { logic.find_missed(&links).await }.boxed()
    }

    async fn find_missed(&self, links: &[(Arc<Caller>, Version)]) -> Result<Vec<(ConnId, Push)>, StoreError> {
        let timelines = links.iter().map(|(caller, _)| TimelineId::User(caller.uid.clone())).collect();
        let heads = self.ports.store.heads(timelines).await?;
        let behind: Vec<_> = links
            .iter()
            .zip(heads)
            .filter(|((_, told), head)| *told < head.head)
            .map(|((caller, _), head)| (caller, head.head))
            .collect();
        if behind.is_empty() {
            return Ok(Vec::new());
        }
        let reads = behind.iter().map(|(caller, head)| only(&caller.uid, *head)).collect();
        let mut hints = Vec::with_capacity(behind.len());
        for ((caller, _), page) in behind.iter().zip(self.ports.store.read(reads).await) {
            let entries = match page {
                Ok(page) => page.entries,
                Err(failure) if failure.is_retryable() => return Err(failure),
                // What cannot be read is no reason to tell the others nothing.
                Err(_) => continue,
            };
            let push = |entry: Entry| (caller.conn, fanout::hint(&entry.message, &caller.uid, entry.version));
            hints.extend(entries.into_iter().map(push));
        }
        Ok(hints)
    }
}
