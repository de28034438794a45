//! Error answers, the same for every command, and what the store's errors look like to a client.

use im_proto::ErrorCode;
use im_proto::v1::ErrorResponse;

use crate::id::{ConnId, Version};
use crate::session::{Reply, Request, Ticket};
use crate::storage::{StoreError, StoreErrorKind};

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

/// The answer for a client. What the driver said goes to the log, not to the client.
pub(super) fn store_error(request: &Request, failure: &StoreError) -> Reply {
    error(request, code(failure))
}

/// The answer to a request that is not at hand any more.
pub(super) fn to(conn: ConnId, ticket: Ticket, body: &impl prost::Message) -> Reply {
    Reply { conn, ticket, told: Version::ZERO, body: body.encode_to_vec().into() }
}

/// As [`to`], with an error.
pub(super) fn error_to(conn: ConnId, ticket: Ticket, code: ErrorCode) -> Reply {
    to(conn, ticket, &ErrorResponse::from(code))
}

pub(super) fn code(failure: &StoreError) -> ErrorCode {
    match failure.kind() {
        StoreErrorKind::KeyReused => ErrorCode::ClientMsgIdReused,
        StoreErrorKind::Forbidden => ErrorCode::Forbidden,
        StoreErrorKind::AheadOfHead => ErrorCode::VersionAheadOfHead,
        StoreErrorKind::Unavailable | StoreErrorKind::OutOfOrder | StoreErrorKind::Moved => {
            ErrorCode::Unavailable
        }
        StoreErrorKind::MsgIdReused | StoreErrorKind::LeaseLost | StoreErrorKind::Corrupt => {
            tracing::error!(error = failure as &dyn std::error::Error, "the store is not as it should be");
            ErrorCode::Unavailable
        }
    }
}
