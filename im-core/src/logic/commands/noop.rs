//! Noop with the timeline's head in its reply, for clients that asked for it at auth.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use im_proto::v1::NoopReply;

use super::reply;
use crate::logic::Logic;
use crate::session::{Reply, Request};

pub(super) fn noop(logic: &Arc<Logic>, requests: Vec<Request>) -> BoxFuture<'static, Vec<Reply>> {
    let logic = logic.clone();
    async move {
        let users = requests.iter().map(|request| request.caller.uid.clone()).collect();
        // A heartbeat that fails would break the link; the version is only a hint.
        let Ok(heads) = logic.heads(users).await else {
            return requests.iter().map(|request| request.reply(bytes::Bytes::new())).collect();
        };
        let answer = |(request, head): (&Request, crate::storage::Head)| {
            let body = NoopReply { version: head.head.0, ..NoopReply::default() };
            reply::ok_up_to(request, head.head, &body)
        };
        requests.iter().zip(heads).map(answer).collect()
    }
    .boxed()
}
