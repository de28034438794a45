use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures::StreamExt;
use im_core::id::NodeId;
use im_core::router::Delivery;

use super::feed::Feed;

/// The kicks of a process' nodes. They outlast a subscription that ends because its pushes were cut: what comes before the gate
/// has subscribed again waits here, at most one kick a link.
#[derive(Default)]
pub(super) struct Kicks(Mutex<Table>);

#[derive(Default)]
struct Table {
    nodes: HashMap<NodeId, Attended>,
    readers: u64,
}

/// A feed, and which subscription reads it.
struct Attended {
    feed: Feed,
    reader: u64,
}

impl fmt::Debug for Kicks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kicks").finish_non_exhaustive()
    }
}

impl Kicks {
    /// Whether there is a feed of a node's kicks already.
    pub(super) fn arrive(&self, node: NodeId) -> bool {
        self.lock().nodes.get(&node).is_some_and(|attended| !attended.feed.has_ended())
    }

    /// Gives a node's kicks to a new reader, out of `fresh` if that is there, and before that what is left of a feed that has ended. `None` if there is no feed.
    pub(super) fn attend(&self, node: NodeId, fresh: Option<Feed>) -> Option<u64> {
        let mut table = self.lock();
        let known = table.nodes.remove(&node).map(|attended| attended.feed);
        let feed = match (known, fresh) {
            (Some(mut known), Some(fresh)) => fresh.after(&mut known),
            (known, fresh) => known.or(fresh)?,
        };
        table.readers += 1;
        let reader = table.readers;
        table.nodes.insert(node, Attended { feed, reader });
        Some(reader)
    }

    /// What arrives for a reader. It ends with the connection, and when another reader has taken its place.
    pub(super) fn poll(
        &self,
        node: NodeId,
        reader: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Vec<Delivery>>> {
        let mut table = self.lock();
        let own = table.nodes.get_mut(&node).filter(|attended| attended.reader == reader);
        let Some(own) = own else { return Poll::Ready(None) };
        let arrived = own.feed.arrived.poll_next_unpin(cx);
        if arrived == Poll::Ready(None) {
            table.nodes.remove(&node);
        }
        arrived
    }

    /// Ends a node's feed, if this is still its reader.
    pub(super) fn leave(&self, node: NodeId, reader: u64) {
        let mut table = self.lock();
        if table.nodes.get(&node).is_some_and(|attended| attended.reader == reader) {
            table.nodes.remove(&node);
        }
    }

    /// No step panics halfway.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
