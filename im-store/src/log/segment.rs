//! The files of the log: numbered from 1, each with a header that says where the one before it ends.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::codec::Input;
use crate::file::sync_directory;

/// The bytes of a segment before its first batch.
pub(super) const HEADER: u64 = 64;

/// What this version of the library writes, and the newest that it reads.
pub(super) const FORMAT: u32 = 1;

const MAGIC: [u8; 8] = *b"IMLOGSEG";

/// Where a record or a batch begins: segment and offset, ordered as they were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position(pub(super) u64);

impl Position {
    pub(super) fn new(segment: u32, offset: u64) -> Self {
        debug_assert!(offset <= u64::from(u32::MAX), "a segment is smaller than 4 GiB");
        Self(u64::from(segment) << 32 | offset)
    }

    pub(super) fn segment(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(super) fn offset(self) -> u64 {
        self.0 & u64::from(u32::MAX)
    }

    /// The place `bytes` further in the same segment.
    pub(super) fn plus(self, bytes: usize) -> Self {
        Self(self.0 + bytes as u64)
    }
}

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) number: u32,
    /// The same for all segments of a store and no other's.
    pub(super) store: u64,
    /// The number of its first batch.
    pub(super) first_seq: u64,
    /// Where the segment before it ends; what lies behind that is void.
    pub(super) previous_end: u64,
}

/// Why a file is no segment that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotASegment {
    Damaged,
    Newer(u32),
}

impl Header {
    fn to_bytes(self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.store.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first_seq.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.previous_end.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..40]);
        bytes[40..44].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, NotASegment> {
        Self::read(bytes).unwrap_or(Err(NotASegment::Damaged))
    }

    fn read(bytes: &[u8]) -> Option<Result<Self, NotASegment>> {
        let mut input = Input(bytes);
        if input.array()? != MAGIC {
            return None;
        }
        let format = input.u32()?;
        let header = Self {
            number: input.u32()?,
            store: input.u64()?,
            first_seq: input.u64()?,
            previous_end: input.u64()?,
        };
        if input.u32()? != crc32c::crc32c(&bytes[..40]) {
            return None;
        }
        Some(if format > FORMAT { Err(NotASegment::Newer(format)) } else { Ok(header) })
    }
}

/// The file of a segment.
pub(super) fn path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:08}.log"))
}

/// The number in a segment's file name.
pub(super) fn number(name: &str) -> Option<u32> {
    name.strip_suffix(".log").filter(|digits| digits.len() == 8)?.parse().ok()
}

/// Makes a segment, durably, for its owner alone. It has its name only when it has its header. What is there under its name, left by a start of a
/// segment that failed, goes.
pub(super) fn create(dir: &Path, header: Header) -> io::Result<File> {
    let (path, new) = (path(dir, header.number), dir.join("segment.new"));
    let mut options = File::options();
    let file = options.read(true).write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all_at(&header.to_bytes(), 0)?;
    file.sync_all()?;
    std::fs::rename(&new, &path)?;
    sync_directory(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: Header = Header { number: 3, store: 4, first_seq: 5, previous_end: 6 };

    #[test]
    fn a_header_survives_its_bytes_and_no_flipped_bit() {
        let mut bytes = SAMPLE.to_bytes();
        assert_eq!(Header::parse(&bytes), Ok(SAMPLE));
        for bit in 0..44 * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::parse(&bytes), Err(NotASegment::Damaged), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_header_of_a_newer_format_is_told_apart_from_damage() {
        let mut bytes = SAMPLE.to_bytes();
        bytes[8] = 9;
        let crc = crc32c::crc32c(&bytes[..40]);
        bytes[40..44].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Header::parse(&bytes), Err(NotASegment::Newer(9)));
    }

    #[test]
    fn positions_are_ordered_as_they_were_written() {
        let place = Position::new(2, 70_000);
        assert_eq!((place.segment(), place.offset()), (2, 70_000));
        assert!(Position::new(1, u64::from(u32::MAX)) < place);
        assert_eq!(place.plus(5).offset(), 70_005);
    }

    #[test]
    fn a_segments_number_stands_in_its_name() {
        assert_eq!(path(Path::new("d"), 12), Path::new("d/00000012.log"));
        assert_eq!(number("00000012.log"), Some(12));
        assert_eq!(number("12.log"), None);
        assert_eq!(number("00000012.run"), None);
    }
}
