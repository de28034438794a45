use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use im_core::transfer::Counts;

/// How often a terminal's line is written anew, and how often a log gets a line.
const ON_A_TERMINAL: Duration = Duration::from_millis(200);
const IN_A_LOG: Duration = Duration::from_secs(5);

/// Says on standard error how far a command is.
pub(super) struct Progress {
    /// What is being done: "copied", say.
    done: &'static str,
    start: Instant,
    /// When the messages' turn came. Timelines go first, and say nothing of the messages' pace.
    messages: Option<Instant>,
    last: Instant,
    on_a_terminal: bool,
}

impl Progress {
    pub(super) fn new(done: &'static str) -> Self {
        let start = Instant::now();
        Self { done, start, messages: None, last: start, on_a_terminal: std::io::stderr().is_terminal() }
    }

    /// Takes note of a page.
    pub(super) fn show(&mut self, counts: &Counts) {
        if counts.messages > 0 {
            self.messages.get_or_insert_with(Instant::now);
        }
        let pause = if self.on_a_terminal { ON_A_TERMINAL } else { IN_A_LOG };
        if self.last.elapsed() < pause {
            return;
        }
        self.last = Instant::now();
        let since = self.messages.unwrap_or(self.start);
        self.write(&line(self.done, counts, since.elapsed()));
    }

    /// The seconds that it took; clears a terminal's line.
    pub(super) fn end(&self) -> f64 {
        if self.on_a_terminal {
            self.write("");
        }
        self.start.elapsed().as_secs_f64()
    }

    /// Whether it can be written is of no account.
    fn write(&self, text: &str) {
        let mut stderr = std::io::stderr().lock();
        let _ = match self.on_a_terminal {
            true => write!(stderr, "\r{text}\x1b[K"),
            false => writeln!(stderr, "{text}"),
        };
        let _ = stderr.flush();
    }
}

/// `elapsed` since the messages' turn came.
fn line(done: &str, counts: &Counts, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    let Counts { users, groups, entries, entries_expected, messages, .. } = *counts;
    if messages == 0 {
        return format!("{done} {} timelines of {entries_expected} entries", users + groups);
    }
    let left = entries_expected.saturating_sub(entries);
    let eta = float(left) / (float(entries) / seconds);
    let rate = float(messages) / seconds;
    format!("{done} {messages} messages, {rate:.0}/s, about {eta:.0} s left")
}

/// Figures for people: what is lost above 2^53 does not show.
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_much_how_fast_and_how_long_yet() {
        let mut counts = Counts { users: 3, entries_expected: 400, ..Counts::default() };
        let after = Duration::from_secs(2);
        assert_eq!(line("copied", &counts, after), "copied 3 timelines of 400 entries");
        counts.messages = 50;
        counts.entries = 100;
        assert_eq!(line("copied", &counts, after), "copied 50 messages, 25/s, about 6 s left");
    }
}
