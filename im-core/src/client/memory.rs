use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{EarlierEntry, EarlierPlace, LocalEntry, LocalStore, MessageName, Outgoing, Saved};
use crate::id::{ClientMsgId, StoreEpoch, Version};
use crate::storage::StoreError;

/// A [`LocalStore`] that lives as long as the process: for tests, and for clients that want nothing kept. It holds the newest entries only, of
/// each epoch, and what it holds no more it does not recognise.
#[derive(Debug)]
pub struct MemoryLocalStore {
    held: Mutex<Held>,
    keep: usize,
}

#[derive(Debug, Default)]
struct Held {
    epoch: StoreEpoch,
    cursor: Version,
    entries: BTreeMap<Version, LocalEntry>,
    earlier: BTreeMap<EarlierPlace, LocalEntry>,
    /// Where earlier entries are.
    names: BTreeMap<MessageName, EarlierPlace>,
    last_earlier: i64,
    /// By the order of enqueueing.
    outgoing: BTreeMap<u64, Outgoing>,
    places: BTreeMap<ClientMsgId, u64>,
    next_place: u64,
}

impl MemoryLocalStore {
    /// An empty store that holds the newest 10,000 entries.
    pub fn new() -> Self {
        Self::keeping(10_000)
    }

    /// An empty store that holds the newest `keep` entries, so that a client which only passes them on does not grow.
    pub fn keeping(keep: usize) -> Self {
        Self { held: Mutex::default(), keep }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn make_earlier(&mut self, entry: LocalEntry) {
        self.last_earlier += 1;
        let place = EarlierPlace(self.last_earlier);
        if let Some(twin) = self.names.insert(entry.name(), place) {
            self.earlier.remove(&twin);
        }
        self.earlier.insert(place, entry);
    }

    fn forget_earliest(&mut self) {
        if let Some((_, entry)) = self.earlier.pop_first() {
            self.names.remove(&entry.name());
        }
    }

    fn take_earlier(&mut self, name: &MessageName) {
        if let Some(place) = self.names.remove(name) {
            self.earlier.remove(&place);
        }
    }
}

impl Default for MemoryLocalStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl LocalStore for MemoryLocalStore {
    async fn load(&self) -> Result<Saved, StoreError> {
        let held = self.held();
        Ok(Saved {
            epoch: held.epoch,
            cursor: held.cursor,
            has_earlier: !held.earlier.is_empty(),
            outgoing: held.outgoing.values().cloned().collect(),
        })
    }

    async fn enqueue(&self, messages: Vec<Outgoing>) -> Result<(), StoreError> {
        let held = &mut *self.held();
        for message in messages {
            if !held.places.contains_key(&message.client_msg_id) {
                held.places.insert(message.client_msg_id.clone(), held.next_place);
                held.outgoing.insert(held.next_place, message);
                held.next_place += 1;
            }
        }
        Ok(())
    }

    async fn settle(&self, messages: Vec<ClientMsgId>) -> Result<(), StoreError> {
        let held = &mut *self.held();
        for place in messages.iter().filter_map(|message| held.places.remove(message)) {
            held.outgoing.remove(&place);
        }
        Ok(())
    }

    async fn begin_epoch(&self, epoch: StoreEpoch) -> Result<(), StoreError> {
        let held = &mut *self.held();
        if held.epoch != epoch {
            (held.epoch, held.cursor) = (epoch, Version::ZERO);
            let entries = std::mem::take(&mut held.entries);
            entries.into_values().for_each(|entry| held.make_earlier(entry));
            while held.earlier.len() > self.keep {
                held.forget_earliest();
            }
        }
        Ok(())
    }

    async fn recognise(&self, entries: &[LocalEntry]) -> Result<Vec<bool>, StoreError> {
        let held = self.held();
        Ok(entries.iter().map(|entry| held.names.contains_key(&entry.name())).collect())
    }

    async fn apply(&self, entries: Vec<LocalEntry>, cursor: Version) -> Result<(), StoreError> {
        let mut held = self.held();
        for entry in entries {
            held.take_earlier(&entry.name());
            held.entries.entry(entry.version).or_insert(entry);
        }
        while held.entries.len() > self.keep {
            held.entries.pop_first();
        }
        held.cursor = held.cursor.max(cursor);
        Ok(())
    }

    async fn read(&self, after: Version, limit: usize) -> Result<Vec<LocalEntry>, StoreError> {
        let held = self.held();
        Ok(held.entries.range(after.next()..).take(limit).map(|(_, entry)| entry.clone()).collect())
    }

    async fn earlier(&self, before: EarlierPlace, limit: usize) -> Result<Vec<EarlierEntry>, StoreError> {
        let held = self.held();
        let newest_first = held.earlier.range(..before).rev().take(limit);
        Ok(newest_first.map(|(place, entry)| EarlierEntry { place: *place, entry: entry.clone() }).collect())
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::conformance::{LocalStoreBench, run_local_store_suite};

    struct Bench;

    #[async_trait]
    impl LocalStoreBench for Bench {
        async fn open(&self) -> Arc<dyn LocalStore> {
            Arc::new(MemoryLocalStore::new())
        }

        /// Memory that is handed on stands for data that outlasts a crash.
        async fn reopen(&self, store: Arc<dyn LocalStore>) -> Arc<dyn LocalStore> {
            store
        }
    }

    #[test]
    fn memory_keeps_the_contract() {
        let report = futures::executor::block_on(run_local_store_suite(|| Bench));
        report.record("memory", "local store");
        report.record("memory", "local store");
        assert!(report.passed(), "{report}");
    }

    #[test]
    fn only_the_newest_entries_are_kept() {
        let store = MemoryLocalStore::keeping(2);
        let entry = |version| LocalEntry {
            version: Version(version),
            msgid: crate::id::MsgId(version),
            kind: im_proto::CmdId::C2C_SEND,
            from: "bob".try_into().expect("short"),
            to: crate::message::Target::Group(crate::id::GroupId(1)),
            client_msg_id: None,
            content_type: crate::message::ContentType(0),
            content: bytes::Bytes::new(),
            sent_at: crate::time::Timestamp(0),
            withdrawn_at: None,
        };
        let held = futures::executor::block_on(async {
            store.apply((1..=3).map(entry).collect(), Version(3)).await?;
            store.read(Version::ZERO, 10).await
        });
        assert_eq!(held.map(|held| held.len()).ok(), Some(2));
    }
}
