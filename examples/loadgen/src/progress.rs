use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};

use crate::clock::Nanos;

/// How often a terminal's line, and how often a log's, says where a round stands.
const EVERY_ON_TERMINAL: u64 = 200_000_000;
const EVERY_IN_LOG: u64 = 5_000_000_000;

/// Says on standard error how things stand; a failure to say so is ignored.
#[derive(Debug)]
pub(crate) struct Progress {
    label: String,
    terminal: bool,
    next: Nanos,
}

impl Progress {
    pub(crate) fn new(label: String) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Progress { label, terminal, next: Nanos(if terminal { 0 } else { EVERY_IN_LOG }) }
    }

    /// Where things stand, if it is time to say so again.
    pub(crate) fn tick<T: Display>(&mut self, now: Nanos, state: impl FnOnce() -> T) {
        if now < self.next {
            return;
        }
        let every = if self.terminal { EVERY_ON_TERMINAL } else { EVERY_IN_LOG };
        self.next = Nanos(now.0 + every);
        let (start, end) = if self.terminal { ("\r\x1b[K", "") } else { ("", "\n") };
        let mut out = std::io::stderr().lock();
        let _ = write!(out, "{start}{}: {}{end}", self.label, state()).and_then(|()| out.flush());
    }

    /// A line that stays.
    pub(crate) fn note(&self, text: &str) {
        let start = if self.terminal { "\r\x1b[K" } else { "" };
        let _ = writeln!(std::io::stderr().lock(), "{start}{}: {text}", self.label);
    }
}
