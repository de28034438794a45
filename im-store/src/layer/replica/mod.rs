//! One store over a primary and its replicas: long reads are answered by replicas, everything else by the primary.
//!
//! # What a replica answers
//! A page of a timeline for a reader who said by [`Read::least`](im_core::storage::Read::least) what it knows of, if the replica has that, and if the page does not end where the replica's timeline
//! ends: how far a timeline goes, only the primary knows. So does it alone know heads, send keys, conversations and cursors. A page that by what the reader knows
//! would reach the end is not asked of a replica at all: that is most pages of clients that were away for a moment, and they would be read twice.
//!
//! # Which replica
//! They take turns. One that is behind, fails, or takes longer than [`ReplicaLimits::deadline`] costs the read that much time and is then left alone, longer each time. Before a
//! replica is used for the first time, after each failure, and from time to time it has to show the same [epoch](im_core::storage::Epochs) as the primary: one that was restored, or that
//! went its own way in a fail-over, has other messages under the same versions.
//!
//! # What it relies on
//! A replica shows what the primary showed at an earlier moment, or will show in the next, whole transactions in the order of their commits: a standby, and a replica that
//! commits wait for, may have a commit first. So a replica is asked only for what the reader knows of, and its page's head is lowered to that.
//! A page with a hole in it is not passed on.

mod admission;
mod counts;
mod limits;
mod read;
mod serve;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use im_core::ports::Clock;
use im_core::storage::Store;

use admission::Replica;
pub use counts::{ReadCounts, ReplicaCounts};
pub use limits::ReplicaLimits;

/// A [`Store`] over a primary and its replicas. See the [module](self).
///
/// Over a [`Shard`](im_core::storage::Shard) it is one too, and can be one database of a [sharded store](crate::layer::sharding).
///
/// ```
/// use std::sync::Arc;
/// # use im_core::ports::Clock;
/// # use im_core::time::{Tick, Timestamp};
/// # struct Still;
/// # impl Clock for Still {
/// #     fn tick(&self) -> Tick { Tick::default() }
/// #     fn now(&self) -> Timestamp { Timestamp::default() }
/// #     fn sleep_until(&self, _: Tick) -> futures::future::BoxFuture<'static, ()> { Box::pin(std::future::pending()) }
/// # }
/// use im_core::memory::MemoryStore;
/// use im_core::storage::Timelines;
/// use im_store::layer::replica::{ReplicaLimits, ReplicatedStore};
///
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let clock: Arc<dyn Clock> = Arc::new(Still);
/// let primary = Arc::new(MemoryStore::default());
/// let replica = Arc::new(MemoryStore::default());
/// let store = ReplicatedStore::new(primary, vec![replica], clock, ReplicaLimits::default());
/// assert_eq!(store.heads(Vec::new()).await?, []);
/// # Ok(()) }
/// ```
pub struct ReplicatedStore<P: ?Sized = dyn Store> {
    primary: Arc<P>,
    replicas: Vec<Replica>,
    clock: Arc<dyn Clock>,
    limits: ReplicaLimits,
    /// Whose turn it is.
    turn: AtomicUsize,
    counts: counts::Shared,
}

impl<P: Store + ?Sized> ReplicatedStore<P> {
    /// A store over `primary`, and stores that show what it has committed some time ago. Without replicas it is the primary.
    pub fn new(
        primary: Arc<P>,
        replicas: Vec<Arc<dyn Store>>,
        clock: Arc<dyn Clock>,
        limits: ReplicaLimits,
    ) -> Self {
        Self {
            primary,
            replicas: replicas.into_iter().map(Replica::new).collect(),
            clock,
            limits,
            turn: AtomicUsize::new(0),
            counts: counts::Shared::default(),
        }
    }

    /// Who has answered what so far.
    pub fn counts(&self) -> ReadCounts {
        let replicas = self.replicas.iter().map(|replica| replica.counts.so_far()).collect();
        ReadCounts { primary: self.counts.primary(), replicas }
    }
}

impl<P: ?Sized> std::fmt::Debug for ReplicatedStore<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplicatedStore").field("replicas", &self.replicas.len()).finish_non_exhaustive()
    }
}
