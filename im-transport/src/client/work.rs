//! What is to be written to the local store. While one batch is being written the next gathers.

use std::sync::Arc;
use std::time::Duration;

use im_core::client::{LocalEntry, LocalStore, Outgoing};
use im_core::id::{ClientMsgId, StoreEpoch, Version};
use im_core::storage::StoreError;

/// Between two tries of a write that failed for now.
const RETRY: Duration = Duration::from_secs(1);

/// One batch: a few calls of the store.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// The epoch that begins, before everything else of the batch.
    pub(super) epoch: Option<StoreEpoch>,
    /// Whether any entry may be one that the device has from an earlier epoch.
    pub(super) recognises: bool,
    /// Entries for the application, with what they reach to, of which it gets those that the device does not have.
    pub(super) offered: Option<(Vec<LocalEntry>, Version)>,
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
    /// What it offered, without what the device has.
    pub(super) offered: Option<(Vec<LocalEntry>, Version)>,
    /// What it applied, without what the device had.
    pub(super) entries: Vec<LocalEntry>,
    pub(super) cursor: Option<Version>,
}

impl Work {
    pub(super) fn is_empty(&self) -> bool {
        self.outgoing.is_empty()
            && self.epoch.is_none()
            && self.offered.is_none()
            && self.cursor.is_none()
            && self.settled.is_empty()
    }

    /// Writes the batch, trying again for as long as the store says that it may help: every call is idempotent.
    pub(super) async fn write(self, store: Arc<dyn LocalStore>) -> Result<Done, StoreError> {
        let mut news = None;
        loop {
            match self.try_write(store.as_ref(), &mut news).await {
                Ok(()) => {
                    let Self { outgoing, offered, entries, cursor, .. } = self;
                    let News { offered, entries } = news.unwrap_or(News { offered, entries });
                    return Ok(Done { outgoing, offered, entries, cursor });
                }
                Err(error) if error.is_retryable() => {
                    tracing::warn!(%error, "the local store does not take a write; trying again");
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Entries before settled sends: an own message must never be in neither place. What is new is asked once, before anything is applied: after
    /// that nobody would recognise it.
    async fn try_write(&self, store: &dyn LocalStore, news: &mut Option<News>) -> Result<(), StoreError> {
        if let Some(epoch) = self.epoch {
            store.begin_epoch(epoch).await?;
        }
        if self.recognises && news.is_none() {
            *news = Some(self.news(store).await?);
        }
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

    async fn news(&self, store: &dyn LocalStore) -> Result<News, StoreError> {
        let entries = self.unknown(store, &self.entries).await?;
        let offered = match &self.offered {
            Some((entries, cursor)) => Some((self.unknown(store, entries).await?, *cursor)),
            None => None,
        };
        Ok(News { offered, entries })
    }

    async fn unknown(
        &self,
        store: &dyn LocalStore,
        entries: &[LocalEntry],
    ) -> Result<Vec<LocalEntry>, StoreError> {
        let known = store.recognise(entries).await?;
        let unknown = entries.iter().zip(known).filter(|(_, known)| !known);
        Ok(unknown.map(|(entry, _)| entry.clone()).collect())
    }
}

/// What of a batch the device does not have from an earlier epoch.
#[derive(Debug)]
struct News {
    offered: Option<(Vec<LocalEntry>, Version)>,
    entries: Vec<LocalEntry>,
}
