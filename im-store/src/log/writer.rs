//! The thread that writes. It takes all calls that wait, makes one batch of them, syncs it, shows it to readers and answers.

use std::sync::Arc;

use futures::channel::oneshot;
use im_core::storage::{NodeLease, Placed, StoreError};

use super::Fault;
use super::batch::Builder;
use super::checkpoint::Checkpoints;
use super::plan::{Changes, Planner};
use super::queue::{Answers, Job};
use super::shared::Shared;
use super::tail::Tail;
use crate::lock::FileLock;

/// The writing end of a store.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) tail: Tail,
    pub(super) checkpoints: Checkpoints,
    pub(super) _lock: Arc<FileLock>,
}

impl Writer {
    /// Works until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let mut batch = Builder::default();
        let mut jobs = Vec::new();
        while self.shared.queue.take(&mut jobs) {
            self.write(&mut batch, &mut jobs);
        }
        self.tail.trim();
        self.checkpoints.finish(&self.shared, self.tail.end());
    }

    fn write(&mut self, batch: &mut Builder, jobs: &mut Vec<Job>) {
        batch.clear();
        let (replies, changes) = self.decide(batch, jobs);
        let written = if batch.is_empty() { Ok(None) } else { self.tail.commit(batch).map(Some) };
        match written {
            Ok(base) => {
                if let Some(base) = base {
                    changes.apply(&mut self.shared.state_mut(), base);
                    self.checkpoints.consider(&self.shared, self.tail.end(), self.tail.size());
                }
                replies.into_iter().for_each(|reply| reply.send(self));
            }
            Err(fault) => replies.into_iter().for_each(|reply| reply.fail(&fault)),
        }
    }

    fn decide(&self, batch: &mut Builder, jobs: &mut Vec<Job>) -> (Vec<Reply>, Changes) {
        let full = self.checkpoints.is_full(&self.shared);
        let state = self.shared.state();
        let mut planner = Planner {
            state: &state,
            segments: &self.shared.segments,
            hasher: self.shared.hasher,
            batch,
            changes: Changes::default(),
        };
        let replies = jobs.drain(..).map(|job| match job {
            Job::Append(posts, answer) if full => {
                Reply::Append(failed(&Fault::IndexFails, "append", posts.len()), answer)
            }
            Job::Append(posts, answer) => Reply::Append(planner.posts(&posts), answer),
            Job::Ack(acks, answer) => Reply::Ack(planner.acks(acks), answer),
            Job::Lease { holder, now, ttl, answer } => {
                Reply::Lease(planner.lease(&holder, now, ttl), "lease_node", answer)
            }
            Job::Renew { lease, until, answer } => {
                Reply::Lease(planner.renew(&lease, until), "renew_node", answer)
            }
            Job::Release { lease, until, answer } => {
                Reply::Lease(planner.release(&lease, until), "release_node", answer)
            }
            Job::RaiseFloor(now, answer) => {
                planner.raise_floor(now);
                Reply::Done(Ok(()), "bump_epoch", answer)
            }
            Job::Import(rows, answer) => Reply::Done(planner.import(rows), "import", answer),
            Job::Checkpoint(answer) => Reply::Checkpoint(answer),
        });
        let replies = replies.collect();
        (replies, planner.changes)
    }
}

/// An answer that waits for the sync. Whoever asked may have gone.
enum Reply {
    Append(Answers<Placed>, oneshot::Sender<Answers<Placed>>),
    Ack(Answers<()>, oneshot::Sender<Answers<()>>),
    Lease(Result<NodeLease, StoreError>, &'static str, oneshot::Sender<Result<NodeLease, StoreError>>),
    Done(Result<(), StoreError>, &'static str, oneshot::Sender<Result<(), StoreError>>),
    Checkpoint(oneshot::Sender<()>),
}

impl Reply {
    fn send(self, writer: &mut Writer) {
        match self {
            Self::Append(answers, to) => drop(to.send(answers)),
            Self::Ack(answers, to) => drop(to.send(answers)),
            Self::Lease(answer, _, to) => drop(to.send(answer)),
            Self::Done(answer, _, to) => drop(to.send(answer)),
            Self::Checkpoint(to) => {
                let end = writer.tail.end();
                writer.checkpoints.now(&writer.shared, end, to);
            }
        }
    }

    /// The batch was not written: even what needed no record may have relied on it.
    fn fail(self, fault: &Fault) {
        match self {
            Self::Append(answers, to) => drop(to.send(failed(fault, "append", answers.len()))),
            Self::Ack(answers, to) => drop(to.send(failed(fault, "ack", answers.len()))),
            Self::Lease(_, operation, to) => drop(to.send(Err(fault.clone().into_error(operation)))),
            Self::Done(_, operation, to) => drop(to.send(Err(fault.clone().into_error(operation)))),
            Self::Checkpoint(to) => drop(to),
        }
    }
}

fn failed<T>(fault: &Fault, operation: &'static str, count: usize) -> Answers<T> {
    let error = fault.clone().into_error(operation);
    (0..count).map(|_| Err(error.clone())).collect()
}
