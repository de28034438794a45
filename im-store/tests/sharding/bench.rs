use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use im_core::memory::MemoryStore;
use im_core::storage::{Shard, Store};
use im_core::testing::conformance::StoreBench;
use im_store::layer::sharding::{BucketMap, ShardedStore};

/// Reopening gives other databases with the same content.
pub(crate) struct MemoryShards(Mutex<Vec<Arc<MemoryStore>>>);

impl MemoryShards {
    pub(crate) fn new(databases: usize) -> Self {
        Self(Mutex::new((0..databases).map(|_| Arc::default()).collect()))
    }
}

#[async_trait]
impl StoreBench for MemoryShards {
    async fn open(&self) -> Arc<dyn Store> {
        let databases = self.0.lock().unwrap().clone();
        Arc::new(over(databases.into_iter().map(|database| database as _).collect()))
    }

    async fn reopen(&self) -> Arc<dyn Store> {
        self.0.lock().unwrap().iter_mut().for_each(|database| *database = Arc::new(database.snapshot()));
        self.open().await
    }
}

/// A store over databases that share the buckets evenly.
pub(crate) fn over(databases: Vec<Arc<dyn Shard>>) -> ShardedStore {
    let map = BucketMap::even(databases.len()).unwrap();
    ShardedStore::new(databases, map).unwrap()
}
