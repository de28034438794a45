//! Direct messages: check, store for sender and receiver, acknowledge, and hand on to the fan-out.

use std::future::Future;

use bytes::Bytes;
use im_proto::ErrorCode;
use im_proto::borrowed::{C2cAccepted, C2cRequest};

use super::group_commit::{Appending, Submission};
use super::{Logic, lock, reply};
use crate::fanout::Stored;
use crate::id::{ClientMsgId, ConnId, Uid};
use crate::message::{ContentType, Message, SendKey, Target, TimelineId};
use crate::pieces::Pieces;
use crate::session::{Reply, Request, Ticket};
use crate::storage::{Placed, Post};
use crate::time::Timestamp;

/// What one turn sends, between queueing and storing. `asked` go with the queued submissions, one for one.
struct Sends {
    asked: Vec<(ConnId, Ticket)>,
    refused: Vec<Reply>,
    appending: Appending,
}

/// Queues what the requests send, now; the future answers them once it is durable. It holds none of their bytes.
pub(super) fn send(
    logic: &Logic,
    requests: Vec<Request>,
) -> impl Future<Output = Vec<Reply>> + Send + 'static + use<> {
    let sends = submissions(logic, requests);
    async move {
        let answers = sends.appending.await;
        let mut replies = sends.refused;
        replies.reserve(answers.len());
        let mut bodies = Pieces::new(answers.len() * C2cAccepted::MAX_LEN);
        for ((conn, ticket), answer) in sends.asked.into_iter().zip(answers) {
            replies.push(match answer {
                Ok(placed) => Reply { conn, ticket, told: placed.home, body: accepted(&placed, &mut bodies) },
                Err(failure) => reply::error_to(conn, ticket, reply::code(&failure)),
            });
        }
        replies
    }
}

fn submissions(logic: &Logic, requests: Vec<Request>) -> Sends {
    let now = logic.ports.clock.now();
    let mut queued = Vec::with_capacity(requests.len());
    let mut asked = Vec::with_capacity(requests.len());
    let mut refused = Vec::new();
    let mut reader = Reader::of(&requests, logic.policy.max_content);
    for request in &requests {
        match reader.draft(request) {
            Ok(draft) => {
                queued.push(submission(logic, request, draft, now));
                asked.push((request.caller.conn, request.ticket));
            }
            Err(code) => refused.push(request.refuse(code)),
        }
    }
    Sends { asked, refused, appending: logic.commit.append(queued) }
}

/// A send that may be tried.
struct Draft {
    to: Uid,
    key: SendKey,
    content_type: ContentType,
    content: Bytes,
}

/// Reads a turn's requests.
struct Reader {
    max_content: usize,
    /// What outlives the turn must not hold the read buffer.
    contents: Pieces,
    /// The last receiver. Links mostly write to the same one for a while.
    to: Option<Uid>,
}

impl Reader {
    fn of(requests: &[Request], max_content: usize) -> Self {
        let bytes = requests.iter().map(|request| request.body.len()).sum();
        Self { max_content, contents: Pieces::new(bytes), to: None }
    }

    fn draft(&mut self, request: &Request) -> Result<Draft, ErrorCode> {
        let body = C2cRequest::decode(&request.body).map_err(|_| ErrorCode::UndecodableBody)?;
        if !body.from.is_empty() && body.from != request.caller.uid.as_str() {
            return Err(ErrorCode::Forbidden);
        }
        if body.content.len() > self.max_content {
            return Err(ErrorCode::TooLarge);
        }
        let key = match body.client_msg_id {
            "" => SendKey::Link(request.caller.conn, request.ticket.cmd, request.ticket.seq),
            id => SendKey::Client(ClientMsgId::new(id).map_err(|_| ErrorCode::TooLarge)?),
        };
        let to = self.receiver(body.to)?;
        let content = self.contents.cut(body.content.len(), |out| out.extend_from_slice(body.content));
        Ok(Draft { to, key, content_type: ContentType(body.content_type), content })
    }

    fn receiver(&mut self, name: &str) -> Result<Uid, ErrorCode> {
        if let Some(last) = &self.to
            && last.as_str() == name
        {
            return Ok(last.clone());
        }
        // No user has an empty id, or one that is too long.
        let to = Uid::new(name).map_err(|_| ErrorCode::NotFound)?;
        Ok(self.to.insert(to).clone())
    }
}

/// The msgid and the key are fixed here, before the first try. Without a msgid the send keeps its place in the order and fails.
fn submission(logic: &Logic, request: &Request, draft: Draft, now: Timestamp) -> Submission {
    let link = request.caller.conn;
    let Ok(msgid) = logic.lease.next_message(now) else {
        return Submission::Failed { link, to: Target::User(draft.to), key: draft.key };
    };
    let from = request.caller.uid.clone();
    let home = TimelineId::User(from.clone());
    let copy = (draft.to != from).then(|| TimelineId::User(draft.to.clone()));
    let message = Message {
        msgid,
        kind: request.ticket.cmd,
        from,
        to: Target::User(draft.to),
        key: draft.key,
        content_type: draft.content_type,
        content: draft.content,
        sent_at: now,
    };
    Submission::Post { link, post: Post { message, home, copy } }
}

fn accepted(placed: &Placed, bodies: &mut Pieces) -> Bytes {
    let Placed { msgid, sent_at, home, .. } = placed;
    let body = C2cAccepted { msgid: msgid.0, timestamp: sent_at.0, version: home.0 };
    bodies.cut(body.len(), |out| body.encode(out))
}

impl Logic {
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
