//! What clients ask, command by command: a body is decoded, a use-case is asked, and its answer is encoded. The use-cases know
//! neither bodies nor links.

mod c2c;
mod noop;
mod own;
mod pull;
mod reply;
mod room;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use im_proto::{CmdId, ErrorCode};

pub use self::own::Command;
use super::Logic;
use crate::session::{Reply, Request};

/// Serves the requests of a turn for one command. What keeps the order of a link is done before it returns.
type Handler = fn(&Arc<Logic>, Vec<Request>) -> BoxFuture<'static, Vec<Reply>>;

/// Commands, and who serves them. Those of one handler are served together, in the order in which they came.
const HANDLERS: [(&[CmdId], Handler); 5] = [
    (&[CmdId::C2C_SEND], c2c::send),
    (&[CmdId::PULL], pull::pull),
    (&[CmdId::SYNC], pull::sync),
    (&[CmdId::NOOP], noop::noop),
    (&[CmdId::ROOM_JOIN, CmdId::ROOM_LEAVE, CmdId::ROOM_SEND], room::serve),
];

impl Logic {
    /// The answers to requests, each group as soon as it is there.
    pub(super) fn serve_requests(
        self: &Arc<Self>,
        requests: Vec<Request>,
    ) -> impl Iterator<Item = BoxFuture<'static, Vec<Reply>>> {
        by_handler(requests).into_iter().map(|(cmd, requests)| self.serve_command(cmd, requests))
    }

    /// A panic, of a command or of an adapter, answers with [`ErrorCode::Unavailable`]: a link waits for its answers before it is read on.
    fn serve_command(self: &Arc<Self>, cmd: CmdId, requests: Vec<Request>) -> BoxFuture<'static, Vec<Reply>> {
        // The store is asked by the group commit, so that nothing of this can panic.
        if cmd == CmdId::C2C_SEND {
            return c2c::send(self, requests);
        }
        let asked: Vec<_> = requests.iter().map(|request| (request.caller.conn, request.ticket)).collect();
        let served = AssertUnwindSafe(self.answer(cmd, requests)).catch_unwind();
        async move {
            served.await.unwrap_or_else(|_| {
                tracing::error!(%cmd, "a handler panicked; its requests are answered as unavailable");
                let refuse = |(conn, ticket)| reply::error_to(conn, ticket, ErrorCode::Unavailable);
                asked.into_iter().map(refuse).collect()
            })
        }
        .boxed()
    }

    fn answer(self: &Arc<Self>, cmd: CmdId, requests: Vec<Request>) -> BoxFuture<'static, Vec<Reply>> {
        if let Some((_, handler)) = HANDLERS.iter().find(|(cmds, _)| cmds.contains(&cmd)) {
            return handler(self, requests);
        }
        let Some(command) = self.ports.commands.get(&cmd).cloned() else {
            let refuse = |request: &Request| reply::error(request, ErrorCode::UnknownCommand);
            return futures::future::ready(requests.iter().map(refuse).collect()).boxed();
        };
        let logic = self.clone();
        async move { command.serve(&logic, requests).await }.boxed()
    }
}

/// The requests of each handler, under its first command. A turn's are mostly of one, and then stay as they are.
fn by_handler(requests: Vec<Request>) -> BTreeMap<CmdId, Vec<Request>> {
    let mut handlers = BTreeMap::new();
    match requests.first().map(first_of) {
        Some(only) if requests.iter().all(|request| first_of(request) == only) => {
            handlers.insert(only, requests);
        }
        _ => requests.into_iter().for_each(|request| {
            handlers.entry(first_of(&request)).or_insert_with(Vec::new).push(request);
        }),
    }
    handlers
}

/// The first command of the request's handler.
fn first_of(request: &Request) -> CmdId {
    let cmd = request.ticket.cmd;
    let family = HANDLERS.iter().find(|(cmds, _)| cmds.contains(&cmd));
    family.and_then(|(cmds, _)| cmds.first()).copied().unwrap_or(cmd)
}
