//! Why a store is not opened.

use std::io;

use super::Fault;
use super::replay::Stop;
use super::segment::Position;

/// Why a store was not opened, before it is known where it is.
#[derive(Debug)]
pub(super) enum Refusal {
    InUse,
    Unfinished,
    Io(io::Error),
    Damaged(String),
    Newer(u32),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Io(error) => Self::Io(io::Error::new(error.kind(), error)),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<Stop> for Refusal {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Fault(fault) => fault.into(),
            Stop::Damaged(at) => Self::damaged(at),
        }
    }
}

impl Refusal {
    /// What is at this place is not what was written there.
    pub(super) fn damaged(at: Position) -> Self {
        let (segment, offset) = (at.segment(), at.offset());
        Self::Damaged(format!("segment {segment} of the log, offset {offset}, is not what was written there"))
    }
}
