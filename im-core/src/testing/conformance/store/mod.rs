//! The suite for [`Store`].

mod append;
mod concurrency;
mod conversations;
mod cursors;
mod epochs;
mod keys;
mod least;
mod model;
mod nodes;
mod read;

use std::sync::Arc;

use async_trait::async_trait;

use super::{Case, Report, case, fixture};
use crate::storage::Store;

/// Opens the store under test.
#[async_trait]
pub trait StoreBench: Send + Sync + 'static {
    /// Opens the store on fresh, empty data. Called once, first.
    async fn open(&self) -> Arc<dyn Store>;

    /// Opens the store again on the same data, as after the end of the process. The handle that was open before is not used
    /// any more, but may still be held.
    async fn reopen(&self) -> Arc<dyn Store>;

    /// Makes the open store's writes fail, as on a full disk, or work again. A bench that cannot answers `false`, as this default does,
    /// and the case on failing writes passes it over.
    async fn fail_writes(&self, _failing: bool) -> bool {
        false
    }
}

/// Every case, in the order of the traits' documentation.
pub fn store_cases() -> Vec<Case<dyn StoreBench>> {
    let rooms = [
        append::cases(),
        keys::cases(),
        concurrency::cases(),
        model::cases(),
        read::cases(),
        least::cases(),
        conversations::cases(),
        cursors::cases(),
        nodes::cases(),
        epochs::cases(),
    ];
    rooms.into_iter().flatten().collect()
}

/// Plays every case on a bench of its own.
pub async fn run_store_suite<B: StoreBench>(bench: impl Fn() -> B) -> Report {
    case::run(store_cases(), || Box::new(bench()) as Box<dyn StoreBench>).await
}
