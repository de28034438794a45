use std::fmt::Debug;

use crate::ports::LockError;
use crate::router::{BusError, RouteError};
use crate::storage::{StoreError, StoreErrorKind};

/// What playing a case comes to.
pub type Outcome = Result<(), Failure>;

/// Why a case failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Something else came than the contract says.
    #[error("{what}: expected {expected}, but got {came}")]
    Differs {
        /// What was looked at.
        what: String,
        /// What the contract says, shortened.
        expected: String,
        /// What came, shortened.
        came: String,
    },
    /// The bench cannot bring about what the case needs: it was not played to its end, and the report says so.
    #[error("not tried: {0}")]
    NotTried(&'static str),
    /// A store call failed that had to succeed.
    #[error("a call that had to succeed failed: {0}")]
    Store(#[from] StoreError),
    /// A router call failed that had to succeed.
    #[error("a call that had to succeed failed: {0}")]
    Route(#[from] RouteError),
    /// A bus call failed that had to succeed.
    #[error("a call that had to succeed failed: {0}")]
    Bus(#[from] BusError),
    /// A call for a lock failed that had to succeed.
    #[error("a call that had to succeed failed: {0}")]
    Lock(#[from] LockError),
}

/// `came` has to equal `expected`.
pub(super) fn same<T: PartialEq + Debug>(what: impl Into<String>, came: T, expected: T) -> Outcome {
    match came == expected {
        true => Ok(()),
        false => {
            Err(Failure::Differs { what: what.into(), expected: shorten(&expected), came: shorten(&came) })
        }
    }
}

/// `result` has to be an error of `kind`.
pub(super) fn refused<T: Debug>(
    what: impl Into<String>,
    result: Result<T, StoreError>,
    kind: StoreErrorKind,
) -> Outcome {
    match result {
        Err(error) => same(what, error.kind(), kind),
        Ok(came) => Err(Failure::Differs {
            what: what.into(),
            expected: format!("the error {kind:?}"),
            came: shorten(&came),
        }),
    }
}

/// A value's debug form, cut where it would fill a screen.
fn shorten(value: &impl Debug) -> String {
    const LONGEST: usize = 600;
    let text = format!("{value:?}");
    match text.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{}… ({} bytes)", &text[..cut], text.len()),
        None => text,
    }
}
