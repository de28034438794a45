use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures::future::BoxFuture;

use super::kernel::Kernel;

/// Polls futures on the only thread there is. Which of the ready ones comes next is a throw of the dice.
///
/// Every future has an owner, so that the crash of a process drops all of its futures where they are.
pub(super) struct Executor<Owner, T> {
    next: u64,
    tasks: BTreeMap<u64, Task<Owner, T>>,
    ready: Ready,
}

struct Task<Owner, T> {
    owner: Owner,
    future: BoxFuture<'static, T>,
    waker: Waker,
}

/// Shared with the wakers.
type Ready = Arc<Mutex<BTreeSet<u64>>>;

struct TaskWaker {
    task: u64,
    ready: Ready,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        lock(&self.ready).insert(self.task);
    }
}

impl<Owner: Copy + PartialEq, T> Executor<Owner, T> {
    pub(super) fn new() -> Self {
        Self { next: 0, tasks: BTreeMap::new(), ready: Ready::default() }
    }

    pub(super) fn spawn(&mut self, owner: Owner, future: BoxFuture<'static, T>) {
        self.next += 1;
        let waker = Waker::from(Arc::new(TaskWaker { task: self.next, ready: self.ready.clone() }));
        self.tasks.insert(self.next, Task { owner, future, waker });
        lock(&self.ready).insert(self.next);
    }

    /// Drops an owner's futures.
    pub(super) fn abort(&mut self, owner: Owner) {
        self.tasks.extract_if(.., |_, task| task.owner == owner).for_each(drop);
    }

    pub(super) fn clear(&mut self) {
        self.tasks.clear();
    }

    /// Polls one ready future of an owner that runs; `None` if there is none. Gives what the future gave, if it ended.
    pub(super) fn step(
        &mut self,
        kernel: &Kernel,
        runs: impl Fn(Owner) -> bool,
    ) -> Option<Option<(Owner, T)>> {
        let task = self.pick(kernel, runs)?;
        let Some(polled) = self.tasks.get_mut(&task) else { return Some(None) };
        let mut cx = Context::from_waker(&polled.waker);
        match polled.future.as_mut().poll(&mut cx) {
            Poll::Pending => Some(None),
            Poll::Ready(value) => {
                let owner = polled.owner;
                self.tasks.remove(&task);
                Some(Some((owner, value)))
            }
        }
    }

    fn pick(&self, kernel: &Kernel, runs: impl Fn(Owner) -> bool) -> Option<u64> {
        let mut ready = lock(&self.ready);
        let may_run = |task: &&u64| self.tasks.get(task).is_none_or(|task| runs(task.owner));
        let count = ready.iter().filter(may_run).count();
        if count == 0 {
            return None;
        }
        let index = if count == 1 { 0 } else { kernel.dice(|dice| dice.index(count)) };
        let task = ready.iter().filter(may_run).nth(index).copied()?;
        ready.remove(&task);
        Some(task)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
