//! Error answers, the same for every command, and what the store's errors look like to a client.

use im_proto::ErrorCode;
use im_proto::v1::ErrorResponse;
use prost::Message as _;

use crate::id::ConnId;
use crate::session::{Reply, Request, Ticket};
use crate::storage::{StoreError, StoreErrorKind};

pub(super) fn error(request: &Request, code: ErrorCode) -> Reply {
    request.refuse(code)
}

/// The answer to a request that is not at hand any more.
pub(super) fn unavailable(conn: ConnId, ticket: Ticket) -> Reply {
    let body = ErrorResponse::from(ErrorCode::Unavailable);
    Reply { conn, ticket, body: body.encode_to_vec().into() }
}

pub(super) fn ok(request: &Request, body: &impl prost::Message) -> Reply {
    request.reply(body.encode_to_vec().into())
}

/// The answer for a client. What the driver said goes to the log, not to the client.
pub(super) fn store_error(request: &Request, failure: &StoreError) -> Reply {
    error(request, code(failure))
}

fn code(failure: &StoreError) -> ErrorCode {
    match failure.kind() {
        StoreErrorKind::KeyReused => ErrorCode::ClientMsgIdReused,
        StoreErrorKind::AheadOfHead => ErrorCode::VersionAheadOfHead,
        StoreErrorKind::Unavailable | StoreErrorKind::OutOfOrder => ErrorCode::Unavailable,
        StoreErrorKind::MsgIdReused | StoreErrorKind::LeaseLost | StoreErrorKind::Corrupt => {
            tracing::error!(error = failure as &dyn std::error::Error, "the store is not as it should be");
            ErrorCode::Unavailable
        }
    }
}
