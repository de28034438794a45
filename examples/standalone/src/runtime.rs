use std::io;

/// Runs `work` on a runtime of its own, and waits for nothing that it leaves behind.
///
/// A thread that opens a big store, or looks up a host's name, cannot be stopped: it ends with the process. Whatever it was
/// doing, it may be cut off there, as by a crash.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> io::Result<T> {
    let runtime = tokio::runtime::Runtime::new()?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    Ok(done)
}
