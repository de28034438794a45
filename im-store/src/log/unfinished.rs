//! A mark on a store that is being filled, as long as that is not finished.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::file::sync_directory;

fn file(dir: &Path) -> PathBuf {
    dir.join("unfinished-import")
}

/// Whether the store was begun to be filled and is not full yet.
pub(super) fn is_marked(dir: &Path) -> bool {
    file(dir).exists()
}

/// Marks it; durable.
pub(super) fn mark(dir: &Path) -> io::Result<()> {
    File::create(file(dir))?.sync_all()?;
    sync_directory(&file(dir))
}

/// It is full; durable.
pub(super) fn unmark(dir: &Path) -> io::Result<()> {
    fs::remove_file(file(dir))?;
    sync_directory(&file(dir))
}
