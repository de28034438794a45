//! The end of the log, where batches are written and synced.
//!
//! # Room
//! A segment is filled with zeroes a step ahead of what is written, so that a batch overwrites blocks that are there: its sync then has no
//! metadata to write, and a full disk is noticed before anything is half written.
//!
//! # Failures
//! After a failed write or sync nobody knows what of the batch is on the disk, and trying again proves nothing: the operating system may
//! have dropped what it could not write. So nothing more is written to that segment. The next batch starts another one, whose header says
//! where the old one ends: before the batch that failed.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::Fault;
use super::batch::Builder;
use super::record;
use super::segment::{self, Position};
use super::segments::Segments;

/// The least and the most that a segment grows by. The greater the step, the rarer the syncs that have metadata to write, and the longer
/// each of those takes.
const STEPS: (u64, u64) = (64 << 10, 1 << 20);

static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

/// What a log is made with.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) dir: PathBuf,
    /// A segment that has as much is ended; a batch that is larger has one for itself.
    pub(super) segment_bytes: u64,
    /// The most that all segments may take.
    pub(super) max_bytes: Option<u64>,
    pub(super) store: u64,
}

impl Shape {
    /// Where the checksums of this store's batches start from.
    pub(super) fn salt(&self) -> u32 {
        crc32c::crc32c(&self.store.to_le_bytes())
    }
}

/// The writer's end of the log.
#[derive(Debug)]
pub(super) struct Tail {
    shape: Shape,
    segments: Arc<Segments>,
    file: Arc<File>,
    number: u32,
    /// Where the next batch begins.
    end: u64,
    /// Where the zeroes end.
    allocated: u64,
    /// What the segments before take.
    before: u64,
    next_seq: u64,
    /// A write failed: this segment ends at `end`.
    broken: bool,
    seal: Builder,
}

/// Where the log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct End {
    pub(super) position: Position,
    /// The number of the next batch.
    pub(super) next_seq: u64,
}

impl Tail {
    /// The end of an existing log: `file` is its last segment, with `allocated` bytes, and those before it have `before`.
    pub(super) fn new(
        shape: Shape,
        segments: Arc<Segments>,
        file: Arc<File>,
        end: End,
        allocated: u64,
        before: u64,
    ) -> Self {
        Self {
            shape,
            segments,
            file,
            number: end.position.segment(),
            end: end.position.offset(),
            allocated,
            before,
            next_seq: end.next_seq,
            broken: false,
            seal: Builder::default(),
        }
    }

    /// The files, for readers.
    pub(super) fn segments(&self) -> Arc<Segments> {
        self.segments.clone()
    }

    /// The bytes of the log.
    pub(super) fn size(&self) -> u64 {
        self.before + self.end
    }

    /// Where the next batch begins, if nothing makes it begin a new segment.
    pub(super) fn end(&self) -> End {
        End { position: Position::new(self.number, self.end), next_seq: self.next_seq }
    }

    /// Writes a batch and syncs it. Where it begins.
    pub(super) fn commit(&mut self, batch: &mut Builder) -> Result<Position, Fault> {
        self.make_room(batch.fill_up() as u64)?;
        let bytes = batch.finish(self.next_seq, self.shape.salt());
        self.write(bytes)
    }

    /// Cuts the zeroes off: of a segment that is at its end, or a store that is being closed.
    pub(super) fn trim(&mut self) {
        if !self.broken && self.file.set_len(self.end).is_ok() {
            self.allocated = self.end;
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<Position, Fault> {
        let at = Position::new(self.number, self.end);
        let written = self.file.write_all_at(bytes, self.end).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            self.broken = true;
            tracing::error!(%error, segment = self.number, "a batch was not written; its segment ends before it");
            return Err(error.into());
        }
        self.end += bytes.len() as u64;
        self.next_seq += 1;
        self.segments.reach(self.end().position);
        Ok(at)
    }

    /// Sees to it that `len` bytes and a seal fit in zeroes that are there.
    fn make_room(&mut self, len: u64) -> Result<(), Fault> {
        let is_full = self.end + len > self.shape.segment_bytes && self.end > segment::HEADER;
        if self.broken {
            self.start_segment(self.end, self.next_seq)?;
        } else if is_full {
            self.seal()?;
        }
        self.grow(self.end + len + self.seal_len())
    }

    fn grow(&mut self, needed: u64) -> Result<(), Fault> {
        if needed <= self.allocated {
            return Ok(());
        }
        let step = self.allocated.clamp(STEPS.0, STEPS.1);
        let mut target = needed.max(self.allocated + step);
        if let Some(max) = self.shape.max_bytes {
            target = target.min(max.saturating_sub(self.before)).max(needed);
            if self.before + target > max {
                return Err(Fault::Full(max));
            }
        }
        let mut at = self.allocated;
        while at < target {
            let part = usize::try_from(target - at).unwrap_or(usize::MAX).min(ZEROES.len());
            self.file.write_all_at(&ZEROES[..part], at)?;
            at += part as u64;
        }
        self.allocated = target;
        Ok(())
    }

    /// Ends the segment and goes on in the next one. The next one is there before the seal that promises it.
    fn seal(&mut self) -> Result<(), Fault> {
        self.seal.clear();
        self.seal.add(record::put_seal);
        let seal = self.seal.finish(self.next_seq, self.shape.salt()).to_vec();
        let end = self.end + seal.len() as u64;
        self.grow(end)?;
        let next = self.create(end, self.next_seq + 1)?;
        self.write(&seal)?;
        self.go_on_in(next);
        Ok(())
    }

    fn start_segment(&mut self, previous_end: u64, first_seq: u64) -> Result<(), Fault> {
        let next = self.create(previous_end, first_seq)?;
        self.go_on_in(next);
        Ok(())
    }

    fn create(&self, previous_end: u64, first_seq: u64) -> Result<File, Fault> {
        let taken = self.before + self.allocated + segment::HEADER;
        if let Some(max) = self.shape.max_bytes.filter(|max| taken > *max) {
            return Err(Fault::Full(max));
        }
        let number = self.number + 1;
        let header = segment::Header { number, store: self.shape.store, first_seq, previous_end };
        Ok(segment::create(&self.shape.dir, header)?)
    }

    fn go_on_in(&mut self, next: File) {
        self.trim();
        self.file = Arc::new(next);
        self.segments.push(self.file.clone());
        self.before += self.allocated;
        self.number += 1;
        self.end = segment::HEADER;
        self.allocated = segment::HEADER;
        self.broken = false;
        self.segments.reach(self.end().position);
    }

    fn seal_len(&self) -> u64 {
        /// A batch of one record without content, up to its alignment.
        const SEAL: u64 = 40;
        SEAL
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;

    const STORE: u64 = 5;

    /// A log of one empty segment, whose file is opened as `open` says.
    fn tail(dir: &Path, open: impl FnOnce(&Path) -> File) -> Tail {
        let header = segment::Header { number: 1, store: STORE, first_seq: 1, previous_end: 0 };
        segment::create(dir, header).unwrap();
        let file = Arc::new(open(&segment::path(dir, 1)));
        let shape = Shape { dir: dir.to_owned(), segment_bytes: 1 << 20, max_bytes: None, store: STORE };
        let end = End { position: Position::new(1, segment::HEADER), next_seq: 1 };
        let segments = Arc::new(Segments::new(vec![file.clone()], end.position));
        // As if zeroes were there, so that it is the batch that fails.
        Tail::new(shape, segments, file, end, 1 << 16, 0)
    }

    fn batch() -> Builder {
        let mut batch = Builder::default();
        batch.add(|out| record::put_ack(out, &ack()));
        batch
    }

    fn ack() -> im_core::storage::CursorAck {
        let uid = im_core::id::Uid::new("alice").unwrap();
        let timeline = im_core::message::TimelineId::User(uid.clone());
        im_core::storage::CursorAck {
            uid,
            device: im_core::id::DeviceId::default(),
            timeline,
            version: im_core::id::Version(1),
        }
    }

    #[test]
    fn after_a_failed_write_the_log_goes_on_in_a_new_segment_and_the_old_one_ends_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut tail = tail(dir.path(), |path| File::open(path).unwrap());
        assert!(matches!(tail.commit(&mut batch()), Err(Fault::Io(_))));
        assert_eq!(tail.end().next_seq, 1);
        assert_eq!(tail.segments().end(), Position::new(1, segment::HEADER), "nothing more was synced");
        let at = tail.commit(&mut batch()).unwrap();
        assert_eq!(at, Position::new(2, segment::HEADER));
        let header = std::fs::read(segment::path(dir.path(), 2)).unwrap();
        let header = segment::Header::parse(&header).unwrap();
        assert_eq!((header.first_seq, header.previous_end), (1, segment::HEADER));
        assert_eq!(tail.commit(&mut batch()).unwrap().segment(), 2, "and stays there");
        assert_eq!(tail.segments().end(), tail.end().position);
    }

    #[test]
    fn a_full_segment_is_sealed_and_the_next_one_goes_on_counting() {
        let dir = tempfile::tempdir().unwrap();
        let writable = |path: &Path| File::options().read(true).write(true).open(path).unwrap();
        let mut tail = tail(dir.path(), writable);
        tail.shape.segment_bytes = 300;
        let places: Vec<_> = (0..6).map(|_| tail.commit(&mut batch()).unwrap().segment()).collect();
        assert!(places.is_sorted() && places[0] == 1 && places[5] > 1, "{places:?}");
        assert_eq!(u64::from(places[5]) - 1 + 7, tail.end().next_seq, "a seal is a batch too");
    }
}
