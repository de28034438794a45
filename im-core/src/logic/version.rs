//! Noop with the timeline's head in its reply, for clients that asked for it at auth.

use std::sync::Arc;

use im_proto::v1::NoopReply;

use super::{Logic, reply};
use crate::message::TimelineId;
use crate::session::{Reply, Request};

pub(super) async fn noop(logic: Arc<Logic>, requests: Vec<Request>) -> Vec<Reply> {
    let timelines = requests.iter().map(|request| TimelineId::User(request.caller.uid.clone())).collect();
    match logic.ports.store.heads(timelines).await {
        Ok(heads) => {
            let answer = |(request, head): (&Request, crate::storage::Head)| {
                reply::ok_up_to(
                    request,
                    head.head,
                    &NoopReply { version: head.head.0, ..NoopReply::default() },
                )
            };
            requests.iter().zip(heads).map(answer).collect()
        }
        // A heartbeat that fails would break the link; the version is only a hint.
        Err(_) => requests.iter().map(|request| request.reply(bytes::Bytes::new())).collect(),
    }
}
