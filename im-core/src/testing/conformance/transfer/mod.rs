//! The suite for [`Export`](crate::storage::Export) and [`Import`].

mod content;
mod export;
mod import;
mod misfits;
mod unfinished;

use std::sync::Arc;

use async_trait::async_trait;

use super::{Case, Failure, Report, case, fixture};
use crate::storage::{Exportable, Import};

/// What an adapter says when it does not open a store.
pub type Refused = Box<dyn std::error::Error + Send + Sync>;

/// Opens the store under test, to use it or to import into it: always the same data, empty at first.
///
/// Handles that were given before are not used any more, but may still be held, but for an [`Import`], which is dropped.
#[async_trait]
pub trait TransferBench: Send + Sync + 'static {
    /// Opens the store to use it, as after the end of the process that had it open before.
    async fn open(&self) -> Result<Arc<dyn Exportable>, Refused>;

    /// Begins an import into the store.
    async fn import(&self) -> Result<Box<dyn Import>, Refused>;

    /// Whether the store's data outlive the process. If not, a half-filled one cannot be met, and the cases on it are passed over.
    fn is_durable(&self) -> bool {
        true
    }
}

/// Every case, in the order of the traits' documentation.
pub fn transfer_cases() -> Vec<Case<dyn TransferBench>> {
    let rooms = [export::cases(), import::cases(), misfits::cases(), unfinished::cases()];
    rooms.into_iter().flatten().collect()
}

/// Plays every case on a bench of its own.
pub async fn run_transfer_suite<B: TransferBench>(bench: impl Fn() -> B) -> Report {
    case::run(transfer_cases(), || Box::new(bench()) as Box<dyn TransferBench>).await
}

/// Opens a store that has to open.
async fn open(bench: &dyn TransferBench) -> Result<Arc<dyn Exportable>, Failure> {
    bench.open().await.map_err(|refused| differs("opening the store", &*refused))
}

/// Begins an import that has to begin.
async fn begin(bench: &dyn TransferBench) -> Result<Box<dyn Import>, Failure> {
    bench.import().await.map_err(|refused| differs("beginning an import", &*refused))
}

fn differs(what: &str, refused: &(dyn std::error::Error + Send + Sync)) -> Failure {
    Failure::Differs { what: what.to_owned(), expected: "no error".to_owned(), came: refused.to_string() }
}
