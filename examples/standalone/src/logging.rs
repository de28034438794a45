use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

/// Sends the log to standard error, so that standard output has contract lines only.
///
/// A line that cannot be written is dropped: a full disk, or a reader that is gone, must not end a server.
pub(crate) fn start(filter: Targets) {
    let lines = fmt::layer()
        .with_writer(stderr)
        // Else a line that cannot be written is complained of on standard error too, which panics where that is gone.
        .log_internal_errors(false)
        .with_ansi(stderr().is_terminal());
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
}
