//! The store's epoch, in a file of its own beside the log: it changes where a backup was put back, and the log as it is stays valid.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use im_core::id::StoreEpoch;
use im_core::storage::{Epochs, StoreError};
use im_core::time::Timestamp;

use super::codec::Input;
use super::disk::{self, Disk};
use super::queue::Job;
use super::{Fault, LogStore};
use crate::file::sync_directory;

const MAGIC: [u8; 8] = *b"IMEPOCH1";

/// The file, and what is in it. Without a file the epoch is 0.
#[derive(Debug)]
pub(super) struct EpochFile {
    path: PathBuf,
    held: Mutex<StoreEpoch>,
}

impl EpochFile {
    /// Reads it; `None` if it is not what was written.
    pub(super) fn load(dir: &Path, disk: &dyn Disk) -> io::Result<Option<Self>> {
        let path = dir.join("epoch");
        let held = match disk::read(disk, &path) {
            Ok(bytes) => parse(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(StoreEpoch::default()),
            Err(error) => return Err(error),
        };
        Ok(held.map(|held| Self { path, held: Mutex::new(held) }))
    }

    pub(super) fn held(&self) -> StoreEpoch {
        *self.lock()
    }

    /// Makes it the next one, durably.
    fn bump(&self, now: Timestamp) -> io::Result<StoreEpoch> {
        let mut held = self.lock();
        let next = held.after(now);
        self.save(next)?;
        *held = next;
        Ok(next)
    }

    fn save(&self, epoch: StoreEpoch) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&bytes(epoch))?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        sync_directory(&self.path)
    }

    /// What it guards is one number: a panic elsewhere leaves it whole.
    fn lock(&self) -> MutexGuard<'_, StoreEpoch> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Epochs for LogStore {
    async fn epoch(&self) -> Result<StoreEpoch, StoreError> {
        match self.shared.queue.is_closed() {
            false => Ok(self.epoch.held()),
            true => Err(Fault::Closed.into_error("epoch")),
        }
    }

    async fn bump_epoch(&self, now: Timestamp) -> Result<StoreEpoch, StoreError> {
        // The floor comes first: one that was raised in vain harms nobody.
        let raised = self.write(|answer| Job::RaiseFloor(now, answer)).await;
        raised.map_err(|fault| fault.into_error("bump_epoch"))??;
        self.bump(now).await.map_err(|fault| fault.into_error("bump_epoch"))
    }
}

impl LogStore {
    async fn bump(&self, now: Timestamp) -> Result<StoreEpoch, Fault> {
        if self.shared.queue.is_closed() {
            return Err(Fault::Closed);
        }
        let file = Arc::clone(&self.epoch);
        let bumping = tokio::task::spawn_blocking(move || file.bump(now));
        match tokio::time::timeout(self.deadline, bumping).await {
            Ok(Ok(bumped)) => Ok(bumped?),
            Ok(Err(_)) => Err(Fault::Closed),
            Err(_) => Err(Fault::DeadlinePassed),
        }
    }
}

fn bytes(epoch: StoreEpoch) -> Vec<u8> {
    let mut bytes = [&MAGIC[..], &epoch.0.to_le_bytes()].concat();
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

fn parse(bytes: &[u8]) -> Option<StoreEpoch> {
    let (bytes, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    let mut input = Input(bytes);
    if crc32c::crc32c(bytes).to_le_bytes() != crc || input.array()? != MAGIC {
        return None;
    }
    Some(StoreEpoch(i32::from_le_bytes(input.array()?)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::disk::RealDisk;
    use super::*;

    #[test]
    fn an_epoch_survives_its_bytes_and_no_flipped_bit() {
        let mut file = bytes(StoreEpoch(-7));
        assert_eq!(parse(&file), Some(StoreEpoch(-7)));
        for bit in 0..file.len() * 8 {
            file[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&file), None, "bit {bit}");
            file[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_bump_that_is_not_written_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = EpochFile::load(dir.path(), &RealDisk).unwrap().unwrap();
        std::fs::create_dir(dir.path().join("epoch.new")).unwrap();
        assert!(file.bump(Timestamp(0)).is_err());
        assert_eq!(file.held(), StoreEpoch(0));
        std::fs::remove_dir(dir.path().join("epoch.new")).unwrap();
        assert_eq!(file.bump(Timestamp(0)).unwrap(), StoreEpoch(1));
        assert_eq!(EpochFile::load(dir.path(), &RealDisk).unwrap().unwrap().held(), StoreEpoch(1));
    }
}
