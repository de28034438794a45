//! What is acknowledged before it is synced is lost when the store crashes.

use std::sync::Arc;

use async_trait::async_trait;

use super::store::{Wrong, WrongStore};
use crate::storage::{Placed, Post, Store, StoreError};
use crate::testing::sim::store::SimStore;

struct AckBeforeDurable;

#[async_trait]
impl Wrong for AckBeforeDurable {
    async fn append(&self, store: &SimStore, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        store.append_unsynced(posts)
    }
}

pub(super) fn store(store: Arc<SimStore>) -> Arc<dyn Store> {
    Arc::new(WrongStore { store, wrong: AckBeforeDurable })
}
