use std::fmt::Debug;
use std::time::Duration;

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
    /// The adapter, its bench or the case panicked: the adapter may have given fewer answers than it was asked for.
    #[error("panicked: {0}")]
    Panicked(String),
    /// The adapter did not answer for so long.
    #[error("nothing came within {0:?}")]
    Late(Duration),
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
            let (expected, came) = (format!("{expected:?}"), format!("{came:?}"));
            let equal = expected.chars().zip(came.chars()).take_while(|(one, other)| one == other).count();
            let what = what.into();
            Err(Failure::Differs { what, expected: excerpt(&expected, equal), came: excerpt(&came, equal) })
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
            came: excerpt(&format!("{came:?}"), 0),
        }),
    }
}

/// A text, cut where it would fill a screen: then from a little before the place where `equal` characters are over.
fn excerpt(text: &str, equal: usize) -> String {
    const LONGEST: usize = 600;
    const BEFORE: usize = 200;
    let length = text.chars().count();
    if length <= LONGEST {
        return text.to_owned();
    }
    let first = if equal + BEFORE < LONGEST { 0 } else { equal - BEFORE };
    let part: String = text.chars().skip(first).take(LONGEST).collect();
    let (before, after) = (if first > 0 { "…" } else { "" }, if first + LONGEST < length { "…" } else { "" });
    format!("{before}{part}{after} ({} bytes)", text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_values_are_shown_whole() {
        let failure = same("the bodies", "é", "e").map_err(|failure| failure.to_string());
        assert_eq!(failure, Err(r#"the bodies: expected "e", but got "é""#.to_owned()));
    }

    #[test]
    fn of_long_values_the_difference_is_shown_wherever_it_is() {
        for place in [0, 1, 599, 600, 5_000, 9_999] {
            let expected = vec![7; 10_000];
            let mut came = expected.clone();
            came[place] = 9;
            let failure = same("the numbers", came, expected).map_err(|failure| failure.to_string());
            let text = failure.expect_err("they differ");
            assert!(text.contains('9') && text.contains("(30000 bytes)") && text.len() < 1_500, "{text}");
        }
    }

    #[test]
    fn what_is_missing_at_the_end_shows() {
        let failure =
            same("the text", "é".repeat(1_000), "é".repeat(1_001)).map_err(|failure| failure.to_string());
        let text = failure.expect_err("they differ");
        assert!(
            text.contains("…") && text.contains("(2004 bytes)") && text.contains("(2002 bytes)"),
            "{text}"
        );
    }
}
