use std::io;
use std::sync::Arc;

use im_core::storage::{StoreError, StoreErrorKind};

use super::segment::Position;

/// Why a call failed.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The operating system said no.
    #[error(transparent)]
    Io(#[from] Arc<io::Error>),
    /// The log may not grow any more.
    #[error("the log is full: it may take {0} bytes")]
    Full(u64),
    /// A record is not what was written there.
    #[error("the log's segment {}, offset {} holds no such record", .0.segment(), .0.offset())]
    BadRecord(Position),
    /// A table of the index is not what was written there.
    #[error(
        "the index's table {0} is damaged; without the index directory the next start makes a new one from the log"
    )]
    BadTable(u64),
    /// More waits to be written than memory is given for.
    #[error("too much waits to be written")]
    Busy,
    /// As much is in memory as may be, and cannot be moved into the index.
    #[error("the index cannot be written, and memory holds as much as it may")]
    IndexFails,
    /// The call took too long.
    #[error("the call's deadline passed")]
    DeadlinePassed,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// What is asked for has to be fetched from the disk, which this caller does not wait for. Never leaves the store.
    #[error("not in memory")]
    WouldBlock,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

impl Fault {
    pub(super) fn into_error(self, operation: &'static str) -> StoreError {
        let kind = match &self {
            Self::BadRecord(_) | Self::BadTable(_) => StoreErrorKind::Corrupt,
            _ => StoreErrorKind::Unavailable,
        };
        StoreError::new(kind, operation).caused_by(self)
    }
}
