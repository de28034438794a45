//! Direct messages: check, store for sender and receiver, acknowledge, and hand on to the fan-out.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use im_proto::ErrorCode;
use im_proto::v1::{C2cRequest, C2cResponse};
use prost::Message as _;

use super::group_commit::{Appending, Submission};
use super::{Logic, lock, reply};
use crate::fanout::Stored;
use crate::id::{ClientMsgId, Uid};
use crate::message::{ContentType, Message, SendKey, Target, TimelineId};
use crate::session::{Reply, Request};
use crate::storage::{Placed, Post};
use crate::time::Timestamp;

/// What one turn sends, between queueing and storing. `requests` and `messages` go with the queued submissions, one for one.
struct Sends {
    requests: Vec<Request>,
    messages: Vec<Option<Message>>,
    refused: Vec<Reply>,
    appending: Appending,
}

/// Queues what the requests send, now; the future answers them once it is durable.
pub(super) fn send(
    logic: Arc<Logic>,
    requests: Vec<Request>,
) -> impl Future<Output = Vec<Reply>> + Send + 'static {
    let sends = submissions(&logic, requests);
    async move {
        let answers = sends.appending.await;
        let mut replies = sends.refused;
        let mut stored = Vec::with_capacity(answers.len());
        for ((request, message), answer) in sends.requests.iter().zip(sends.messages).zip(answers) {
            match answer {
                Ok(placed) => {
                    replies.push(accepted(request, &placed));
                    stored.extend(message.map(|message| settled(message, &placed, request)));
                }
                Err(failure) => replies.push(reply::store_error(request, &failure)),
            }
        }
        logic.announce(stored);
        replies
    }
}

fn submissions(logic: &Logic, requests: Vec<Request>) -> Sends {
    let now = logic.ports.clock.now();
    let mut queued = Vec::with_capacity(requests.len());
    let mut sends = (Vec::with_capacity(requests.len()), Vec::with_capacity(requests.len()), Vec::new());
    for request in requests {
        match checked(&request, logic.policy.max_content) {
            Ok(draft) => {
                let (submission, message) = submission(logic, &request, draft, now);
                queued.push(submission);
                sends.0.push(request);
                sends.1.push(message);
            }
            Err(code) => sends.2.push(reply::error(&request, code)),
        }
    }
    let appending = logic.commit.append(queued);
    Sends { requests: sends.0, messages: sends.1, refused: sends.2, appending }
}

/// A send that may be tried.
struct Draft {
    to: Uid,
    key: SendKey,
    content_type: ContentType,
    content: Bytes,
}

fn checked(request: &Request, max_content: usize) -> Result<Draft, ErrorCode> {
    let body = C2cRequest::decode(request.body.clone()).map_err(|_| ErrorCode::UndecodableBody)?;
    if !body.from.is_empty() && body.from != request.caller.uid.as_str() {
        return Err(ErrorCode::Forbidden);
    }
    if body.content.len() > max_content {
        return Err(ErrorCode::TooLarge);
    }
    let key = match body.client_msg_id.as_str() {
        "" => SendKey::Link(request.caller.conn, request.ticket.cmd, request.ticket.seq),
        id => SendKey::Client(ClientMsgId::new(id).map_err(|_| ErrorCode::TooLarge)?),
    };
    // No user has an empty id, or one that is too long.
    let to = Uid::new(&body.to).map_err(|_| ErrorCode::NotFound)?;
    // What outlives the turn must not hold the read buffer.
    let content = Bytes::copy_from_slice(&body.content);
    Ok(Draft { to, key, content_type: ContentType(body.content_type), content })
}

/// The msgid and the key are fixed here, before the first try. Without a msgid the send keeps its place in the order and fails.
fn submission(
    logic: &Logic,
    request: &Request,
    draft: Draft,
    now: Timestamp,
) -> (Submission, Option<Message>) {
    let link = request.caller.conn;
    let Ok(msgid) = logic.ids.next(now) else {
        return (Submission::Failed { link, to: Target::User(draft.to), key: draft.key }, None);
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
    (Submission::Post { link, post: Post { message: message.clone(), home, copy } }, Some(message))
}

fn accepted(request: &Request, placed: &Placed) -> Reply {
    let body = C2cResponse {
        msgid: placed.msgid.0,
        timestamp: placed.sent_at.0,
        version: placed.home.0,
        ..C2cResponse::default()
    };
    reply::ok(request, &body)
}

/// The message as it is stored: a repeat has the msgid and the time of the first.
fn settled(message: Message, placed: &Placed, request: &Request) -> Stored {
    Stored {
        message: Message { msgid: placed.msgid, sent_at: placed.sent_at, ..message },
        home: placed.home,
        copy: placed.copy,
        origin: Some(request.caller.conn),
    }
}

impl Logic {
    /// Starts the deadlines of the receivers and queues the pushes. Both are hints, so a full queue drops them.
    fn announce(&self, stored: Vec<Stored>) {
        if stored.is_empty() {
            return;
        }
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
