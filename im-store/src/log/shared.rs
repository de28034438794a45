use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::hash::KeyHasher;
use super::manifest;
use super::queue::Queue;
use super::segments::Segments;
use super::state::State;

/// What the writer, the checkpoints and all readers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) state: RwLock<State>,
    pub(super) segments: Arc<Segments>,
    pub(super) queue: Queue,
    pub(super) hasher: KeyHasher,
    pub(super) index_dir: PathBuf,
    /// The store is going: nothing that can be done at the next start is begun.
    pub(super) leaving: AtomicBool,
}

impl Shared {
    /// A table was found damaged: sees to it that the next start makes the index anew.
    pub(super) fn distrust_index(&self, table: u64) {
        match std::fs::remove_file(manifest::path(&self.index_dir)) {
            Ok(()) => {
                tracing::error!(table, "the index is damaged; the next start makes it anew from the log")
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::error!(%error, table, "the index is damaged; remove its directory before the next start")
            }
        }
    }

    /// The state's own steps do not panic halfway, so a poisoned lock guards a sound state.
    pub(super) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}
