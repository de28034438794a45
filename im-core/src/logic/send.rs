//! Sending: a message for one user is stored for its sender and its receiver, acknowledged, and handed on to the fan-out.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use im_proto::{CmdId, ErrorCode, Seq};

use super::group_commit::{Appending, Submission};
use super::{Logic, lock, refusal};
use crate::fanout::Stored;
use crate::id::{ClientMsgId, ConnId, MsgId, Uid};
use crate::message::{ContentType, Message, SendKey, Target, TimelineId};
use crate::storage::{Placed, Post};
use crate::time::Timestamp;

/// So many messages are expected at one time, at most.
const TURN: usize = 1_024;

/// A message to be sent. Whoever makes it answers for the sender.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outgoing {
    /// Where it comes from.
    pub origin: Origin,
    /// Who sends.
    pub from: Uid,
    /// Whom to.
    pub to: Uid,
    /// By which it is known if it comes again: then it is stored once, and answered as before.
    pub client_msg_id: Option<ClientMsgId>,
    /// What the content is.
    pub content_type: ContentType,
    /// At most [`Policy::max_content`](super::Policy::max_content) bytes.
    pub content: Bytes,
}

/// Where a message comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client's link, with the sequence number of its request. What a link sends to one user keeps its order, and
    /// nothing is pushed back to it.
    Link(ConnId, Seq),
    /// Code of the server's own. Each message stands alone.
    Server,
}

impl Outgoing {
    /// A text of the server's own, which never comes again.
    #[must_use]
    pub fn new(from: Uid, to: Uid, content: impl Into<Bytes>) -> Self {
        let (client_msg_id, content_type) = (None, ContentType::default());
        Self { origin: Origin::Server, from, to, client_msg_id, content_type, content: content.into() }
    }

    /// It may come again under this id.
    #[must_use]
    pub fn client_msg_id(self, id: ClientMsgId) -> Self {
        Self { client_msg_id: Some(id), ..self }
    }

    /// Its content is something else than a text.
    #[must_use]
    pub fn content_type(self, content_type: ContentType) -> Self {
        Self { content_type, ..self }
    }

    fn key(&self, msgid: MsgId) -> SendKey {
        match (&self.client_msg_id, self.origin) {
            (Some(id), _) => SendKey::Client(id.clone()),
            (None, Origin::Link(conn, seq)) => SendKey::Link(conn, CmdId::C2C_SEND, seq),
            // A client's send has never this sequence number, so that no link with the number of the message has the key too.
            (None, Origin::Server) => SendKey::Link(ConnId(msgid.0), CmdId::C2C_SEND, Seq::IDENTIFY),
        }
    }
}

/// The answers to one [`Logic::send`]: for each message where it stands, or why it is not stored.
#[derive(Debug)]
pub struct Sending {
    appending: Appending,
    /// Those that were not queued, by their places.
    refused: Vec<(usize, ErrorCode)>,
}

impl Future for Sending {
    type Output = Vec<Result<Placed, ErrorCode>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let placed = ready!(Pin::new(&mut self.appending).poll(cx)).into_iter();
        let mut answers: Vec<_> = placed.map(|placed| placed.map_err(|failure| refusal(&failure))).collect();
        for (place, code) in self.refused.drain(..) {
            answers.insert(place, Err(code));
        }
        Poll::Ready(answers)
    }
}

impl Logic {
    /// Sends messages. They are queued now, in their order and after all that were queued before; the future tells, in
    /// the same order, where each one stands, once that is durable.
    ///
    /// # Cancel safety
    /// Dropping the future withdraws nothing.
    ///
    /// # Errors
    /// For each message: [`TooLarge`](ErrorCode::TooLarge), [`Forbidden`](ErrorCode::Forbidden) if the receiver has blocked
    /// the sender, [`ClientMsgIdReused`](ErrorCode::ClientMsgIdReused); and [`Unavailable`](ErrorCode::Unavailable): whether it
    /// is stored is not known, and it may be sent again under its id.
    pub fn send(&self, messages: impl IntoIterator<Item = Outgoing>) -> Sending {
        let now = self.ports.clock.now();
        let messages = messages.into_iter();
        let mut refused = Vec::new();
        let mut queued = Vec::with_capacity(messages.size_hint().1.unwrap_or_default().min(TURN));
        for (place, message) in messages.enumerate() {
            match self.submission(message, now) {
                Ok(submission) => queued.push(submission),
                Err(code) => refused.push((place, code)),
            }
        }
        Sending { appending: self.commit.append(queued), refused }
    }

    /// The msgid and the key are fixed here, before the first try.
    fn submission(&self, outgoing: Outgoing, now: Timestamp) -> Result<Submission, ErrorCode> {
        if outgoing.content.len() > self.policy.max_content {
            return Err(ErrorCode::TooLarge);
        }
        let Ok(msgid) = self.lease.next_message(now) else { return Ok(failed(outgoing)) };
        let key = outgoing.key(msgid);
        let Outgoing { origin, from, to, content_type, content, .. } = outgoing;
        let home = TimelineId::User(from.clone());
        let copy = (to != from).then(|| TimelineId::User(to.clone()));
        let (kind, to) = (CmdId::C2C_SEND, Target::User(to));
        let message = Message { msgid, kind, from, to, key, content_type, content, sent_at: now };
        Ok(Submission::Post { link: origin.link(), post: Post { message, home, copy } })
    }

    /// Starts the deadlines of the receivers and queues the pushes. Both are hints, so a full queue drops them.
    pub(super) fn announce(&self, stored: Vec<Stored>) {
        let now = self.ports.clock.tick();
        let mut deliveries = lock(&self.deliveries);
        for stored in &stored {
            if let (Target::User(to), Some(version)) = (&stored.message.to, stored.copy) {
                deliveries.stored(now, to, version, &stored.message.from);
            }
        }
        drop(deliveries);
        if !self.queue_fan_out(stored) {
            tracing::debug!("the fan-out is behind; receivers find these messages at their deadline");
        }
    }
}

impl Origin {
    fn link(self) -> Option<ConnId> {
        match self {
            Self::Link(conn, _) => Some(conn),
            Self::Server => None,
        }
    }
}

/// Without a msgid a message keeps its place in the order, and fails.
fn failed(outgoing: Outgoing) -> Submission {
    let key = outgoing.key(MsgId::default());
    Submission::Failed { link: outgoing.origin.link(), to: Target::User(outgoing.to), key }
}
