use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::id::Uid;
use crate::storage::{Block, Blocklist, StoreError};

/// Blocks in memory. Nothing outlives it.
#[derive(Debug, Default)]
pub struct MemoryBlocklist {
    owners: Mutex<BTreeMap<Uid, BTreeSet<Uid>>>,
}

impl MemoryBlocklist {
    /// A step that panicked has changed nothing or everything, so a poisoned lock guards sound lists.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uid, BTreeSet<Uid>>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Blocklist for MemoryBlocklist {
    async fn block(&self, blocks: Vec<Block>) -> Result<(), StoreError> {
        let mut owners = self.lock();
        for Block { owner, other } in blocks {
            owners.entry(owner).or_default().insert(other);
        }
        Ok(())
    }

    async fn unblock(&self, blocks: Vec<Block>) -> Result<(), StoreError> {
        let mut owners = self.lock();
        for Block { owner, other } in blocks {
            if let Some(others) = owners.get_mut(&owner) {
                others.remove(&other);
            }
        }
        owners.retain(|_, others| !others.is_empty());
        Ok(())
    }

    async fn blocked(&self, blocks: Vec<Block>) -> Result<Vec<bool>, StoreError> {
        let owners = self.lock();
        let is = |block: &Block| owners.get(&block.owner).is_some_and(|others| others.contains(&block.other));
        Ok(blocks.iter().map(is).collect())
    }

    async fn list_blocked(
        &self,
        owner: &Uid,
        after: Option<&Uid>,
        limit: usize,
    ) -> Result<Vec<Uid>, StoreError> {
        let owners = self.lock();
        let Some(others) = owners.get(owner) else { return Ok(Vec::new()) };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(others.range::<Uid, _>((from, Bound::Unbounded)).take(limit).cloned().collect())
    }
}
