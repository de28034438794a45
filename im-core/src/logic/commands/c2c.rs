//! Direct messages.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use im_proto::ErrorCode;
use im_proto::borrowed::{C2cAccepted, C2cRequest};

use super::reply;
use crate::id::{ClientMsgId, Uid};
use crate::logic::{Logic, Origin, Outgoing};
use crate::message::ContentType;
use crate::pieces::Pieces;
use crate::session::{Reply, Request};
use crate::storage::Placed;

/// The future holds none of the requests' bytes.
pub(super) fn send(logic: &Arc<Logic>, requests: Vec<Request>) -> BoxFuture<'static, Vec<Reply>> {
    let mut reader = Reader::of(&requests);
    let mut asked = Vec::with_capacity(requests.len());
    let mut replies = Vec::new();
    let sent = logic.send(requests.iter().filter_map(|request| match reader.outgoing(request) {
        Ok(message) => {
            asked.push((request.caller.conn, request.ticket));
            Some(message)
        }
        Err(code) => {
            replies.push(reply::error(request, code));
            None
        }
    }));
    async move {
        let answers = sent.await;
        replies.reserve(answers.len());
        let mut bodies = Pieces::new(answers.len() * C2cAccepted::MAX_LEN);
        for ((conn, ticket), answer) in asked.into_iter().zip(answers) {
            replies.push(match answer {
                Ok(placed) => Reply { conn, ticket, told: placed.home, body: accepted(&placed, &mut bodies) },
                Err(code) => reply::error_to(conn, ticket, code),
            });
        }
        replies
    }
    .boxed()
}

/// Reads a turn's requests.
struct Reader {
    /// What outlives the turn must not hold the read buffer.
    contents: Pieces,
    /// The last receiver. Links mostly write to the same one for a while.
    to: Option<Uid>,
}

impl Reader {
    fn of(requests: &[Request]) -> Self {
        let bytes = requests.iter().map(|request| request.body.len()).sum();
        Self { contents: Pieces::new(bytes), to: None }
    }

    fn outgoing(&mut self, request: &Request) -> Result<Outgoing, ErrorCode> {
        let body = C2cRequest::decode(&request.body).map_err(|_| ErrorCode::UndecodableBody)?;
        let from = &request.caller.uid;
        if !body.from.is_empty() && body.from != from.as_str() {
            return Err(ErrorCode::Forbidden);
        }
        let client_msg_id = match body.client_msg_id {
            "" => None,
            id => Some(ClientMsgId::new(id).map_err(|_| ErrorCode::TooLarge)?),
        };
        Ok(Outgoing {
            origin: Origin::Link(request.caller.conn, request.ticket.seq),
            from: from.clone(),
            to: self.receiver(body.to)?,
            client_msg_id,
            content_type: ContentType(body.content_type),
            content: self.contents.cut(body.content.len(), |out| out.extend_from_slice(body.content)),
        })
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

fn accepted(placed: &Placed, bodies: &mut Pieces) -> bytes::Bytes {
    let Placed { msgid, sent_at, home, .. } = placed;
    let body = C2cAccepted { msgid: msgid.0, timestamp: sent_at.0, version: home.0 };
    bodies.cut(body.len(), |out| body.encode(out))
}
