//! One store over several databases: every owner's timeline, keys, conversations and cursors are kept in one of them.
//!
//! # Where things are
//! An owner's [`Bucket`] is a hash of its name, and a [`BucketMap`] says which database has the bucket. A send's key stays with its sender, a cursor with its
//! timeline; the leases of node numbers and the epoch are kept in the first database. A "database" is any [`Shard`]: several may share a server, in tables of their own.
//!
//! # Messages between two databases
//! The sender's database stores its half together with an intent to store the other; then the receiver's database stores that; then the intent is settled and
//! the sender is answered. A call that fails in between leaves the intent. Whoever sends next to the same timeline delivers it first, so that the sender's order is kept,
//! and a [`Sweeper`] delivers what nobody comes back for. A copy is recognised by its msgid, so delivering twice changes nothing.
//!
//! A message to a group in another database than its sender's leaves its key with the sender, and goes to the group in the same way: a key is known
//! wherever it was used.
//!
//! # Buckets that move
//! A store that was [opened](ShardedStore::open) keeps its map in the first database and follows it. A [`Mover`] moves buckets while everybody serves. A database that does not
//! own a bucket refuses what concerns it; the store then loads the map, completes the move if its mover has died after the moment of the move, and tries again, for
//! 2.5 s at most. What still fails has an error that says to try again.
//!
//! # Cost
//! A batch whose posts stay inside one database is one call. Otherwise each database gets the first halves together, then the second halves: two commits one after
//! the other and one that settles. Posts that wait for each other (an answer in the same batch as what it answers) add a round.

mod append;
mod follow;
mod map;
mod members;
mod mover;
mod rounds;
mod scatter;
mod serve;
mod sweep;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};

use im_core::id::Uid;
use im_core::message::TimelineId;
use im_core::ports::Clock;
use im_core::storage::{Bucket, Shard, StoreError};

pub use map::{BucketMap, MapError};
pub use mover::{MoveError, MoveLimits, MoveReport, MoveStep, Mover};
pub use sweep::{SweepLimits, Sweeper, Swept};

/// A [`Store`](im_core::storage::Store) over several databases. See the [module](self).
///
/// ```
/// use std::sync::Arc;
///
/// use im_core::memory::MemoryStore;
/// use im_core::storage::Timelines;
/// use im_store::layer::sharding::{BucketMap, ShardedStore};
///
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let databases = vec![Arc::new(MemoryStore::default()) as _, Arc::new(MemoryStore::default()) as _];
/// let store = ShardedStore::new(databases, BucketMap::even(2)?)?;
/// assert_eq!(store.heads(Vec::new()).await?, []);
/// # Ok(()) }
/// ```
pub struct ShardedStore {
    databases: Vec<Arc<dyn Shard>>,
    map: RwLock<Arc<BucketMap>>,
    /// For a store that follows its map.
    clock: Option<Arc<dyn Clock>>,
    /// Who loads the map.
    turn: futures::lock::Mutex<()>,
    /// How often it was loaded.
    refreshed: AtomicU64,
}

/// Why a store cannot be made of databases.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The map does not fit the databases.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The database with this place in the list is the first one of others, and keeps their map: the list has another order than before.
    #[error(
        "database {0} keeps the map, so it has to be the first: name the databases in the order in which they were first opened"
    )]
    NotFirst(usize),
    /// The database with the first place in the list has had the second one before.
    #[error(
        "database {0} has been database {1} before: name all databases, from the first on, in the order in which they were first opened"
    )]
    WrongPlace(usize, usize),
    /// The database with this place in the list keeps another store together with others.
    #[error("database {0} is one of others that keep another store together")]
    OtherSet(usize),
    /// The first database has no map, and the one with this place in the list has had its place behind another first one.
    #[error(
        "database 0 keeps no map, and database {0} has been behind one that does: that one has to be the first"
    )]
    NoFirst(usize),
    /// The database with this place in the list was not known to have it, and has timelines that by the map are kept in others.
    #[error(
        "database {0} holds users or groups whose place is in another one: either it has never had this place in the list, or it was in use before it had one. Name the \
         databases in the order in which they were first opened, and new ones, which are empty, at the end; to share what one database holds among several, \
         open it first in a list of its own, then add the others and move buckets to them"
    )]
    Strangers(usize),
    /// The database with this place in the list is new and empty, and by the map another one has been at its place.
    #[error(
        "database {0} is empty, and has never been the one with this place, where the map keeps users: look whether it is the right one"
    )]
    Missing(usize),
    /// A database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ShardedStore {
    /// A store over `databases`, by the map that is kept in the first of them. If none is kept there, an even one is stored. The store follows the map:
    /// while buckets move, calls that concern them wait for a moment, and then go where they are.
    ///
    /// Each database notes its place in the list, and refuses another from then on, and to be opened alone (`one_of_several` of its options). One
    /// that has noted none shows some of its timelines, which have to be where the map says.
    ///
    /// All servers name the same databases in the same order; new ones come at the end, and get what a [`Mover`] moves to them. Databases that were served by a
    /// [fixed map](Self::new) keep none: open them once without new ones, so that the even map is that of what they hold, before the list grows.
    ///
    /// # Cancel safety
    /// Dropping the future leaves each place noted or not, the even map stored or not, and each move whose mover died completed or not. Repeating with the same list
    /// makes good what is missing.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(databases: Vec<Arc<dyn Shard>>, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let even = BucketMap::even(databases.len())?;
        let mut store = Self::new(databases, even)?;
        store.clock = Some(clock);
        for (place, database) in store.databases.iter().enumerate().skip(1) {
            if database.bucket_map().await?.is_some() {
                return Err(OpenError::NotFirst(place));
            }
        }
        let members = store.members().await?;
        store.note_members(&members).await?;
        let map = store.stored_map().await?;
        store.map = RwLock::new(Arc::new(map));
        store.refresh().await?;
        Ok(store)
    }

    /// A store over `databases` by a map that never changes, which names them by their place in the list.
    ///
    /// # Errors
    /// [`MapError::NoSuchDatabase`] if the map names one that is not there.
    pub fn new(databases: Vec<Arc<dyn Shard>>, map: BucketMap) -> Result<Self, MapError> {
        map.check(databases.len())?;
        let (turn, refreshed) = (futures::lock::Mutex::new(()), AtomicU64::new(0));
        Ok(Self { databases, map: RwLock::new(Arc::new(map)), clock: None, turn, refreshed })
    }

    /// Where everything is now.
    pub fn map(&self) -> Arc<BucketMap> {
        self.map.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl std::fmt::Debug for ShardedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (databases, map) = (self.databases.len(), self.map().version());
        f.debug_struct("ShardedStore")
            .field("databases", &databases)
            .field("map", &map)
            .finish_non_exhaustive()
    }
}

impl BucketMap {
    /// The place of the database that keeps a timeline.
    pub fn database_of(&self, timeline: &TimelineId) -> usize {
        self.database(Bucket::of(timeline))
    }

    /// The place of the database that keeps a user's timeline, and the keys of what the user sends.
    pub fn database_of_user(&self, uid: &Uid) -> usize {
        self.database(Bucket::of_user(uid))
    }
}
