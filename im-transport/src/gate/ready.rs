use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use futures::task::AtomicWaker;

/// The links of a shard that have something to do, and the shard's own waker.
#[derive(Debug, Default)]
pub(super) struct Ready {
    links: Mutex<Vec<usize>>,
    task: AtomicWaker,
}

impl Ready {
    /// Says who is to be woken from now on.
    pub(super) fn register(&self, task: &Waker) {
        self.task.register(task);
    }

    /// Wakes the shard.
    pub(super) fn wake(&self) {
        self.task.wake();
    }

    /// Moves the links that have waited longest to `taken`, `most` of them; whether some are left.
    pub(super) fn take(&self, most: usize, taken: &mut Vec<usize>) -> bool {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let count = links.len().min(most);
        taken.extend(links.drain(..count));
        !links.is_empty()
    }

    fn put(&self, link: usize) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.push(link);
        let first = links.len() == 1;
        drop(links);
        if first {
            self.wake();
        }
    }
}

/// What a link's socket wakes: puts the link on the shard's list, once.
#[derive(Debug)]
pub(super) struct LinkWaker {
    link: usize,
    listed: AtomicBool,
    ready: Arc<Ready>,
}

impl LinkWaker {
    pub(super) fn new(link: usize, ready: Arc<Ready>) -> Arc<Self> {
        Arc::new(Self { link, listed: AtomicBool::new(false), ready })
    }

    /// The link that it wakes.
    pub(super) fn link(&self) -> usize {
        self.link
    }

    /// The link was taken off the list: the next wake puts it there again.
    pub(super) fn taken(&self) {
        self.listed.store(false, Ordering::Release);
    }
}

impl Wake for LinkWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.listed.swap(true, Ordering::AcqRel) {
            self.ready.put(self.link);
        }
    }
}
