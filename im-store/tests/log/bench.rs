use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use im_core::storage::{Exportable, Import, Store};
use im_core::testing::conformance::{Refused, StoreBench, TransferBench};
use im_store::log::{LogOptions, LogStore};
use tempfile::TempDir;
use tokio::sync::Mutex;

pub(crate) type Subject = LogStore;

/// Opens a store for the tests that every store of its kind has to pass: with files so small, and a memory so short, that all of it is in
/// use.
pub(crate) async fn open_subject(path: &Path) -> Subject {
    LogOptions::new(path).segment_bytes(1 << 20).checkpoint_messages(500).open().await.unwrap()
}

/// A store in a directory of its own.
pub(crate) struct LogBench {
    dir: TempDir,
    checkpoint_messages: usize,
    open: Mutex<Option<Arc<LogStore>>>,
}

impl Default for LogBench {
    fn default() -> Self {
        Self::with_checkpoints_after(100_000)
    }
}

impl LogBench {
    pub(crate) fn with_checkpoints_after(messages: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, checkpoint_messages: messages, open: Mutex::default() }
    }

    fn options(&self) -> LogOptions {
        let options = LogOptions::new(self.dir.path().join("store")).segment_bytes(64 << 10);
        options.checkpoint_messages(self.checkpoint_messages)
    }

    async fn close(&self) {
        if let Some(store) = self.open.lock().await.take() {
            store.close().await;
        }
    }

    /// Where the log's next file would be.
    fn next_segment(&self) -> PathBuf {
        let dir = self.dir.path().join("store/log");
        let files = fs::read_dir(&dir).unwrap().map(|file| file.unwrap().path());
        let segments =
            files.filter(|path| path.is_file() && path.extension().is_some_and(|kind| kind == "log"));
        dir.join(format!("{:08}.log", segments.count() + 1))
    }
}

#[async_trait]
impl StoreBench for LogBench {
    async fn open(&self) -> Arc<dyn Store> {
        let store = Arc::new(self.options().open().await.unwrap());
        *self.open.lock().await = Some(store.clone());
        store
    }

    async fn reopen(&self) -> Arc<dyn Store> {
        self.close().await;
        StoreBench::open(self).await
    }

    /// Nothing can be written where there is a directory already.
    async fn fail_writes(&self, failing: bool) -> bool {
        if failing {
            fs::create_dir(self.next_segment()).unwrap();
        } else {
            fs::remove_dir(self.next_segment()).unwrap();
        }
        true
    }
}

#[async_trait]
impl TransferBench for LogBench {
    async fn open(&self) -> Result<Arc<dyn Exportable>, Refused> {
        self.close().await;
        let store = Arc::new(self.options().open().await?);
        *self.open.lock().await = Some(store.clone());
        Ok(store)
    }

    async fn import(&self) -> Result<Box<dyn Import>, Refused> {
        self.close().await;
        Ok(Box::new(self.options().import().await?))
    }
}
