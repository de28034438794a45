//! What is to be written to the local store. While one batch is being written the next gathers.

use std::sync::Arc;
use std::time::Duration;

use im_core::client::{LocalEntry, LocalStore, Outgoing};
use im_core::id::{ClientMsgId, Version};
use im_core::storage::StoreError;

/// Between two tries of a write that failed for now.
const RETRY: Duration = Duration::from_secs(1);

/// One batch: three calls of the store at most.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// To enqueue.
    pub(super) outgoing: Vec<Outgoing>,
    /// To apply, with the cursor.
    pub(super) entries: Vec<LocalEntry>,
    /// Where the cursor goes, if it moves.
    pub(super) cursor: Option<Version>,
    /// To settle.
    pub(super) settled: Vec<ClientMsgId>,
}

/// What a batch made durable.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) outgoing: Vec<Outgoing>,
    pub(super) entries: Vec<LocalEntry>,
    pub(super) cursor: Option<Version>,
}

impl Work {
    pub(super) fn is_empty(&self) -> bool {
        self.outgoing.is_empty() && self.cursor.is_none() && self.settled.is_empty()
    }

    /// Writes the batch, trying again for as long as the store says that it may help: every call is idempotent.
    pub(super) async fn write(self, store: Arc<dyn LocalStore>) -> Result<Done, StoreError> {
        loop {
            match self.try_write(store.as_ref()).await {
                Ok(()) => {
                    let Self { outgoing, entries, cursor, .. } = self;
                    return Ok(Done { outgoing, entries, cursor });
                }
                Err(error) if error.is_retryable() => {
                    tracing::warn!(%error, "the local store does not take a write; trying again");
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Entries before settled sends: an own message must never be in neither place.
    async fn try_write(&self, store: &dyn LocalStore) -> Result<(), StoreError> {
        if !self.outgoing.is_empty() {
            store.enqueue(self.outgoing.clone()).await?;
        }
        if let Some(cursor) = self.cursor {
            store.apply(self.entries.clone(), cursor).await?;
        }
        if !self.settled.is_empty() {
            store.settle(self.settled.clone()).await?;
        }
        Ok(())
    }
}
