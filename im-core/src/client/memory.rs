use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{LocalEntry, LocalStore, Outgoing, Saved};
use crate::id::{ClientMsgId, Version};
use crate::storage::StoreError;

/// A [`LocalStore`] that lives as long as the process: for tests, and for clients that want nothing kept.
#[derive(Debug, Default)]
pub struct MemoryLocalStore {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    saved: Saved,
    entries: BTreeMap<Version, LocalEntry>,
}

impl MemoryLocalStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl LocalStore for MemoryLocalStore {
    async fn load(&self) -> Result<Saved, StoreError> {
        Ok(self.held().saved.clone())
    }

    async fn enqueue(&self, messages: Vec<Outgoing>) -> Result<(), StoreError> {
        let outgoing = &mut self.held().saved.outgoing;
        for message in messages {
            if !outgoing.iter().any(|queued| queued.client_msg_id == message.client_msg_id) {
                outgoing.push(message);
            }
        }
        Ok(())
    }

    async fn settle(&self, messages: Vec<ClientMsgId>) -> Result<(), StoreError> {
        self.held().saved.outgoing.retain(|queued| !messages.contains(&queued.client_msg_id));
        Ok(())
    }

    async fn apply(&self, entries: Vec<LocalEntry>, cursor: Version) -> Result<(), StoreError> {
        let mut held = self.held();
        for entry in entries {
            held.entries.entry(entry.version).or_insert(entry);
        }
        held.saved.cursor = held.saved.cursor.max(cursor);
        Ok(())
    }

    async fn read(&self, after: Version, limit: usize) -> Result<Vec<LocalEntry>, StoreError> {
        let held = self.held();
        Ok(held.entries.range(after.next()..).take(limit).map(|(_, entry)| entry.clone()).collect())
    }
}
