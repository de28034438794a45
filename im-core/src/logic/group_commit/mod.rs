//! One append for all that waits: while a batch is being written the next one gathers, and no timer waits for company.
//!
//! This is also where the order of sends is kept when sends fail. The queue is first in, first out, and after a retryable failure of a
//! post every later one of the same link to the same target fails alike, until the failed one comes again.

mod order;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use futures::StreamExt;
use futures::channel::{mpsc, oneshot};

use self::order::Order;
use crate::id::ConnId;
use crate::message::{SendKey, Target};
use crate::storage::{Placed, Post, Store, StoreError, StoreErrorKind};

/// How large batches and the queue may grow.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupCommitLimits {
    /// Posts a batch, but for a turn that alone has more. Default 1,024.
    pub batch_posts: usize,
    /// Bytes a batch, but for a turn that alone has more. Default 8 MiB.
    pub batch_bytes: usize,
    /// Bytes that wait. What comes on top fails with [`StoreErrorKind::Unavailable`]. Default 64 MiB.
    pub queue_bytes: usize,
}

impl Default for GroupCommitLimits {
    fn default() -> Self {
        Self { batch_posts: 1_024, batch_bytes: 8 << 20, queue_bytes: 64 << 20 }
    }
}

/// A send on its way to the store, with what orders it: its link and its target.
#[derive(Clone, Debug)]
pub enum Submission {
    /// To be stored.
    Post {
        /// The link that it came over.
        link: ConnId,
        /// What to store.
        post: Post,
    },
    /// Cannot even be tried, and keeps its place in the order: it is answered with a retryable failure.
    Failed {
        /// The link that it came over.
        link: ConnId,
        /// Where it was to go.
        to: Target,
        /// By which it is known when it comes again.
        key: SendKey,
    },
}

impl Submission {
    fn size(&self) -> usize {
        match self {
            Self::Post { post, .. } => post.message.size(),
            Self::Failed { .. } => 0,
        }
    }

    fn into_failed(self) -> Self {
        match self {
            Self::Post { link, post } => Self::Failed { link, to: post.message.to, key: post.message.key },
            failed @ Self::Failed { .. } => failed,
        }
    }
}

enum Job {
    Append { submissions: Vec<Submission>, bytes: usize, answer: oneshot::Sender<Answers> },
    Forget(ConnId),
}

type Answers = Vec<Result<Placed, StoreError>>;

/// The handle: hands posts to the writer.
#[derive(Clone, Debug)]
pub struct GroupCommit {
    queue: mpsc::UnboundedSender<Job>,
    waiting: Arc<AtomicUsize>,
    queue_bytes: usize,
}

impl GroupCommit {
    /// A handle and the writer. The composition root spawns the writer, or polls it; it ends when all handles are dropped or
    /// [`close`](Self::close) was called, after it wrote what waits.
    pub fn new(store: Arc<dyn Store>, limits: GroupCommitLimits) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, jobs) = mpsc::unbounded();
        let waiting = Arc::new(AtomicUsize::new(0));
        let handle = Self { queue, waiting: waiting.clone(), queue_bytes: limits.queue_bytes };
        (handle, write(store, limits, jobs, waiting))
    }

    /// Queues submissions, now, in their order and after all that were queued before; the future tells how each one fared.
    ///
    /// # Cancel safety
    /// Dropping the future withdraws nothing.
    pub fn append(&self, mut submissions: Vec<Submission>) -> Appending {
        let mut bytes = submissions.iter().map(Submission::size).sum();
        if self.waiting.load(Ordering::Relaxed).saturating_add(bytes) > self.queue_bytes {
            submissions = submissions.into_iter().map(Submission::into_failed).collect();
            bytes = 0;
        }
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        let (answer, answers) = oneshot::channel();
        let count = submissions.len();
        // A closed queue drops the job and with it `answer`, which the future reports.
        let _ = self.queue.unbounded_send(Job::Append { submissions, bytes, answer });
        Appending { answers, count }
    }

    /// Says that a link is gone: after all that it queued, what is remembered for its order may go.
    pub fn forget(&self, link: ConnId) {
        // A closed queue remembers nothing.
        let _ = self.queue.unbounded_send(Job::Forget(link));
    }

    /// Takes no more; the writer ends when it wrote what waits.
    pub fn close(&self) {
        self.queue.close_channel();
    }
}

/// The answers to one [`GroupCommit::append`], one for each submission, in order. If the writer is gone, all are
/// [`StoreErrorKind::Unavailable`].
#[derive(Debug)]
pub struct Appending {
    answers: oneshot::Receiver<Answers>,
    count: usize,
}

impl Future for Appending {
    type Output = Answers;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answers> {
        let answers = ready!(Pin::new(&mut self.answers).poll(cx));
        Poll::Ready(answers.unwrap_or_else(|_| vec![Err(unavailable()); self.count]))
    }
}

async fn write(
    store: Arc<dyn Store>,
    limits: GroupCommitLimits,
    mut jobs: mpsc::UnboundedReceiver<Job>,
    waiting: Arc<AtomicUsize>,
) {
    let mut order = Order::default();
    while let Some(job) = jobs.next().await {
        let mut batch = Batch::default();
        batch.take(job, &mut order);
        while batch.has_room(&limits)
            && let Ok(job) = jobs.try_recv()
        {
            batch.take(job, &mut order);
        }
        waiting.fetch_sub(batch.bytes, Ordering::Relaxed);
        let posts = std::mem::take(&mut batch.posts);
        let answers = if posts.is_empty() { Vec::new() } else { store.append(posts).await };
        batch.answer(answers, &mut order);
    }
}

/// What one append is about to store, and who is to be told.
#[derive(Default)]
struct Batch {
    posts: Vec<Post>,
    bytes: usize,
    turns: Vec<Turn>,
    forgotten: Vec<ConnId>,
}

struct Turn {
    places: Vec<Place>,
    answer: oneshot::Sender<Answers>,
}

/// How a submission stands in the order; `tried` if it is among the batch's posts.
struct Place {
    link: ConnId,
    to: Target,
    key: SendKey,
    tried: bool,
}

impl Batch {
    fn has_room(&self, limits: &GroupCommitLimits) -> bool {
        self.posts.len() < limits.batch_posts && self.bytes < limits.batch_bytes
    }

    fn take(&mut self, job: Job, order: &mut Order) {
        match job {
            Job::Forget(link) => self.forgotten.push(link),
            Job::Append { submissions, bytes, answer } => {
                self.bytes += bytes;
                let places =
                    submissions.into_iter().map(|submission| self.place(submission, order)).collect();
                self.turns.push(Turn { places, answer });
            }
        }
    }

    fn place(&mut self, submission: Submission, order: &mut Order) -> Place {
        match submission {
            Submission::Failed { link, to, key } => {
                order.failed(link, &to, &key);
                Place { link, to, key, tried: false }
            }
            Submission::Post { link, post } => {
                let (to, key) = (post.message.to.clone(), post.message.key.clone());
                let tried = order.admits(link, &to, &key);
                if tried {
                    self.posts.push(post);
                }
                Place { link, to, key, tried }
            }
        }
    }

    fn answer(self, answers: Answers, order: &mut Order) {
        let mut answers = answers.into_iter();
        for turn in self.turns {
            let told = turn.places.into_iter().map(|place| match place.tried {
                true => place.settle(answers.next().unwrap_or_else(|| Err(unavailable())), order),
                false => Err(StoreError::new(StoreErrorKind::OutOfOrder, "append")),
            });
            // Whoever asked may have gone; the posts are stored all the same.
            let _ = turn.answer.send(told.collect());
        }
        for link in self.forgotten {
            order.forget(link);
        }
    }
}

impl Place {
    fn settle(self, answer: Result<Placed, StoreError>, order: &mut Order) -> Result<Placed, StoreError> {
        // Whatever a client is told to retry is waited for; only a reused key is final.
        if answer.as_ref().is_err_and(|failure| failure.kind() != StoreErrorKind::KeyReused) {
            order.failed(self.link, &self.to, &self.key);
        }
        answer
    }
}

fn unavailable() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "append")
}
