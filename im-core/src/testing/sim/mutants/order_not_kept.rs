//! A server that takes every send for one of another link never sees that an earlier one of its conversation failed.

use std::collections::BTreeMap;
use std::sync::Arc;

use im_proto::CmdId;

use super::GateTap;
use crate::id::ConnId;
use crate::session::{Caller, Reply, Request};

#[derive(Default)]
pub(super) struct Gate {
    links: BTreeMap<ConnId, ConnId>,
}

impl GateTap for Gate {
    fn request(&mut self, request: Request) -> Request {
        if request.ticket.cmd != CmdId::C2C_SEND {
            return request;
        }
        let one_of_its_own = ConnId(-1 - i64::try_from(self.links.len()).unwrap_or(0));
        self.links.insert(one_of_its_own, request.caller.conn);
        let caller = Caller { conn: one_of_its_own, ..Caller::clone(&request.caller) };
        Request { caller: Arc::new(caller), ..request }
    }

    fn reply(&mut self, reply: Reply) -> Reply {
        let conn = self.links.get(&reply.conn).copied().unwrap_or(reply.conn);
        Reply { conn, ..reply }
    }
}
