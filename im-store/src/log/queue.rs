//! What waits for the writer, which takes all of it at a time.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::channel::oneshot;
use im_core::storage::{CursorAck, NodeLease, Placed, Post, StoreError};
use im_core::time::Timestamp;

use super::Fault;
use super::fill::Rows;

/// Many answers, one for each question.
pub(super) type Answers<T> = Vec<Result<T, StoreError>>;

/// A call that writes.
#[derive(Debug)]
pub(super) enum Job {
    Append(Vec<Post>, oneshot::Sender<Answers<Placed>>),
    Ack(Vec<CursorAck>, oneshot::Sender<Answers<()>>),
    Lease {
        holder: String,
        now: Timestamp,
        ttl: Duration,
        answer: oneshot::Sender<Result<NodeLease, StoreError>>,
    },
    Renew {
        lease: NodeLease,
        until: Timestamp,
        answer: oneshot::Sender<Result<NodeLease, StoreError>>,
    },
    Release {
        lease: NodeLease,
        until: Timestamp,
        answer: oneshot::Sender<Result<NodeLease, StoreError>>,
    },
    /// Move the floor of all leases.
    RaiseFloor(Timestamp, oneshot::Sender<Result<(), StoreError>>),
    /// Rows of another store.
    Import(Rows, oneshot::Sender<Result<(), StoreError>>),
    /// Write the index up to here.
    Checkpoint(oneshot::Sender<()>),
}

impl Job {
    /// About how much memory it takes.
    fn size(&self) -> usize {
        /// A call, and what each of its acks takes.
        const SMALL: usize = 200;
        match self {
            Self::Append(posts, _) => posts.iter().map(|post| post.message.size()).sum(),
            Self::Ack(acks, _) => acks.len() * SMALL,
            Self::Import(rows, _) => rows.posts.iter().map(|post| post.message.size()).sum::<usize>() + SMALL,
            _ => SMALL,
        }
    }
}

#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    some: Condvar,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: Vec<Job>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    /// A queue for so many bytes. A call that comes while it is empty may have more.
    pub(super) fn new(capacity: usize) -> Self {
        Self { waiting: Mutex::default(), some: Condvar::new(), capacity }
    }

    pub(super) fn push(&self, job: Job) -> Result<(), Fault> {
        let size = job.size();
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(Fault::Closed);
        }
        if !waiting.jobs.is_empty() && waiting.bytes.saturating_add(size) > self.capacity {
            return Err(Fault::Busy);
        }
        let was_empty = waiting.jobs.is_empty();
        waiting.bytes += size;
        waiting.jobs.push(job);
        drop(waiting);
        if was_empty {
            self.some.notify_one();
        }
        Ok(())
    }

    /// Waits for jobs, and swaps them for the empty `taken`. `false` when the queue is closed and nothing waits.
    pub(super) fn take(&self, taken: &mut Vec<Job>) -> bool {
        let waiting = self.lock();
        let empty = |waiting: &mut Waiting| waiting.jobs.is_empty() && !waiting.closed;
        let mut waiting = self.some.wait_while(waiting, empty).unwrap_or_else(PoisonError::into_inner);
        waiting.bytes = 0;
        std::mem::swap(taken, &mut waiting.jobs);
        !taken.is_empty()
    }

    /// Takes no more; what waits is still done.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.some.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
