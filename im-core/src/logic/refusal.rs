//! What the store's errors look like to whoever asked.

use im_proto::ErrorCode;

use crate::storage::{StoreError, StoreErrorKind};

/// The answer. What the driver said goes to the log alone.
pub(super) fn refusal(failure: &StoreError) -> ErrorCode {
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
