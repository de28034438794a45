use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// A table was found damaged.
    pub(super) distrusted: AtomicBool,
    /// The last try to write a table failed.
    pub(super) index_fails: AtomicBool,
    /// The store is going: nothing that can be done at the next start is begun.
    pub(super) leaving: AtomicBool,
}

impl Shared {
    /// A table was found damaged: sees to it that the next start makes the index anew.
    pub(super) fn distrust_index(&self, table: u64) {
        self.distrusted.store(true, Ordering::Relaxed);
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

    /// The index has a new manifest: it goes too, if one of the tables was found damaged.
    pub(super) fn keep_distrusting_index(&self) {
        if self.distrusted.load(Ordering::Relaxed) {
            // If it is not there, so much the better; if it stays, the damage is found again.
            let _ = std::fs::remove_file(manifest::path(&self.index_dir));
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
