//! Offline pull and incremental sync: both read the user's own timeline.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use im_proto::ErrorCode;
use im_proto::v1::{PullMsg, PullRequest, PullResponse, SyncRequest, SyncResponse};
use prost::Message as _;

use super::reply;
use crate::id::Version;
use crate::logic::{Logic, PageAsk};
use crate::message::{Entry, Target};
use crate::session::{Reply, Request};
use crate::storage::Page;

/// Acknowledges everything up to the offset for this device and returns what comes after it.
pub(super) fn pull(logic: &Arc<Logic>, requests: Vec<Request>) -> BoxFuture<'static, Vec<Reply>> {
    let ask = |request: &Request| {
        let body = PullRequest::decode(request.body.clone()).map_err(|_| ErrorCode::UndecodableBody)?;
        if !body.uid.is_empty() && body.uid != request.caller.uid.as_str() {
            return Err(ErrorCode::Forbidden);
        }
        Ok(own(request, body.offset, None, body.limit))
    };
    let holds = logic.clone();
    let answer = move |request: &Request, after, page: Page| {
        holds.holds(&request.caller, after);
        let (msgs, next_offset, head) = told(&page, after);
        reply::ok_up_to(
            request,
            page.head,
            &PullResponse { msgs, next_offset, head, ..PullResponse::default() },
        )
    };
    read(logic.clone(), requests, ask, answer).boxed()
}

/// Everything in begin < version ≤ end, and no acknowledgement.
pub(super) fn sync(logic: &Arc<Logic>, requests: Vec<Request>) -> BoxFuture<'static, Vec<Reply>> {
    let ask = |request: &Request| {
        let body = SyncRequest::decode(request.body.clone()).map_err(|_| ErrorCode::UndecodableBody)?;
        if body.group != 0 {
            return Err(ErrorCode::NotFound);
        }
        let until = (body.end > 0).then_some(Version(body.end));
        Ok(own(request, body.begin, until, body.limit))
    };
    let answer = |request: &Request, after, page: Page| {
        let (msgs, next_offset, head) = told(&page, after);
        reply::ok_up_to(
            request,
            page.head,
            &SyncResponse { msgs, next_offset, head, ..SyncResponse::default() },
        )
    };
    read(logic.clone(), requests, ask, answer).boxed()
}

async fn read(
    logic: Arc<Logic>,
    requests: Vec<Request>,
    ask: impl Fn(&Request) -> Result<PageAsk, ErrorCode>,
    answer: impl Fn(&Request, Version, Page) -> Reply,
) -> Vec<Reply> {
    let mut asked = Vec::with_capacity(requests.len());
    let mut asks = Vec::with_capacity(requests.len());
    let mut replies = Vec::new();
    for request in requests {
        match ask(&request) {
            Ok(ask) => {
                asked.push((request, ask.after));
                asks.push(ask);
            }
            Err(code) => replies.push(reply::error(&request, code)),
        }
    }
    for ((request, after), page) in asked.into_iter().zip(logic.read(asks).await) {
        replies.push(match page {
            Ok(page) => answer(&request, after, page),
            Err(code) => reply::error(&request, code),
        });
    }
    replies
}

/// A page of the caller's own timeline.
fn own(request: &Request, after: i64, until: Option<Version>, limit: i32) -> PageAsk {
    let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0);
    PageAsk {
        until,
        limit,
        told: request.told,
        ..PageAsk::after(request.caller.uid.clone(), Version(after.max(0)))
    }
}

/// What both responses say: the messages, where the reader goes on, and the head. A page without entries has nothing in its range, so
/// the offset stays.
fn told(page: &Page, after: Version) -> (Vec<PullMsg>, i64, i64) {
    let next = page.entries.last().map_or(after, |last| last.version);
    (page.entries.iter().map(pull_msg).collect(), next.0, page.head.0)
}

fn pull_msg(entry: &Entry) -> PullMsg {
    let message = &entry.message;
    let (to, group) = match &message.to {
        Target::User(uid) => (uid.as_str().to_owned(), 0),
        Target::Group(group) => (String::new(), group.0),
    };
    PullMsg {
        from: message.from.as_str().to_owned(),
        group,
        content: message.content.clone(),
        msgid: message.msgid.0,
        cmdid: i32::try_from(message.kind.0).unwrap_or(i32::MAX),
        send_time: message.sent_at.0,
        version: entry.version.0,
        content_type: message.content_type.0,
        client_msg_id: message.key.client_msg_id().map_or_else(String::new, |id| id.as_str().to_owned()),
        to,
        withdraw_time: entry.withdrawn_at.map_or(0, |at| at.0),
        ..PullMsg::default()
    }
}
