use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::disk::{Disk, RealDisk};
use super::{LogImport, LogStore, OpenError, import, open};

/// How to open a [`LogStore`].
#[derive(Clone, Debug)]
pub struct LogOptions {
    pub(super) dir: PathBuf,
    pub(super) segment_bytes: u64,
    pub(super) checkpoint_messages: usize,
    pub(super) checkpoint_bytes: u64,
    pub(super) queue_bytes: usize,
    pub(super) deadline: Duration,
    pub(super) max_bytes: Option<u64>,
    pub(super) disk: Arc<dyn Disk>,
}

impl LogOptions {
    /// The defaults, for a store in the directory `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            segment_bytes: 256 << 20,
            checkpoint_messages: 250_000,
            checkpoint_bytes: 256 << 20,
            queue_bytes: 64 << 20,
            deadline: Duration::from_secs(5),
            max_bytes: None,
            disk: Arc::new(RealDisk),
        }
    }

    /// How large a file of the log gets before the next one is begun: 256 MiB, so that a terabyte is four thousand open files. At least 64 KiB,
    /// at most 2 GiB.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes.clamp(64 << 10, 2 << 30);
        self
    }

    /// After how many messages, at least 1, what is in memory is moved into the index on the disk. 250,000: some 40 MiB, and what a start after a crash
    /// reads from the log in a few tenths of a second.
    #[must_use]
    pub fn checkpoint_messages(mut self, messages: usize) -> Self {
        self.checkpoint_messages = messages.max(1);
        self
    }

    /// The same by what the log has grown: 256 MiB, for large messages and for acks.
    #[must_use]
    pub fn checkpoint_bytes(mut self, bytes: u64) -> Self {
        self.checkpoint_bytes = bytes.max(1);
        self
    }

    /// How much may wait for the writer; calls beyond are `Unavailable` at once. 64 MiB.
    #[must_use]
    pub fn queue_bytes(mut self, bytes: usize) -> Self {
        // A batch's length has 32 bits.
        self.queue_bytes = bytes.min(1 << 30);
        self
    }

    /// How long any call may take, its wait for the writer included; then it is `Unavailable`. 5 s: as long as a
    /// client waits for an ack before it resends.
    #[must_use]
    pub fn call_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The most that the log may take; what would need more is `Unavailable`. None: the disk is the limit. The index comes on top, about a
    /// tenth.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Begins an import into the store, and creates it if there is none. One that holds nothing will do; of an earlier import that was not finished,
    /// everything is removed. The deadline is not used.
    ///
    /// # Cancel safety
    /// As [`open`](Self::open); what is left is empty, or an unfinished copy.
    ///
    /// # Errors
    /// [`OpenError`], with [`OpenError::NotEmpty`] for a store that holds something.
    pub async fn import(self) -> Result<LogImport, OpenError> {
        let path = self.dir.clone();
        let begun = tokio::task::spawn_blocking(|| import::begin(self)).await;
        begun.unwrap_or_else(|error| Err(OpenError::Io { path, source: std::io::Error::other(error) }))
    }

    /// Opens the store, and creates it if there is none. The directory that its directory is in has to exist.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop a thread that opens already: the store is in use until that has ended. A crash leaves a store that opens. Repeating is harmless.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(self) -> Result<LogStore, OpenError> {
        let path = self.dir.clone();
        let opened = tokio::task::spawn_blocking(|| open::open(self)).await;
        opened.unwrap_or_else(|error| Err(OpenError::Io { path, source: std::io::Error::other(error) }))
    }
}
