//! Moving what is recent into the index, beside the appends.
//!
//! The writer freezes what is recent and starts anew; a thread of its own writes the frozen part as a table and merges tables. Until that is
//! done, readers find it in memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::channel::oneshot;

use super::Fault;
use super::index::Index;
use super::shared::Shared;
use super::tail::End;

/// While no table can be written, at most so many times what one is written for is kept in memory.
const MOST_RECENT: usize = 8;

/// How long to wait after a table could not be written, on a full disk say.
const RETRY: Duration = Duration::from_secs(1);

/// How often who waits for a table looks whether it can be written at all.
const PATIENCE: Duration = Duration::from_millis(100);

/// When to write a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Threshold {
    /// After so many messages.
    pub(super) messages: usize,
    /// Or when the log has grown by so much.
    pub(super) bytes: u64,
}

/// The writer's side.
#[derive(Debug)]
pub(super) struct Checkpoints {
    threshold: Threshold,
    /// How large the log was when something was frozen last.
    frozen_at: u64,
    work: Sender<Work>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
enum Work {
    /// Write what is frozen. The log up to here is in it.
    Write(End),
    /// Say when everything before is done.
    Tell(Sender<()>),
    Answer(oneshot::Sender<()>),
}

impl Checkpoints {
    /// Starts the thread. The log has `size` bytes now.
    pub(super) fn start(
        shared: Arc<Shared>,
        index: Index,
        threshold: Threshold,
        size: u64,
    ) -> std::io::Result<Self> {
        let (work, jobs) = channel();
        let thread = std::thread::Builder::new().name("im-store-index".to_owned());
        let thread = thread.spawn(move || run(&shared, index, &jobs))?;
        Ok(Self { threshold, frozen_at: size, work, thread })
    }

    /// Freezes what is recent if there is enough of it and nothing else is being written.
    pub(super) fn consider(&mut self, shared: &Shared, end: End, size: u64) {
        let grown = size.saturating_sub(self.frozen_at);
        let state = shared.state();
        let due = state.recent.messages >= self.threshold.messages || grown >= self.threshold.bytes;
        let due = due && state.frozen.is_none();
        drop(state);
        if due {
            self.frozen_at = size;
            self.freeze(shared, end);
        }
    }

    /// Whether no more messages can be taken into memory, for the index cannot be written.
    pub(super) fn is_full(&self, shared: &Shared) -> bool {
        shared.index_fails.load(Ordering::Relaxed)
            && shared.state().recent.messages / MOST_RECENT >= self.threshold.messages
    }

    /// Freezes what is recent, after what was frozen before is written, and answers when it is written too.
    pub(super) fn now(&mut self, shared: &Shared, end: End, answer: oneshot::Sender<()>) {
        if !self.wait(shared) {
            // The answer is dropped, which says so.
            return;
        }
        self.freeze(shared, end);
        // A thread that is gone drops the answer, which says so.
        let _ = self.work.send(Work::Answer(answer));
    }

    /// Writes what is left, unless the store is left in a hurry, and ends the thread.
    pub(super) fn finish(mut self, shared: &Shared, end: End) {
        // Retrying and merging are for a store that goes on.
        if !shared.leaving.swap(true, Ordering::Relaxed) {
            self.wait(shared);
            self.freeze(shared, end);
        }
        drop(self.work);
        if self.thread.join().is_err() {
            tracing::error!("the index's thread panicked; the next start makes up for it from the log");
        }
    }

    fn freeze(&mut self, shared: &Shared, end: End) {
        let mut state = shared.state_mut();
        if state.frozen.is_some() || state.recent.is_empty() {
            return;
        }
        let next = state.recent.next();
        state.frozen = Some(Arc::new(std::mem::replace(&mut state.recent, next)));
        drop(state);
        let _ = self.work.send(Work::Write(end));
    }

    /// Waits until what was frozen is written. `false` if it cannot be for now: the writer has other work.
    fn wait(&self, shared: &Shared) -> bool {
        let (tell, told) = channel();
        let _ = self.work.send(Work::Tell(tell));
        while let Err(RecvTimeoutError::Timeout) = told.recv_timeout(PATIENCE) {
            if shared.index_fails.load(Ordering::Relaxed) && !shared.leaving.load(Ordering::Relaxed) {
                return false;
            }
        }
        true
    }
}

fn run(shared: &Shared, mut index: Index, jobs: &Receiver<Work>) {
    while let Ok(work) = jobs.recv() {
        match work {
            Work::Write(covered) => write(shared, &mut index, covered),
            Work::Tell(tell) => drop(tell.send(())),
            Work::Answer(answer) => drop(answer.send(())),
        }
    }
}

fn write(shared: &Shared, index: &mut Index, covered: End) {
    let frozen = shared.state().frozen.clone();
    let Some(frozen) = frozen else { return };
    while let Err(fault) = index.add(&frozen, covered) {
        tracing::warn!(error = %fault, "the index was not written; the log has everything, and it is tried again");
        clean_up(shared, index, &fault);
        shared.index_fails.store(true, Ordering::Relaxed);
        if shared.leaving.load(Ordering::Relaxed) {
            return;
        }
        std::thread::sleep(RETRY);
    }
    shared.index_fails.store(false, Ordering::Relaxed);
    show(shared, index, true);
    while !shared.leaving.load(Ordering::Relaxed) {
        match index.merge() {
            Ok(true) => show(shared, index, false),
            Ok(false) => break,
            Err(fault) => {
                clean_up(shared, index, &fault);
                report(&fault);
                break;
            }
        }
    }
}

/// After a table was not written: what there is of it takes room that others may need.
fn clean_up(shared: &Shared, index: &Index, fault: &Fault) {
    index.remove_strangers();
    if let Fault::BadTable(table) = fault {
        shared.distrust_index(*table);
    }
}

/// Lets readers use the tables that there are now.
fn show(shared: &Shared, index: &Index, thawed: bool) {
    shared.keep_distrusting_index();
    let (tables, filter) = (index.tables(), index.filter());
    let mut state = shared.state_mut();
    state.tables = tables;
    state.filter = filter;
    let frozen = if thawed { state.frozen.take() } else { None };
    drop(state);
    // Not under the lock: it is large.
    drop(frozen);
}

fn report(fault: &Fault) {
    tracing::warn!(error = %fault, "parts of the index were not merged; look-ups take longer until they are");
}
