//! The log's open files, and how records are read from them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::Fault;
use super::record;
use super::segment::Position;

/// What one read fetches when nothing tells how long the record is: most are shorter.
const GUESS: usize = 1024;

/// Records that lie closer together than this are fetched by one read.
const GAP: u64 = 2048;

/// The most that one read fetches for several records.
const WINDOW: u64 = 128 << 10;

/// All segments, the first one first. Shared by the writer, which adds to them, and all readers.
#[derive(Debug, Default)]
pub(super) struct Segments {
    files: RwLock<Vec<Arc<File>>>,
    /// Where what was synced ends.
    end: AtomicU64,
}

impl Segments {
    /// Files of which everything before `end` was synced.
    pub(super) fn new(files: Vec<Arc<File>>, end: Position) -> Self {
        Self { files: RwLock::new(files), end: AtomicU64::new(end.0) }
    }

    /// Where what was synced ends. Behind it lies a batch that is being written, or one whose sync failed.
    pub(super) fn end(&self) -> Position {
        Position(self.end.load(Ordering::Acquire))
    }

    /// Everything before `end` was synced.
    pub(super) fn reach(&self, end: Position) {
        self.end.store(end.0, Ordering::Release);
    }

    pub(super) fn push(&self, file: Arc<File>) {
        self.files.write().unwrap_or_else(PoisonError::into_inner).push(file);
    }

    /// A segment's file, if there is one with this number.
    pub(super) fn file(&self, segment: u32) -> Option<Arc<File>> {
        let index = (segment as usize).checked_sub(1)?;
        self.files.read().unwrap_or_else(PoisonError::into_inner).get(index).cloned()
    }
}

/// Whether a read may wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// It may.
    Disk,
    /// It fails with [`Fault::WouldBlock`] instead, so far as the operating system can tell.
    Never,
}

/// Fills as much of `buffer` as the file has from `offset`.
pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64, wait: Wait) -> Result<usize, Fault> {
    if wait == Wait::Never
        && let Some(read) = read_cached(file, buffer, offset)?
    {
        return Ok(read);
    }
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(filled)
}

/// Reads what the page cache has; `None` where the file system cannot tell.
#[cfg(target_os = "linux")]
fn read_cached(file: &File, buffer: &mut [u8], offset: u64) -> Result<Option<usize>, Fault> {
    use rustix::io::{Errno, ReadWriteFlags};
    let mut buffers = [std::io::IoSliceMut::new(buffer)];
    match rustix::io::preadv2(file, &mut buffers, offset, ReadWriteFlags::NOWAIT) {
        Ok(read) => Ok(Some(read)),
        Err(Errno::AGAIN) => Err(Fault::WouldBlock),
        Err(_) => Ok(None),
    }
}

#[cfg(not(target_os = "linux"))]
fn read_cached(_: &File, _: &mut [u8], _: u64) -> Result<Option<usize>, Fault> {
    Err(Fault::WouldBlock)
}

/// Reads records; those that lie together with one call.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    segments: &'a Segments,
    wait: Wait,
    file: Option<(u32, Arc<File>)>,
    buffer: Vec<u8>,
    /// What of the buffer is filled, and with what.
    filled: usize,
    start: Position,
}

impl<'a> Reader<'a> {
    pub(super) fn new(segments: &'a Segments, wait: Wait) -> Self {
        Self { segments, wait, file: None, buffer: Vec::new(), filled: 0, start: Position::default() }
    }

    /// The payload of the first record of `wanted`; the others are those that will be asked for next, in their order.
    pub(super) fn payload(&mut self, wanted: &[Position]) -> Result<&[u8], Fault> {
        let at = wanted[0];
        if self.buffered(at).is_none() {
            self.fetch(at, window(wanted))?;
        }
        if self.buffered(at).is_none() {
            let header = self.have(at).get(..record::HEADER).ok_or_else(|| self.missing(at))?;
            let len = record::payload_len(header).filter(|len| *len <= MAX_PAYLOAD);
            self.fetch(at, record::HEADER + len.ok_or(Fault::BadRecord(at))?)?;
        }
        let range = self.buffered(at).ok_or_else(|| self.missing(at))?;
        record::payload(&self.buffer[range]).ok_or(Fault::BadRecord(at))
    }

    /// What is buffered from a position.
    fn have(&self, at: Position) -> &[u8] {
        let from = at.0.checked_sub(self.start.0).and_then(|skip| usize::try_from(skip).ok());
        from.and_then(|from| self.buffer[..self.filled].get(from..)).unwrap_or_default()
    }

    /// Where in the buffer the record at a position lies, if it is all there.
    fn buffered(&self, at: Position) -> Option<std::ops::Range<usize>> {
        let have = self.have(at);
        let len = record::HEADER.checked_add(record::payload_len(have.get(..record::HEADER)?)?)?;
        let from = self.filled - have.len();
        (have.len() >= len).then_some(from..from + len)
    }

    fn fetch(&mut self, at: Position, len: usize) -> Result<(), Fault> {
        let file = match &self.file {
            Some((segment, file)) if *segment == at.segment() => file,
            _ => {
                let file = self.segments.file(at.segment()).ok_or(Fault::BadRecord(at))?;
                &self.file.insert((at.segment(), file)).1
            }
        };
        if self.buffer.len() < len {
            self.buffer.resize(len, 0);
        }
        self.filled = 0;
        self.filled = read_at(file, &mut self.buffer[..len], at.offset(), self.wait)?;
        self.start = at;
        Ok(())
    }

    /// A read without waiting gives what is there; the rest may be on the disk.
    fn missing(&self, at: Position) -> Fault {
        if self.wait == Wait::Never { Fault::WouldBlock } else { Fault::BadRecord(at) }
    }
}

/// No record is longer: a frame has 1 MiB at most. A damaged length must not make a reader ask for gigabytes.
const MAX_PAYLOAD: usize = 64 << 20;

/// How much to fetch so that the first record and those close behind it are there.
fn window(wanted: &[Position]) -> usize {
    let mut last = wanted[0];
    for next in &wanted[1..] {
        if next.0 < last.0 || next.0 - last.0 > GAP || next.0 - wanted[0].0 > WINDOW {
            break;
        }
        last = *next;
    }
    usize::try_from(last.0 - wanted[0].0).unwrap_or(0) + GUESS
}
