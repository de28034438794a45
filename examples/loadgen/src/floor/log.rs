use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use crate::fault::Fault;

/// An append-only file that is synced once a batch.
pub(super) struct Log {
    file: File,
    batch: Vec<u8>,
}

impl Log {
    pub(super) fn create(directory: &Path) -> Result<Self, Fault> {
        let file = File::create(directory.join("floor.log"));
        let file = file.map_err(|error| Fault::system("cannot make the floor's log", &error))?;
        Ok(Log { file, batch: Vec::new() })
    }

    pub(super) fn append(&mut self, record: &[u8]) {
        self.batch.extend_from_slice(record);
    }

    /// Makes everything appended durable; `Ok` means that it is.
    pub(super) fn sync(&mut self) -> Result<(), Fault> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.batch).and_then(|()| self.file.sync_data());
        self.batch.clear();
        written.map_err(|error| Fault::system("cannot write the floor's log", &error))
    }
}
