//! Answers, the same way for every command.

use im_proto::ErrorCode;
use im_proto::v1::ErrorResponse;

use crate::id::{ConnId, Version};
use crate::session::{Reply, Request, Ticket};

pub(super) fn error(request: &Request, code: ErrorCode) -> Reply {
    request.refuse(code)
}

pub(super) fn ok(request: &Request, body: &impl prost::Message) -> Reply {
    to(request.caller.conn, request.ticket, body)
}

/// As [`ok`], with a body that says up to where the caller's own timeline goes.
pub(super) fn ok_up_to(request: &Request, told: Version, body: &impl prost::Message) -> Reply {
    Reply { told, ..ok(request, body) }
}

/// The answer to a request that is not at hand any more.
fn to(conn: ConnId, ticket: Ticket, body: &impl prost::Message) -> Reply {
    Reply { conn, ticket, told: Version::ZERO, body: body.encode_to_vec().into() }
}

/// As [`error`], to a request that is not at hand any more.
pub(super) fn error_to(conn: ConnId, ticket: Ticket, code: ErrorCode) -> Reply {
    to(conn, ticket, &ErrorResponse::from(code))
}
