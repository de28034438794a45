//! How far a send is, for a person who watches.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A line on standard error, if that is a terminal; otherwise nothing.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Begins, with messages that wait already.
    pub(crate) fn new(waiting: usize) -> Self {
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} acknowledged, {per_sec} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr()).with_style(style);
        bar.inc_length(u64::try_from(waiting).unwrap_or(0));
        Self { bar }
    }

    /// One more is to be sent.
    pub(crate) fn taken(&self) {
        self.bar.inc_length(1);
    }

    /// One more was answered.
    pub(crate) fn answered(&self) {
        self.bar.inc(1);
    }

    /// What there is to say.
    pub(crate) fn say(&self, words: String) {
        self.bar.set_message(words);
    }

    /// Prints a line about something that went wrong, above the progress if that is shown.
    pub(crate) fn complain(&self, words: &str) {
        self.bar.suspend(|| {
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "im-chat: {words}");
        });
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
