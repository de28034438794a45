use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

/// A number that every lease of a lock has, greater than those of all leases of that lock before it.
///
/// Whoever writes under a lock sends it along, and what is written to refuses a token that is less than one that it has seen. So a holder that was slow, or
/// that does not know yet that its lease is over, changes nothing any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FencingToken(pub u64);

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A lock, held for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockLease {
    /// Of which lock.
    pub name: String,
    /// Who holds it.
    pub holder: String,
    /// Greater than those of all leases of the lock before.
    pub token: FencingToken,
}

/// The locks could not be reached.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// They could not be reached or were too slow. Whether the call took effect is unknown.
    #[error("the locks are unavailable")]
    Unavailable(#[source] Option<Arc<dyn std::error::Error + Send + Sync>>),
}

/// Locks with names, each held by one at a time, for as long as it renews its lease.
///
/// A lock is a promise of whoever keeps it, and that one may lose its memory: then two may hold a lock until the first one renews. What must not
/// happen twice even so has to ask for the [`FencingToken`]. So that tokens grow across a loss too they follow the time: a token is at least the microseconds
/// from 1970 to the acquisition, by the one clock of whoever keeps the locks.
///
/// A holder counts its lease from before the call that took or renewed it, by a clock of its own that does not jump, and stops before it ends.
#[async_trait]
pub trait Locks: Send + Sync + 'static {
    /// Takes a lock for `ttl`; `None` if another holds it.
    ///
    /// # Contract
    /// - At most one holder has a lock, unless the memory of the locks was lost.
    /// - The token is greater than that of every lease of this lock before.
    /// - A lease that has ended is in nobody's way.
    /// - A holder that has the lock gets a new lease, and its old one is over: so one that restarts need not wait for itself.
    /// - Locks with other names do not matter; names and holders are compared byte by byte.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the lock taken until `ttl` is over. Repeat the call to get it.
    ///
    /// # Errors
    /// [`LockError::Unavailable`].
    async fn acquire(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<LockLease>, LockError>;

    /// Holds a lock for `ttl` from now on. `false` if the lease is over: then another may hold the lock.
    ///
    /// # Contract
    /// - A lease that is not over holds until `ttl` after this, also if that is sooner.
    /// - One that has ended, was released, or was followed by another is over, and stays so.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the lease renewed or not.
    ///
    /// # Errors
    /// [`LockError::Unavailable`].
    async fn renew(&self, lease: &LockLease, ttl: Duration) -> Result<bool, LockError>;

    /// Gives a lock back.
    ///
    /// # Contract
    /// - Another may take the lock at once.
    /// - A lease that is over changes nothing: the lock stays with who has it.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the lock held until its lease ends, or given back.
    ///
    /// # Errors
    /// [`LockError::Unavailable`].
    async fn release(&self, lease: LockLease) -> Result<(), LockError>;
}
