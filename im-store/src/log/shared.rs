use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::hash::KeyHasher;
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
    /// The store is going: nothing that can be done at the next start is begun.
    pub(super) leaving: AtomicBool,
}

impl Shared {
    /// The state's own steps do not panic halfway, so a poisoned lock guards a sound state.
    pub(super) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}
