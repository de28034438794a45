//! Offline pull and incremental sync: both read the user's own timeline. What they return depends on the offset alone.

use std::sync::Arc;

use im_proto::ErrorCode;
use im_proto::v1::{PullMsg, PullRequest, PullResponse, SyncRequest, SyncResponse};
use prost::Message as _;

use super::{Logic, lock, reply};
use crate::id::Version;
use crate::message::{Entry, Target, TimelineId};
use crate::session::{Reply, Request};
use crate::storage::{Page, Read, StoreError};

/// Pull: acknowledges everything up to the offset for this device and returns what comes after it.
pub(super) async fn pull(logic: Arc<Logic>, requests: Vec<Request>) -> Vec<Reply> {
    let check = |request: &Request| {
        let body = PullRequest::decode(request.body.clone()).map_err(|_| ErrorCode::UndecodableBody)?;
        if !body.uid.is_empty() && body.uid != request.caller.uid.as_str() {
            return Err(ErrorCode::Forbidden);
        }
        Ok(logic.own(request, body.offset, None, body.limit))
    };
    let (asked, mut replies) = checked(requests, check);
    for (request, read, page) in logic.pages(asked).await {
        replies.push(match page {
            Ok(page) if read.after > page.head => reply::error(&request, ErrorCode::VersionAheadOfHead),
            Ok(page) => {
                logic.acked_by_offset(&request, read.after);
                let next_offset = next_offset(&page, read.after).0;
                let msgs = page.entries.iter().map(pull_msg).collect();
                reply::ok_up_to(
                    &request,
                    page.head,
                    &PullResponse { msgs, next_offset, head: page.head.0, ..PullResponse::default() },
                )
            }
            Err(failure) => reply::store_error(&request, &failure),
        });
    }
    replies
}

/// Sync: everything in begin < version ≤ end, and no acknowledgement.
pub(super) async fn sync(logic: Arc<Logic>, requests: Vec<Request>) -> Vec<Reply> {
    let check = |request: &Request| {
        let body = SyncRequest::decode(request.body.clone()).map_err(|_| ErrorCode::UndecodableBody)?;
        if body.group != 0 {
            return Err(ErrorCode::NotFound);
        }
        let until = (body.end > 0).then_some(Version(body.end));
        Ok(logic.own(request, body.begin, until, body.limit))
    };
    let (asked, mut replies) = checked(requests, check);
    for (request, read, page) in logic.pages(asked).await {
        replies.push(match page {
            Ok(page) if read.after > page.head => reply::error(&request, ErrorCode::VersionAheadOfHead),
            Ok(page) => {
                let next_offset = next_offset(&page, read.after).0;
                let msgs = page.entries.iter().map(pull_msg).collect();
                reply::ok_up_to(
                    &request,
                    page.head,
                    &SyncResponse { msgs, next_offset, head: page.head.0, ..SyncResponse::default() },
                )
            }
            Err(failure) => reply::store_error(&request, &failure),
        });
    }
    replies
}

fn checked(
    requests: Vec<Request>,
    check: impl Fn(&Request) -> Result<Read, ErrorCode>,
) -> (Vec<(Request, Read)>, Vec<Reply>) {
    let mut asked = Vec::with_capacity(requests.len());
    let mut refused = Vec::new();
    for request in requests {
        match check(&request) {
            Ok(read) => asked.push((request, read)),
            Err(code) => refused.push(reply::error(&request, code)),
        }
    }
    (asked, refused)
}

/// Where the reader goes on: behind the page's last entry. A page without entries has nothing in its range, so the offset stays.
fn next_offset(page: &Page, after: Version) -> Version {
    page.entries.last().map_or(after, |last| last.version)
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

impl Logic {
    /// A page of the caller's own timeline, within the policy's bounds. Whoever answers has at least what the link was told of, so that no head goes back.
    fn own(&self, request: &Request, after: i64, until: Option<Version>, limit: i32) -> Read {
        let limit = match usize::try_from(limit) {
            Ok(limit) if limit > 0 => limit.min(self.policy.max_page),
            _ => self.policy.default_page,
        };
        let after = Version(after.max(0));
        Read {
            timeline: TimelineId::User(request.caller.uid.clone()),
            after,
            until,
            limit,
            max_bytes: self.policy.page_bytes,
            least: Some(request.told.max(after)),
        }
    }

    async fn pages(&self, asked: Vec<(Request, Read)>) -> Vec<(Request, Read, Result<Page, StoreError>)> {
        let reads = asked.iter().map(|(_, read)| read.clone()).collect();
        let pages = self.ports.store.read(reads).await;
        asked.into_iter().zip(pages).map(|((request, read), page)| (request, read, page)).collect()
    }

    fn acked_by_offset(&self, request: &Request, offset: Version) {
        let caller = &request.caller;
        if offset > Version::ZERO {
            lock(&self.acks).up_to(&caller.uid, &caller.device, offset);
            lock(&self.deliveries).acked(self.ports.clock.tick(), &caller.uid, offset);
        }
    }
}
