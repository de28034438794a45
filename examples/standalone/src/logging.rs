use tracing_subscriber::EnvFilter;

/// Sends the log to standard error, so that standard output has contract lines only. `filter` has been checked.
pub(crate) fn start(filter: &str) {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
}
