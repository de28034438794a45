use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::ports::{Clock, FencingToken, LockError, LockLease, Locks};
use crate::time::Tick;

/// The locks of a server of one process.
pub struct MemoryLocks {
    clock: Arc<dyn Clock>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// Of all locks together, so that nothing need be remembered of one that nobody holds.
    last_token: u64,
    held: BTreeMap<String, Held>,
}

#[derive(Debug)]
struct Held {
    holder: String,
    token: FencingToken,
    until: Tick,
}

impl fmt::Debug for MemoryLocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLocks").field("table", &self.table).finish_non_exhaustive()
    }
}

impl MemoryLocks {
    /// No lock is held. Leases end by `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, table: Mutex::default() }
    }

    /// The locks that are held now. The table's own steps do not panic halfway, so a poisoned lock guards a sound table.
    fn lock(&self) -> MutexGuard<'_, Table> {
        let now = self.clock.tick();
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.held.retain(|_, held| held.until > now);
        table
    }
}

#[async_trait]
impl Locks for MemoryLocks {
    async fn acquire(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<LockLease>, LockError> {
        let mut table = self.lock();
        if table.held.get(name).is_some_and(|held| held.holder != holder) {
            return Ok(None);
        }
        let micros = u64::try_from(self.clock.now().0).unwrap_or_default().saturating_mul(1_000);
        table.last_token = micros.max(table.last_token + 1);
        let token = FencingToken(table.last_token);
        let held = Held { holder: holder.to_owned(), token, until: self.clock.tick() + ttl };
        table.held.insert(name.to_owned(), held);
        Ok(Some(LockLease { name: name.to_owned(), holder: holder.to_owned(), token }))
    }

    async fn renew(&self, lease: &LockLease, ttl: Duration) -> Result<bool, LockError> {
        let mut table = self.lock();
        let Some(held) = table.held.get_mut(&lease.name).filter(|held| held.token == lease.token) else {
            return Ok(false);
        };
        held.until = self.clock.tick() + ttl;
        Ok(true)
    }

    async fn release(&self, lease: LockLease) -> Result<(), LockError> {
        let mut table = self.lock();
        if table.held.get(&lease.name).is_some_and(|held| held.token == lease.token) {
            table.held.remove(&lease.name);
        }
        Ok(())
    }
}
