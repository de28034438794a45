use std::sync::Arc;

use futures::future::BoxFuture;

use crate::ports::Clock;
use crate::storage::{Bucket, Shard, Store};

/// A store over several databases, as a layer outside of this crate makes it: what the processes of a world do with its databases.
///
/// Whatever it does in time it does by the clock that it is given, and nothing by chance of its own: else a seed would not run the same every time.
pub trait Sharding: Send + Sync + 'static {
    /// A process starts and opens its store; `None` if that fails now.
    fn open(
        &self,
        databases: Vec<Arc<dyn Shard>>,
        clock: Arc<dyn Clock>,
    ) -> BoxFuture<'static, Option<Opened>>;

    /// A process that moves buckets to the database with this place among all. It may end at any moment.
    fn move_buckets(
        &self,
        databases: Vec<Arc<dyn Shard>>,
        clock: Arc<dyn Clock>,
        buckets: Vec<Bucket>,
        to: usize,
    ) -> BoxFuture<'static, Moved>;

    /// How a person replays a seed.
    fn replay(&self, seed: u64) -> String;
}

/// The store of one process.
pub struct Opened {
    /// Where the process keeps everything.
    pub store: Arc<dyn Store>,
    /// What it does besides, as long as it lives.
    pub background: BoxFuture<'static, ()>,
}

/// How a move ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moved {
    /// The buckets are where they are to be.
    Done,
    /// It has to be run again.
    Again,
    /// As no move may end.
    Broken(String),
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}
