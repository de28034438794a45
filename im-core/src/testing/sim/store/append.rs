use std::collections::BTreeSet;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{Either, select};

use super::disk::{Given, Op};
use super::faults::PostFault;
use super::{Inner, SimStore};
use crate::id::MsgId;
use crate::message::TimelineId;
use crate::storage::{Placed, Post, StoreError, StoreErrorKind};

/// Where a call stands that has to wait until what it did is durable.
pub(super) enum Pending<T> {
    Settled(Result<T, StoreError>),
    Waits(Waits<T>),
}

pub(super) struct Waits<T> {
    pub(super) shard: usize,
    pub(super) life: u64,
    pub(super) lsn: u64,
    /// A copy in another shard that has to be durable too.
    pub(super) copy: Option<(TimelineId, MsgId)>,
    pub(super) value: T,
}

impl SimStore {
    pub(super) async fn append_posts(&self, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        self.travel().await;
        let homes: Vec<TimelineId> = posts.iter().map(|post| post.home.clone()).collect();
        if !self.are_up(&homes) {
            self.perhaps_hang().await;
        }
        let (pending, hushed) = self.take(posts);
        let mut answers = self.durable("append", pending).await;
        for (answer, hushed) in answers.iter_mut().zip(hushed) {
            if hushed {
                *answer = Err(unavailable("append"));
            }
        }
        self.travel().await;
        fail_alike(&homes, answers)
    }

    /// Stores what can be stored, without waiting for a sync, and answers as if it had waited: what a store must not do.
    pub(in crate::testing::sim) fn append_unsynced(
        &self,
        posts: Vec<Post>,
    ) -> Vec<Result<Placed, StoreError>> {
        let homes: Vec<TimelineId> = posts.iter().map(|post| post.home.clone()).collect();
        let (pending, _) = self.take(posts);
        let answers = pending.into_iter().map(|pending| match pending {
            Pending::Settled(answer) => answer,
            Pending::Waits(waits) => Ok(waits.value),
        });
        fail_alike(&homes, answers.collect())
    }

    /// Stores posts in their order. Says of each how it stands, and whether its answer is to be a failure all the same.
    fn take(&self, posts: Vec<Post>) -> (Vec<Pending<Placed>>, Vec<bool>) {
        let fault = self.draw_fault(&posts);
        let faults: Vec<PostFault> = (0..posts.len()).map(|place| fault.of(&posts, place)).collect();
        let mut inner = self.lock();
        let mut failed: BTreeSet<TimelineId> = BTreeSet::new();
        let mut pending = Vec::with_capacity(posts.len());
        for (post, fault) in posts.into_iter().zip(&faults) {
            let home = post.home.clone();
            if *fault == PostFault::NotStored || failed.contains(&home) || !inner.is_up(&home) {
                failed.insert(home);
                pending.push(Pending::Settled(Err(unavailable("append"))));
            } else {
                pending.push(self.store(&mut inner, post));
            }
        }
        for shard in 0..inner.shards.len() {
            self.sync(&mut inner, shard);
        }
        (pending, faults.into_iter().map(|fault| fault == PostFault::Stored).collect())
    }

    fn store(&self, inner: &mut Inner, post: Post) -> Pending<Placed> {
        let shard = inner.shard_of(&post.home);
        let elsewhere = post.copy.clone().filter(|copy| inner.shard_of(copy) != shard);
        let copy = if elsewhere.is_some() { None } else { post.copy.clone() };
        let op = Op::Post { post: Post { copy, ..post }, copy_elsewhere: elsewhere.clone() };
        let (lsn, given) = inner.shards[shard].apply(op);
        let life = inner.shards[shard].life;
        match given {
            Given::Placed(Ok(placed)) => {
                self.kernel.count(|counts| counts.repeats_recognised += u64::from(placed.repeated));
                let copy = elsewhere.map(|into| (into, placed.msgid));
                Pending::Waits(Waits { shard, life, lsn, copy, value: placed })
            }
            Given::Placed(Err(refused)) => Pending::Settled(Err(refused)),
            _ => Pending::Settled(Err(StoreError::new(StoreErrorKind::Corrupt, "append"))),
        }
    }

    /// Waits until everything is durable or known to have failed, at most until the call's deadline.
    pub(super) async fn durable<T: Complete>(
        &self,
        operation: &'static str,
        mut pending: Vec<Pending<T>>,
    ) -> Vec<Result<T, StoreError>> {
        let deadline = self.kernel.dice(|dice| dice.millis(700, 2_500));
        let settled = poll_fn(|cx| self.poll_durable(operation, &mut pending, cx));
        let timeout = self.kernel.sleep(deadline.max(Duration::from_millis(1)));
        if let Either::Right(_) = select(settled, timeout).await {
            self.kernel.count(|counts| counts.calls_timed_out += 1);
        }
        let answer = |pending| match pending {
            Pending::Settled(answer) => answer,
            Pending::Waits(_) => Err(unavailable(operation)),
        };
        pending.into_iter().map(answer).collect()
    }

    fn poll_durable<T: Complete>(
        &self,
        operation: &'static str,
        pending: &mut [Pending<T>],
        cx: &Context<'_>,
    ) -> Poll<()> {
        let mut inner = self.lock();
        let mut open = false;
        for each in pending.iter_mut() {
            if let Pending::Waits(waits) = each {
                match inner.settle(operation, waits) {
                    Some(answer) => *each = Pending::Settled(answer),
                    None => open = true,
                }
            }
        }
        if !open {
            return Poll::Ready(());
        }
        inner.wakers.push(cx.waker().clone());
        Poll::Pending
    }
}

impl Inner {
    /// The answer, if it is known.
    fn settle<T: Complete>(
        &self,
        operation: &'static str,
        waits: &Waits<T>,
    ) -> Option<Result<T, StoreError>> {
        let shard = &self.shards[waits.shard];
        if shard.life != waits.life {
            return (!shard.silent).then(|| Err(unavailable(operation)));
        }
        if shard.synced < waits.lsn {
            return None;
        }
        let Some((into, msgid)) = &waits.copy else { return Some(Ok(waits.value.clone())) };
        let copy = self.shards[self.shard_of(into)].locate(into, *msgid)?;
        Some(Ok(waits.value.clone().with_copy(copy)))
    }
}

/// What an answer learns when it is complete.
pub(super) trait Complete: Clone {
    /// Takes the version of a copy that was made elsewhere.
    fn with_copy(self, copy: crate::id::Version) -> Self;
}

impl Complete for Placed {
    fn with_copy(self, copy: crate::id::Version) -> Self {
        Self { copy: Some(copy), ..self }
    }
}

impl Complete for () {
    fn with_copy(self, _: crate::id::Version) -> Self {}
}

impl Complete for crate::storage::NodeLease {
    fn with_copy(self, _: crate::id::Version) -> Self {
        self
    }
}

/// After a retryable failure of a post, later ones of the same home fail alike.
fn fail_alike(
    homes: &[TimelineId],
    mut answers: Vec<Result<Placed, StoreError>>,
) -> Vec<Result<Placed, StoreError>> {
    let mut failed = BTreeSet::new();
    for (home, answer) in homes.iter().zip(&mut answers) {
        if failed.contains(home) {
            *answer = Err(StoreError::new(StoreErrorKind::OutOfOrder, "append"));
        } else if answer.as_ref().is_err_and(StoreError::is_retryable) {
            failed.insert(home.clone());
        }
    }
    answers
}

pub(super) fn unavailable(operation: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, operation)
}
