//! Which tables the index has, and up to where in the log they reach. Replaced whole, by renaming.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::codec::Input;
use super::disk::{self, Disk};
use super::segment::Position;
use super::tail::End;
use crate::file::sync_directory;

const MAGIC: [u8; 8] = *b"IMINDEX1";

/// What the index consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    /// The store that it belongs to.
    pub(super) store: u64,
    /// Everything before is in the tables.
    pub(super) covered: End,
    /// Their numbers and levels, the oldest first.
    pub(super) tables: Vec<(u64, u8)>,
}

/// The file of a table.
pub(super) fn table_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.table"))
}

/// The number in a table's file name.
pub(super) fn table_number(name: &str) -> Option<u64> {
    name.strip_suffix(".table")?.parse().ok()
}

impl Manifest {
    /// Reads it; `None` if there is none, or a damaged one.
    pub(super) fn load(dir: &Path, disk: &dyn Disk) -> io::Result<Option<Self>> {
        match disk::read(disk, &path(dir)) {
            Ok(bytes) => Ok(Self::parse(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes it the one that holds, durably.
    pub(super) fn save(&self, dir: &Path) -> io::Result<()> {
        let (path, new) = (path(dir), dir.join("manifest.new"));
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&self.to_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, &path)?;
        sync_directory(&path)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for number in [self.store, self.covered.position.0, self.covered.next_seq, self.tables.len() as u64] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for (number, level) in &self.tables {
            bytes.extend_from_slice(&number.to_le_bytes());
            bytes.push(*level);
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (bytes, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
        let mut input = Input(bytes);
        if crc32c::crc32c(bytes).to_le_bytes() != crc || input.array()? != MAGIC {
            return None;
        }
        let store = input.u64()?;
        let covered = End { position: Position(input.u64()?), next_seq: input.u64()? };
        let count = input.u64()?;
        let tables = (0..count).map(|_| Some((input.u64()?, input.u8()?))).collect::<Option<_>>()?;
        Some(Self { store, covered, tables })
    }
}

/// The file.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("manifest")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_survives_its_bytes_and_no_flipped_bit() {
        let covered = End { position: Position(3), next_seq: 4 };
        let manifest = Manifest { store: 1, covered, tables: vec![(5, 0), (6, 1)] };
        let mut bytes = manifest.to_bytes();
        assert_eq!(Manifest::parse(&bytes), Some(manifest));
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Manifest::parse(&bytes), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
