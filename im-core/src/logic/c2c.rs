//! Direct messages: check, store for sender and receiver, acknowledge, and hand on to the fan-out.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use im_proto::ErrorCode;
use im_proto::borrowed::C2cRequest;
use im_proto::v1::C2cResponse;

use super::group_commit::{Appending, Submission};
use super::{Logic, lock, reply};
use crate::fanout::Stored;
use crate::id::{ClientMsgId, Uid};
use crate::message::{ContentType, Message, SendKey, Target, TimelineId};
use crate::session::{Reply, Request};
use crate::storage::{Placed, Post};
use crate::time::Timestamp;

/// What one turn sends, between queueing and storing. `requests` go with the queued submissions, one for one.
struct Sends {
    requests: Vec<Request>,
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
        for (request, answer) in sends.requests.iter().zip(answers) {
            replies.push(match answer {
                Ok(placed) => accepted(request, &placed),
                Err(failure) => reply::store_error(request, &failure),
            });
        }
        replies
    }
}

fn submissions(logic: &Logic, requests: Vec<Request>) -> Sends {
    let now = logic.ports.clock.now();
    let mut queued = Vec::with_capacity(requests.len());
    let mut tried = Vec::with_capacity(requests.len());
    let mut refused = Vec::new();
    for request in requests {
        match checked(&request, logic.policy.max_content) {
            Ok(draft) => {
                queued.push(submission(logic, &request, draft, now));
                tried.push(request);
            }
            Err(code) => refused.push(reply::error(&request, code)),
        }
    }
    Sends { requests: tried, refused, appending: logic.commit.append(queued) }
}

/// A send that may be tried.
struct Draft {
    to: Uid,
    key: SendKey,
    content_type: ContentType,
    content: Bytes,
}

fn checked(request: &Request, max_content: usize) -> Result<Draft, ErrorCode> {
    let body = C2cRequest::decode(&request.body).map_err(|_| ErrorCode::UndecodableBody)?;
    if !body.from.is_empty() && body.from != request.caller.uid.as_str() {
        return Err(ErrorCode::Forbidden);
    }
    if body.content.len() > max_content {
        return Err(ErrorCode::TooLarge);
    }
    let key = match body.client_msg_id {
        "" => SendKey::Link(request.caller.conn, request.ticket.cmd, request.ticket.seq),
        id => SendKey::Client(ClientMsgId::new(id).map_err(|_| ErrorCode::TooLarge)?),
    };
    // No user has an empty id, or one that is too long.
    let to = Uid::new(body.to).map_err(|_| ErrorCode::NotFound)?;
    // What outlives the turn must not hold the read buffer.
    let content = Bytes::copy_from_slice(body.content);
    Ok(Draft { to, key, content_type: ContentType(body.content_type), content })
}

/// The msgid and the key are fixed here, before the first try. Without a msgid the send keeps its place in the order and fails.
fn submission(logic: &Logic, request: &Request, draft: Draft, now: Timestamp) -> Submission {
    let link = request.caller.conn;
    let Ok(msgid) = logic.ids.next(now) else {
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

fn accepted(request: &Request, placed: &Placed) -> Reply {
    let body = C2cResponse {
        msgid: placed.msgid.0,
        timestamp: placed.sent_at.0,
        version: placed.home.0,
        ..C2cResponse::default()
    };
    reply::ok(request, &body)
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
