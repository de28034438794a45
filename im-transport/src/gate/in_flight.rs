use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::BytesMut;
use futures::FutureExt;
use futures::future::{BoxFuture, CatchUnwind};
use im_core::logic::Turn;
use im_core::session::{Reply, Request};
use im_proto::CmdId;

/// What an acknowledgement counts.
const ACK: usize = 128;

/// Turns that bring less than this do not hold the read buffer while they wait for the store.
const SMALL_TURN: usize = 16 << 10;

/// What requests without an answer weigh, in bytes: those that the use-cases have, and those of the turn that is being gathered.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    asked: Arc<AtomicUsize>,
    gathered: usize,
}

impl InFlight {
    /// The weight of all of them.
    pub(super) fn get(&self) -> usize {
        self.asked.load(Ordering::Relaxed) + self.gathered
    }

    /// Counts a request of the current turn. Whether it asks for a page, which weighs `page`.
    pub(super) fn request(&mut self, request: &Request, page: usize) -> bool {
        let is_page = is_page(request.ticket.cmd);
        let own = usize::try_from(request.ticket.weight).unwrap_or(usize::MAX);
        self.gathered += if is_page { own + page } else { own };
        is_page
    }

    /// Counts an acknowledgement of the current turn.
    pub(super) fn ack(&mut self) {
        self.gathered += ACK;
    }

    /// Ends a turn, which counts until the last of its [`Answering`]s is gone, and sees to it that it holds no more memory than it
    /// counts, give or take.
    pub(super) fn hand_over(&mut self, turn: &mut Turn) -> Arc<Weight> {
        let bodies: usize = turn.requests.iter().map(|request| request.body.len()).sum();
        if bodies < SMALL_TURN {
            gather(&mut turn.requests, bodies);
        }
        let bytes = std::mem::take(&mut self.gathered);
        self.asked.fetch_add(bytes, Ordering::Relaxed);
        Arc::new(Weight { bytes, of: self.asked.clone() })
    }
}

/// Whether the answer to a command is a page of messages, far larger than the request.
pub(super) fn is_page(cmd: CmdId) -> bool {
    [CmdId::PULL, CmdId::SYNC].contains(&cmd)
}

/// Copies the bodies into one buffer of their exact size, so that a single slow request does not keep 64 KiB.
fn gather(requests: &mut [Request], bytes: usize) {
    let mut buffer = BytesMut::with_capacity(bytes);
    for request in requests.iter_mut().filter(|request| !request.body.is_empty()) {
        buffer.extend_from_slice(&request.body);
        request.body = buffer.split().freeze();
    }
}

/// What one turn counts.
#[derive(Debug)]
pub(super) struct Weight {
    bytes: usize,
    of: Arc<AtomicUsize>,
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.of.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Some of a turn's answers, on their way.
pub(super) struct Answering {
    replies: CatchUnwind<AssertUnwindSafe<BoxFuture<'static, Vec<Reply>>>>,
    _weight: Arc<Weight>,
}

impl Answering {
    pub(super) fn new(replies: BoxFuture<'static, Vec<Reply>>, weight: Arc<Weight>) -> Self {
        // A future that panicked is dropped, and with it everything that it might have left halfway.
        Self { replies: AssertUnwindSafe(replies).catch_unwind(), _weight: weight }
    }
}

impl Future for Answering {
    type Output = Vec<Reply>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.replies.poll_unpin(cx).map(|replies| {
            replies.unwrap_or_else(|_| {
                tracing::error!("a handler panicked; its requests stay without an answer");
                Vec::new()
            })
        })
    }
}
