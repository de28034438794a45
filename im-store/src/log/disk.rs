//! Opening files so that what is read from them is what the disk has.
//!
//! When a write fails, Linux marks its pages clean and keeps them. Until the cache needs the room, a reader finds bytes that
//! the disk does not have. An fsync finds nothing to write, and succeeds. A store that believes such bytes answers repeats
//! from them and appends behind them; later they are gone, and what was acknowledged is gone with them. A process that
//! crashed also leaves bytes that nobody has synced yet.
//!
//! So an opening syncs a file that may hold such bytes, drops its pages from the cache, and only then reads it.
//!
//! | what is read | why |
//! |---|---|
//! | the last segment of the log | it may end in a batch whose sync failed or never came |
//! | the last but one | it may still be in use: the last one is made before the seal that promises it |
//! | `manifest`, `epoch` | small, and an operator may have copied them here a moment ago |
//! | directories | they are synced: a name may be known to the cache alone |
//!
//! No other file needs it, so a large log opens quickly:
//!
//! - An earlier segment was synced up to where the next one says that it ends, before the next one was begun. What lies
//!   behind is never read.
//! - A table is synced before a manifest names it. Other tables are removed unread.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use crate::file::sync_names;

/// How an opening reaches the disk. Tests put a page cache of their own in front of it.
pub(super) trait Disk: Debug + Send + Sync {
    /// Opens a file for reading and writing. What is read from it is what the disk has.
    fn open(&self, path: &Path) -> io::Result<File>;

    /// Makes the names in a directory durable.
    fn sync_names(&self, dir: &Path) -> io::Result<()>;
}

/// The disk of the machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path) -> io::Result<File> {
        let file = File::options().read(true).write(true).open(path)?;
        // The sync comes first: a page that is not written yet cannot be dropped.
        if let Err(error) = file.sync_all() {
            tracing::error!(%error, file = %path.display(), "what was written here last is not on the disk; the next opening reads what is");
            return Err(error);
        }
        drop_cached(&file)?;
        Ok(file)
    }

    fn sync_names(&self, dir: &Path) -> io::Result<()> {
        sync_names(dir)
    }
}

/// What the disk has of a whole file.
pub(super) fn read(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    disk.open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(target_os = "linux")]
fn drop_cached(file: &File) -> io::Result<()> {
    Ok(rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)?)
}

/// Other systems have their own ways with pages that could not be written; none of them was tried.
#[cfg(not(target_os = "linux"))]
fn drop_cached(_: &File) -> io::Result<()> {
    Ok(())
}
