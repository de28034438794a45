//! The segments that an opening finds.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;

use super::disk::Disk;
use super::refusal::Refusal;
use super::segment::{self, NotASegment};
use super::segments::{Wait, read_at};

/// A segment, its header read.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) header: segment::Header,
    pub(super) file: Arc<File>,
    pub(super) len: u64,
}

/// The segments in a directory, in order of number.
pub(super) fn segments(dir: &Path, disk: &dyn Disk) -> Result<Vec<Found>, Refusal> {
    /// How many at the end may hold what was not synced: see [`disk`](super::disk).
    const UNSURE: usize = 2;
    let numbers = numbers(dir)?;
    let open = |(place, number): (usize, &u32)| {
        let path = segment::path(dir, *number);
        let file = if numbers.len() - place <= UNSURE {
            disk.open(&path)?
        } else {
            File::options().read(true).write(true).open(&path)?
        };
        found(file, *number)
    };
    numbers.iter().enumerate().map(open).collect()
}

/// The numbers of the segments in a directory: all from 1 on.
fn numbers(dir: &Path) -> Result<Vec<u32>, Refusal> {
    let mut numbers = Vec::new();
    for file in std::fs::read_dir(dir)? {
        numbers.extend(file?.file_name().to_str().and_then(segment::number));
    }
    numbers.sort_unstable();
    match (1..).zip(&numbers).find(|(expected, number)| expected != *number) {
        Some((missing, _)) => Err(Refusal::Damaged(format!("segment {missing} of the log is missing"))),
        None => Ok(numbers),
    }
}

fn found(file: File, number: u32) -> Result<Found, Refusal> {
    let mut header = [0; 64];
    let read = read_at(&file, &mut header, 0, Wait::Disk)?;
    let header = match segment::Header::parse(&header[..read]) {
        Ok(header) => header,
        Err(NotASegment::Newer(format)) => return Err(Refusal::Newer(format)),
        Err(NotASegment::Damaged) => {
            return Err(Refusal::Damaged(format!("segment {number} of the log has no valid header")));
        }
    };
    let len = file.metadata()?.len();
    Ok(Found { header, file: Arc::new(file), len })
}

/// Begins a new store: a number that nobody can guess makes its checksums and hashes its own.
pub(super) fn first(dir: &Path) -> Result<Found, Refusal> {
    let store = RandomState::new().hash_one(std::process::id());
    let header = segment::Header { number: 1, store, first_seq: 1, previous_end: 0 };
    let file = segment::create(dir, header)?;
    Ok(Found { header, file: Arc::new(file), len: segment::HEADER })
}
