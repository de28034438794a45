use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, RwLock};

use bytes::Bytes;

use super::checkpoint::{Checkpoints, Threshold};
use super::disk::Disk;
use super::epoch::EpochFile;
use super::found::{self, Found};
use super::hash::KeyHasher;
use super::index::Index;
use super::manifest::Manifest;
use super::owners::Owners;
use super::queue::Queue;
use super::recent::Recent;
use super::record;
use super::refusal::Refusal;
use super::replay::{self, Part};
use super::segment::{self, Position};
use super::segments::Segments;
use super::shared::Shared;
use super::state::State;
use super::tail::{End, Shape, Tail};
use super::writer::Writer;
use super::{Fault, LogOptions, LogStore, unfinished};
use crate::file::sync_directory;
use crate::lock::FileLock;

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it open as its store.
    #[error("another server is running on {}", path.display())]
    InUse {
        /// The store's directory.
        path: PathBuf,
    },
    /// A file could not be used.
    #[error("cannot use {}", path.display())]
    Io {
        /// The store's directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The log is not what was written, or a part of it is missing. Nothing was changed.
    #[error("the store in {} is damaged: {what}", path.display())]
    Damaged {
        /// The store's directory.
        path: PathBuf,
        /// What is wrong, and where.
        what: String,
    },
    /// A copy into it was begun and not finished.
    #[error("{} is an unfinished copy: copy again, which begins anew, or remove it", path.display())]
    Unfinished {
        /// The store's directory.
        path: PathBuf,
    },
    /// It holds something, and is to be copied into.
    #[error("{} holds a store already: copy into another, or remove it", path.display())]
    NotEmpty {
        /// The store's directory.
        path: PathBuf,
    },
    /// A newer version of this library has written it.
    #[error(
        "this program is older than the store in {}: its files (format {format}) are those of a newer im-store than {}. Upgrade the program", path.display(), env!("CARGO_PKG_VERSION")
    )]
    Newer {
        /// The store's directory.
        path: PathBuf,
        /// The format's number.
        format: u32,
    },
}

/// Locks, reads what is there, and starts the threads.
pub(super) fn open(options: LogOptions) -> Result<LogStore, OpenError> {
    let dir = options.dir.clone();
    let unfinished = || if unfinished::is_marked(&dir) { Err(Refusal::Unfinished) } else { Ok(()) };
    refuse(options.dir.clone(), open_dir(options, unfinished))
}

/// The same to import into it; `prepare` is done under the lock, before anything is looked at.
pub(super) fn open_to_fill(
    options: LogOptions,
    prepare: impl FnOnce() -> io::Result<()>,
) -> Result<LogStore, OpenError> {
    refuse(options.dir.clone(), open_dir(options, || Ok(prepare()?)))
}

fn refuse(path: PathBuf, opened: Result<LogStore, Refusal>) -> Result<LogStore, OpenError> {
    opened.map_err(|refusal| match refusal {
        Refusal::Unfinished => OpenError::Unfinished { path },
        Refusal::InUse => OpenError::InUse { path },
        Refusal::Io(source) => OpenError::Io { path, source },
        Refusal::Damaged(what) => OpenError::Damaged { path, what },
        Refusal::Newer(format) => OpenError::Newer { path, format },
    })
}

fn open_dir(options: LogOptions, prepare: impl FnOnce() -> Result<(), Refusal>) -> Result<LogStore, Refusal> {
    create_dir(&options.dir)?;
    let lock = FileLock::take(&options.dir.join("store"))?.ok_or(Refusal::InUse)?;
    let lock = Arc::new(lock);
    prepare()?;
    let (log_dir, index_dir) = (options.dir.join("log"), options.dir.join("index"));
    create_dir(&log_dir)?;
    create_dir(&index_dir)?;
    for dir in [&options.dir, &log_dir, &index_dir] {
        options.disk.sync_names(dir)?;
    }
    let epoch = EpochFile::load(&options.dir, &*options.disk)?;
    let epoch =
        epoch.ok_or_else(|| Refusal::Damaged("the file `epoch` is not what was written".to_owned()))?;
    let mut log = Log::open(log_dir, &index_dir, &options)?;
    let opened = log.replay(index_dir.clone(), &options)?;

    let threshold = Threshold { messages: options.checkpoint_messages, bytes: options.checkpoint_bytes };
    let shared = Arc::new(Shared {
        state: RwLock::new(opened.state),
        segments: opened.tail.segments(),
        queue: Queue::new(options.queue_bytes),
        hasher: log.hasher(),
        index_dir,
        distrusted: AtomicBool::new(false),
        index_fails: AtomicBool::new(false),
        leaving: AtomicBool::new(false),
    });
    let checkpoints = Checkpoints::start(shared.clone(), opened.index, threshold, opened.tail.size())?;
    let writer = Writer { shared: shared.clone(), tail: opened.tail, checkpoints, _lock: lock.clone() };
    let thread = std::thread::Builder::new().name("im-store-log".to_owned()).spawn(move || writer.run())?;
    Ok(LogStore {
        shared,
        epoch: Arc::new(epoch),
        deadline: options.deadline,
        writer: Mutex::new(Some(thread)),
        lock: Mutex::new(Some(lock)),
    })
}

/// Makes a directory for its owner alone, unless it is there, and makes its name durable.
fn create_dir(dir: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => sync_directory(dir),
        // An earlier start may have ended before its sync. The directory above may be closed to this process.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match sync_directory(dir) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            synced => synced,
        },
        Err(error) => Err(error),
    }
}

/// The log's files, before they are read.
struct Log {
    shape: Shape,
    segments: Vec<Found>,
}

/// What a start makes of the files.
struct Opened {
    tail: Tail,
    state: State,
    index: Index,
}

impl Log {
    fn open(dir: PathBuf, index_dir: &Path, options: &LogOptions) -> Result<Self, Refusal> {
        let mut segments = found::segments(&dir, &*options.disk)?;
        if segments.is_empty() {
            if Manifest::load(index_dir, &*options.disk)?.is_some() {
                return Err(Refusal::Damaged("there is an index, but the log is missing".to_owned()));
            }
            segments.push(found::first(&dir)?);
        }
        let shape = Shape {
            dir,
            segment_bytes: options.segment_bytes,
            max_bytes: options.max_bytes,
            store: segments[0].header.store,
        };
        for (number, segment) in (1..).zip(&segments) {
            if segment.header.number != number || segment.header.store != shape.store {
                return Err(Refusal::Damaged(format!("segment {number} of the log is missing")));
            }
        }
        for (segment, next) in segments.iter().zip(&segments[1..]) {
            // The last segment may be one that was never begun.
            let is_last = usize::try_from(next.header.number).is_ok_and(|number| number == segments.len());
            if segment.len < next.header.previous_end && !is_last {
                let number = segment.header.number;
                return Err(Refusal::Damaged(format!("segment {number} of the log is cut short")));
            }
        }
        Ok(Self { shape, segments })
    }

    fn hasher(&self) -> KeyHasher {
        KeyHasher(self.shape.store)
    }

    fn part(&self, segment: &Found) -> (Arc<File>, u64) {
        (segment.file.clone(), segment.len)
    }

    /// Loads the index and reads the log from where that ends.
    fn replay(&mut self, index_dir: PathBuf, options: &LogOptions) -> Result<Opened, Refusal> {
        let (mut index, mut state) = self.load_index(index_dir, &*options.disk)?;
        let mut end = index.covered();
        let last_known = self.segments.last().map_or(0, |segment| segment.header.number);
        if end.position.segment() > last_known {
            return Err(Refusal::Damaged("the index reaches beyond the end of the log".to_owned()));
        }
        loop {
            let sealed = self.replay_segment(&mut end, &mut state)?;
            let number = end.position.segment();
            let is_last = self.segments.last().is_some_and(|last| last.header.number == number);
            if is_last && sealed {
                return Err(Refusal::Damaged(format!("segment {} of the log is missing", number + 1)));
            }
            if !is_last {
                // The index, too, is to tell that there is a next one.
                end.position = Position::new(number + 1, segment::HEADER);
            }
            if state.recent.messages >= options.checkpoint_messages {
                index.add(&std::mem::take(&mut state.recent), end)?;
                while index.merge()? {}
                (state.tables, state.filter) = (index.tables(), index.filter());
            }
            if is_last {
                break;
            }
        }
        let tail = self.tail(end)?;
        Ok(Opened { tail, state, index })
    }

    fn load_index(&self, dir: PathBuf, disk: &dyn Disk) -> Result<(Index, State), Refusal> {
        let store = self.shape.store;
        let start = End { position: Position::new(1, segment::HEADER), next_seq: 1 };
        let manifest = Manifest::load(&dir, disk)?.filter(|manifest| manifest.store == store);
        let had_log = self.segments.len() > 1 || self.segments[0].len > segment::HEADER;
        let loaded = manifest.map(|manifest| load(dir.clone(), manifest)).transpose();
        match loaded {
            Ok(Some(Some(loaded))) => return Ok(loaded),
            Ok(None) if !had_log => {}
            // Killed before its first checkpoint, a young store has none.
            Ok(None) if self.segments.len() == 1 => {
                tracing::info!("there is no index; it is made from the log")
            }
            Ok(_) => tracing::warn!("there is no whole index; it is made anew from the log"),
            Err(fault) => {
                tracing::warn!(error = %fault, "the index is damaged; it is made anew from the log")
            }
        }
        let index = Index::empty(dir, store, start);
        index.remove_strangers();
        let state = state_of(&index, Owners::default(), BTreeMap::new());
        Ok((index, state))
    }

    /// Reads a segment from a place on, up to where the next one says that it ends. Whether it was sealed.
    fn replay_segment(&mut self, end: &mut End, state: &mut State) -> Result<bool, Refusal> {
        let number = end.position.segment();
        let next = self.segments.get(number as usize).map(|next| next.header);
        let segment = number.checked_sub(1).and_then(|index| self.segments.get(index as usize));
        let segment =
            segment.ok_or_else(|| Refusal::Damaged(format!("segment {number} of the log is missing")))?;
        let (file, len) = self.part(segment);
        let part = Part { file: &file, len, salt: self.shape.salt() };
        if end.position.offset() > len || !part.may_begin_at(end.position.offset())? {
            return Err(Refusal::Damaged("the index reaches beyond the end of the log".to_owned()));
        }
        let until = next.map_or(len, |next| next.previous_end);
        let hasher = self.hasher();
        let mut sealed = false;
        *end = replay::walk(part, *end, until, |at, payload| {
            let record = record::parse(payload, Bytes::copy_from_slice)?;
            sealed |= record == record::Record::Seal;
            state.replay(at, record, hasher)
        })?;
        let Some(next) = next else { return Ok(sealed) };
        if end.position.offset() == next.previous_end && end.next_seq == next.first_seq {
            return Ok(sealed);
        }
        if self.was_never_begun(next.number)? && !sealed {
            // This one may have gone on beyond where that says that it ends.
            self.segments.pop();
            return self.replay_segment(end, state);
        }
        Err(Refusal::damaged(end.position))
    }

    /// Whether a segment is the last one and has nothing: a crash came before the seal of the one before it.
    fn was_never_begun(&self, number: u32) -> Result<bool, Refusal> {
        let Some(last) = self.segments.last().filter(|last| last.header.number == number) else {
            return Ok(false);
        };
        let end = End { position: Position::new(number, segment::HEADER), next_seq: 0 };
        let part = Part { file: &last.file, len: last.len, salt: self.shape.salt() };
        Ok(replay::torn(part, end).is_ok_and(|torn| torn.is_none()))
    }

    /// Cuts off what a crash left half written, and gives the end to go on from.
    fn tail(&self, end: End) -> Result<Tail, Refusal> {
        let Some((last, before)) = self.segments.split_last() else {
            return Err(Refusal::Damaged("the log is missing".to_owned()));
        };
        let part = Part { file: &last.file, len: last.len, salt: self.shape.salt() };
        if let Some(torn) = replay::torn(part, end)? {
            let offset = end.position.offset();
            tracing::warn!(
                segment = last.header.number,
                offset,
                bytes = torn - offset,
                "the log ends in a batch that was not written whole and never acknowledged; it is cut off"
            );
            last.file.set_len(offset)?;
            last.file.sync_all()?;
        }
        let allocated = last.file.metadata()?.len().max(segment::HEADER);
        let files = self.segments.iter().map(|segment| segment.file.clone()).collect();
        let taken = before.iter().map(|segment| segment.len).sum();
        let segments = Arc::new(Segments::new(files, end.position));
        Ok(Tail::new(self.shape.clone(), segments, last.file.clone(), end, allocated, taken))
    }
}

/// The index and what it says; `None` if its tables do not fit together.
fn load(dir: PathBuf, manifest: Manifest) -> Result<Option<(Index, State)>, Fault> {
    let index = Index::load(dir, manifest)?;
    let Some(owners) = index.owners()? else { return Ok(None) };
    let nodes = index.nodes()?;
    let state = state_of(&index, owners, nodes);
    Ok(Some((index, state)))
}

fn state_of(
    index: &Index,
    owners: Owners,
    nodes: BTreeMap<im_core::id::NodeId, super::nodes::NodeRow>,
) -> State {
    let (tables, filter) = (index.tables(), index.filter());
    State { owners, nodes, recent: Recent::default(), frozen: None, tables, filter }
}
