//! Filling an empty store with another's rows: the writer takes them as it takes appends, at the versions that they name.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use async_trait::async_trait;
use im_core::id::Version;
use im_core::message::TimelineId;
use im_core::storage::{Head, Import, Misfit, Row, RowKind, StoreError, StoreErrorKind, Timelines as _};

use super::fill::Rows;
use super::queue::Job;
use super::{LogOptions, LogStore, OpenError, open, unfinished};
use crate::file::sync_directory;

/// A batch may have to wait for tables to be merged.
const DEADLINE: Duration = Duration::from_secs(600);

/// An [`Import`] into a [`LogStore`]; see [`LogOptions::import`]. It holds the store's lock until it is finished or dropped.
///
/// A timeline with a floor above 0 is refused with [`Misfit::Unsupported`]: this store keeps everything. Besides the store's own memory it takes
/// about 100 bytes for every timeline.
#[derive(Debug)]
pub struct LogImport {
    store: LogStore,
    path: PathBuf,
    announced: HashMap<TimelineId, Version>,
    turn: RowKind,
}

/// Locks the store, empties it if it is unfinished, and marks it.
pub(super) fn begin(options: LogOptions) -> Result<LogImport, OpenError> {
    let (path, io_path) = (options.dir.clone(), options.dir.clone());
    let io_error = |source| OpenError::Io { path: io_path.clone(), source };
    let store = open::open_to_fill(options.call_deadline(DEADLINE), || {
        if unfinished::is_marked(&path) {
            return clear(&path);
        }
        // First of all: a new store that is not marked is one that a server takes.
        if path.join("log").exists() { Ok(()) } else { unfinished::mark(&path) }
    })?;
    if !is_empty(&store) {
        return Err(OpenError::NotEmpty { path });
    }
    unfinished::mark(&path).map_err(io_error)?;
    Ok(LogImport { store, path, announced: HashMap::new(), turn: RowKind::default() })
}

/// Removes what an unfinished import left, but for the mark.
fn clear(dir: &Path) -> io::Result<()> {
    for part in ["index", "log"] {
        match fs::remove_dir_all(dir.join(part)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => sync_directory(&dir.join(part))?,
        }
    }
    Ok(())
}

fn is_empty(store: &LogStore) -> bool {
    let state = store.shared.state();
    state.owners.len() == 0 && state.nodes.is_empty()
}

#[async_trait]
impl Import for LogImport {
    async fn import(&mut self, rows: Vec<Row>) -> Result<(), StoreError> {
        let mut taken = Rows::default();
        let checked = rows.into_iter().try_for_each(|row| self.check(row, &mut taken));
        // What came before a row that does not fit is looked at first: the first misfit is the one that is told.
        let written = self.store.write(|answer| Job::Import(taken, answer)).await;
        written.map_err(|fault| fault.into_error("import"))??;
        Ok(checked?)
    }

    async fn finish(self: Box<Self>) -> Result<(), StoreError> {
        let Self { store, path, announced, .. } = *self;
        let (timelines, expected): (Vec<_>, Vec<_>) = announced.into_iter().unzip();
        let heads = store.heads(timelines.clone()).await?;
        let bounds = timelines.into_iter().zip(expected).zip(heads);
        for ((timeline, announced), Head { head, .. }) in bounds {
            if head != announced {
                return Err(Misfit::Incomplete { timeline, head, announced }.into());
            }
        }
        store.checkpoint().await?;
        unfinished::unmark(&path)
            .map_err(|error| StoreError::new(StoreErrorKind::Unavailable, "finish").caused_by(error))?;
        store.close().await;
        Ok(())
    }
}

impl LogImport {
    /// Checks what can be told without the log.
    fn check(&mut self, row: Row, taken: &mut Rows) -> Result<(), Misfit> {
        let kind = row.kind();
        if kind < self.turn {
            return Err(Misfit::OutOfTurn { came: kind, after: self.turn });
        }
        self.turn = kind;
        match row {
            Row::Timeline(timeline, head) => return self.announce(timeline, head),
            Row::Post(post) => {
                let strange = post.places().find(|place| !self.announced.contains_key(&place.timeline));
                if let Some(place) = strange {
                    return Err(Misfit::Unannounced(place.timeline.clone()));
                }
                taken.posts.push(*post);
            }
            Row::Cursor(ack) => taken.cursors.push(ack),
            Row::Node(held) => taken.nodes.push(held),
            _ => return Err(Misfit::Unsupported("a row of an unknown kind")),
        }
        Ok(())
    }

    fn announce(&mut self, timeline: TimelineId, head: Head) -> Result<(), Misfit> {
        if head.floor > Version::ZERO {
            return Err(Misfit::Unsupported("a timeline with a floor"));
        }
        let known = self.announced.insert(timeline, head.head);
        known.is_none().then_some(()).ok_or(Misfit::Twice("timeline"))
    }
}
