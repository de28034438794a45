use std::error::Error;
use std::fmt;
use std::fs::OpenOptions;
use std::io::Write as _;

use super::Failure;

/// What a suite found.
#[derive(Debug, Default)]
pub struct Report {
    /// How many cases were played.
    pub cases: usize,
    /// Those that failed.
    pub failed: Vec<Failed>,
    /// Those that the bench could not bring about: what they try is not shown.
    pub not_tried: Vec<Failed>,
}

/// A case that an adapter does not pass, or that its bench cannot play.
#[derive(Debug)]
pub struct Failed {
    /// The case.
    pub name: &'static str,
    /// The trait and the method.
    pub method: &'static str,
    /// The line of its contract that was broken.
    pub contract: &'static str,
    /// What came instead.
    pub failure: Failure,
}

impl Report {
    /// Whether the adapter keeps every contract that was tried.
    pub fn passed(&self) -> bool {
        self.failed.is_empty()
    }

    /// Adds a line to the file that the environment's `IM_CONFORMANCE` names, if it names one: the adapter (with the server below it, in a few words),
    /// the suite, how many cases were played, failed, and were not tried, with tabs between.
    ///
    /// # Panics
    /// If the line cannot be written.
    pub fn record(&self, adapter: &str, suite: &str) {
        let Some(path) = std::env::var_os("IM_CONFORMANCE") else { return };
        let (failed, not_tried) = (self.failed.len(), self.not_tried.len());
        let line = format!("{adapter}\t{suite}\t{}\t{failed}\t{not_tried}\n", self.cases);
        let file = OpenOptions::new().create(true).append(true).open(path);
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        assert!(written.is_ok(), "IM_CONFORMANCE: {written:?}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failed in &self.failed {
            writeln!(f, "{failed}")?;
        }
        for not_tried in &self.not_tried {
            writeln!(f, "case {}: {}", not_tried.name, not_tried.failure)?;
        }
        write!(f, "{} of {} cases failed, {} not tried", self.failed.len(), self.cases, self.not_tried.len())
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "case {} failed: {}", self.name, self.failure)?;
        // A failure that is an error says what that says; what the driver said is behind it.
        let mut cause = self.failure.source().and_then(Error::source);
        while let Some(error) = cause {
            writeln!(f, "  because: {error}")?;
            cause = error.source();
        }
        writeln!(f, "  contract of {}: {}", self.method, self.contract)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{StoreError, StoreErrorKind};

    #[test]
    fn a_failed_call_shows_what_the_driver_said() {
        let error =
            StoreError::new(StoreErrorKind::Unavailable, "append").caused_by("no such table: entries");
        let failed = Failed { name: "a_case", method: "M::m", contract: "It works.", failure: error.into() };
        let shown = failed.to_string();
        assert!(
            shown.contains("append: the store is unavailable\n  because: no such table: entries\n"),
            "{shown}"
        );
    }
}
