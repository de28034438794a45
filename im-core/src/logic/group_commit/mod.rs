//! One append for all that waits: while a batch is being written the next one gathers, and no timer waits for company.
//!
//! This is also where the order of sends is kept when sends fail. The queue is first in, first out, and after a retryable failure of a
//! post every later one of the same link to the same target fails alike, until the failed one comes again.
//!
//! Whether a sender is blocked is looked up here, once a batch.
//!
//! What is stored is announced from here too: in the order of the timelines, and whether or not whoever sent it still waits for the answer.

mod health;
mod order;
mod permission;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use futures::StreamExt;
use futures::channel::{mpsc, oneshot};

use self::health::Health;
use self::order::Order;
use crate::fanout::Stored;
use crate::id::ConnId;
use crate::message::{Message, SendKey, Target};
use crate::storage::{Blocklist, Placed, Post, Store, StoreError, StoreErrorKind};

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
        /// The link that it came over; one without a link stands alone.
        link: Option<ConnId>,
        /// What to store.
        post: Post,
    },
    /// Cannot even be tried, and keeps its place in the order: it is answered with a retryable failure.
    Failed {
        /// The link that it came over, if there is one.
        link: Option<ConnId>,
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
    /// [`close`](Self::close) was called, after it wrote what waits. After each batch `announce` gets what is durable by it, in the order in
    /// which it was stored, repeats included. What `blocklist` keeps out is answered as [`Forbidden`](StoreErrorKind::Forbidden), and is not stored.
    pub fn new(
        store: Arc<dyn Store>,
        blocklist: Option<Arc<dyn Blocklist>>,
        limits: GroupCommitLimits,
        announce: impl FnMut(Vec<Stored>) + Send,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, jobs) = mpsc::unbounded();
        let waiting = Arc::new(AtomicUsize::new(0));
        let handle = Self { queue, waiting: waiting.clone(), queue_bytes: limits.queue_bytes };
        (handle, write(store, blocklist, limits, jobs, waiting, announce))
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
    blocklist: Option<Arc<dyn Blocklist>>,
    limits: GroupCommitLimits,
    mut jobs: mpsc::UnboundedReceiver<Job>,
    waiting: Arc<AtomicUsize>,
    mut announce: impl FnMut(Vec<Stored>) + Send,
) {
    let mut order = Order::default();
    let mut health = Health::default();
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
        let mut answers = Answers::new();
        if !posts.is_empty() {
            answers = match &blocklist {
                Some(blocklist) => permission::append(&*store, &**blocklist, posts).await,
                None => store.append(posts).await,
            };
            health.note(&answers);
        }
        let stored = batch.answer(answers, &mut order);
        if !stored.is_empty() {
            announce(stored);
        }
    }
}

/// What one append is about to store, and who is to be told.
#[derive(Default)]
struct Batch {
    posts: Vec<Post>,
    bytes: usize,
    turns: Vec<Turn>,
    forgotten: Vec<ConnId>,
    /// Conversations with a send in this batch that cannot even be tried: what comes after it is not tried either.
    broken: BTreeSet<(ConnId, Target)>,
}

struct Turn {
    places: Vec<Place>,
    answer: oneshot::Sender<Answers>,
}

/// How a submission stands in the order.
enum Place {
    /// It is among the batch's posts; this is its message.
    Tried(Option<ConnId>, Message),
    /// It could not be tried, and is to come again before what comes after it.
    Failed(Option<ConnId>, Target, SendKey),
    /// It comes after one that failed.
    Held,
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
                self.posts.reserve(submissions.len());
                let places =
                    submissions.into_iter().map(|submission| self.place(submission, order)).collect();
                self.turns.push(Turn { places, answer });
            }
        }
    }

    fn place(&mut self, submission: Submission, order: &mut Order) -> Place {
        match submission {
            Submission::Failed { link, to, key } => {
                self.broken.extend(link.map(|link| (link, to.clone())));
                Place::Failed(link, to, key)
            }
            Submission::Post { link, post } => {
                if link.is_some_and(|link| self.holds(link, &post.message, order)) {
                    return Place::Held;
                }
                let message = post.message.clone();
                self.posts.push(post);
                Place::Tried(link, message)
            }
        }
    }

    /// Whether a link's message comes after one that failed.
    fn holds(&self, link: ConnId, message: &Message, order: &mut Order) -> bool {
        let broken = !self.broken.is_empty() && self.broken.contains(&(link, message.to.clone()));
        broken || !order.admits(link, &message.to, &message.key)
    }

    /// Tells every turn how it fared, and returns what is stored. Failures are noted here, in the order of the submissions, so that the one
    /// which is waited for is the first.
    fn answer(self, answers: Answers, order: &mut Order) -> Vec<Stored> {
        let mut stored = Vec::with_capacity(answers.len());
        let mut answers = answers.into_iter();
        for turn in self.turns {
            let told = turn.places.into_iter().map(|place| match place {
                Place::Tried(link, message) => match answers.next().unwrap_or_else(|| Err(unavailable())) {
                    Ok(placed) => {
                        stored.push(announced(message, &placed, link));
                        Ok(placed)
                    }
                    Err(failure) => {
                        // Whatever a client is told to retry is waited for.
                        if let Some(link) = link
                            && !failure.is_final()
                        {
                            order.failed(link, &message.to, &message.key);
                        }
                        Err(failure)
                    }
                },
                Place::Failed(link, to, key) => {
                    if let Some(link) = link {
                        order.failed(link, &to, &key);
                    }
                    Err(unavailable())
                }
                Place::Held => Err(StoreError::new(StoreErrorKind::OutOfOrder, "append")),
            });
            // Whoever asked may have gone; the posts are stored all the same.
            let _ = turn.answer.send(told.collect());
        }
        for link in self.forgotten {
            order.forget(link);
        }
        stored
    }
}

/// The message as it is stored: a repeat has the msgid and the time of the first.
fn announced(message: Message, placed: &Placed, link: Option<ConnId>) -> Stored {
    Stored {
        message: Message { msgid: placed.msgid, sent_at: placed.sent_at, ..message },
        home: placed.home,
        copy: placed.copy,
        origin: link,
    }
}

fn unavailable() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "append")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;
    use im_proto::CmdId;

    use super::*;
    use crate::id::{ClientMsgId, MsgId, Uid};
    use crate::message::{ContentType, TimelineId};
    use crate::time::Timestamp;

    const LINK: ConnId = ConnId(1);

    fn key(name: &str) -> SendKey {
        SendKey::Client(ClientMsgId::new(name).unwrap())
    }

    fn bob() -> Target {
        Target::User(Uid::new("bob").unwrap())
    }

    fn post(name: &str) -> Submission {
        let alice = Uid::new("alice").unwrap();
        let message = Message {
            msgid: MsgId(1),
            kind: CmdId::C2C_SEND,
            from: alice.clone(),
            to: bob(),
            key: key(name),
            content_type: ContentType(0),
            content: Bytes::new(),
            sent_at: Timestamp(0),
        };
        Submission::Post {
            link: Some(LINK),
            post: Post { message, home: TimelineId::User(alice), copy: None },
        }
    }

    fn failed(name: &str) -> Submission {
        Submission::Failed { link: Some(LINK), to: bob(), key: key(name) }
    }

    fn batch(submissions: Vec<Submission>, order: &mut Order) -> Batch {
        let mut batch = Batch::default();
        let (answer, _) = oneshot::channel();
        batch.take(Job::Append { submissions, bytes: 0, answer }, order);
        batch
    }

    #[test]
    fn the_first_failure_is_waited_for_when_a_later_send_of_the_batch_could_not_even_be_tried() {
        let mut order = Order::default();
        let batch = batch(vec![post("a"), failed("b")], &mut order);
        assert_eq!(batch.posts.len(), 1);
        batch.answer(vec![Err(unavailable())], &mut order);
        assert!(!order.admits(LINK, &bob(), &key("b")));
        assert!(order.admits(LINK, &bob(), &key("a")));
    }

    #[test]
    fn what_comes_after_a_send_that_could_not_be_tried_is_not_tried() {
        let mut order = Order::default();
        let batch = batch(vec![failed("a"), post("b")], &mut order);
        assert_eq!(batch.posts, []);
        batch.answer(Vec::new(), &mut order);
        assert!(!order.admits(LINK, &bob(), &key("b")));
        assert!(order.admits(LINK, &bob(), &key("a")));
    }
}
