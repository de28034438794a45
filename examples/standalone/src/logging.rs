use tracing_subscriber::EnvFilter;

/// Sends the log to standard error, so that standard output has contract lines only. `filter` has been checked.
///
/// A line that cannot be written is dropped: a full disk, or a reader that is gone, must not end a server.
pub(crate) fn start(filter: &str) {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        // Else a line that cannot be written is complained of on standard error too, which panics where that is gone.
        .log_internal_errors(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
}
