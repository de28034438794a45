//! Filling an empty store with another's rows: the writer takes them as it takes appends, at the versions that they name.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use im_core::id::Version;
use im_core::message::TimelineId;
use im_core::storage::{
    CursorAck, Head, HeldNode, Import, Misfit, Place, Post, Row, RowKind, StoreError, StoreErrorKind,
    StoredPost, Timelines as _,
};

use super::nodes::NodeRow;
use super::owners;
use super::plan::Planner;
use super::queue::Job;
use super::record::Past;
use super::{Fault, LogOptions, LogStore, OpenError, open};
use crate::file::sync_directory;

/// A file that is there as long as the import is not finished.
const MARK: &str = "unfinished-import";

/// A batch may have to wait for tables to be merged.
const DEADLINE: Duration = Duration::from_secs(600);

/// An [`Import`] into a [`LogStore`]; see [`LogOptions::import`]. It holds the store's lock until it is finished or dropped.
///
/// A timeline with a floor above 0 is refused with [`Misfit::Unsupported`]: this store keeps everything. Besides the store's own memory it takes
/// about 100 bytes for every timeline.
#[derive(Debug)]
pub struct LogImport {
    store: LogStore,
    mark: PathBuf,
    announced: HashMap<TimelineId, Version>,
    turn: RowKind,
}

/// Locks the store, empties it if it is unfinished, and marks it.
pub(super) fn begin(options: LogOptions) -> Result<LogImport, OpenError> {
    let mark = options.dir.join(MARK);
    let (path, io_path) = (options.dir.clone(), options.dir.clone());
    let io_error = |source| OpenError::Io { path: io_path.clone(), source };
    let store = open::open_to_fill(options.call_deadline(DEADLINE), || {
        if is_unfinished(&path) {
            return clear(&path);
        }
        // First of all: a new store that is not marked is one that a server takes.
        if path.join("log").exists() { Ok(()) } else { put_mark(&mark) }
    })?;
    if !is_empty(&store) {
        return Err(OpenError::NotEmpty { path });
    }
    put_mark(&mark).map_err(io_error)?;
    Ok(LogImport { store, mark, announced: HashMap::new(), turn: RowKind::default() })
}

fn put_mark(mark: &Path) -> io::Result<()> {
    File::create(mark)?.sync_all()?;
    sync_directory(mark)
}

/// Whether an import into the store was begun and not finished.
pub(super) fn is_unfinished(dir: &Path) -> bool {
    dir.join(MARK).exists()
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
        let Self { store, mark, announced, .. } = *self;
        let (timelines, expected): (Vec<_>, Vec<_>) = announced.into_iter().unzip();
        let heads = store.heads(timelines.clone()).await?;
        let bounds = timelines.into_iter().zip(expected).zip(heads);
        for ((timeline, announced), Head { head, .. }) in bounds {
            if head != announced {
                return Err(Misfit::Incomplete { timeline, head, announced }.into());
            }
        }
        store.checkpoint().await?;
        let unmarked = fs::remove_file(&mark).and_then(|()| sync_directory(&mark));
        unmarked.map_err(|error| StoreError::new(StoreErrorKind::Unavailable, "finish").caused_by(error))?;
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

/// Rows for the writer, by kind.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) posts: Vec<StoredPost>,
    cursors: Vec<CursorAck>,
    nodes: Vec<HeldNode>,
}

impl Planner<'_> {
    /// Decides rows to import. The first that does not fit ends it.
    pub(super) fn import(&mut self, rows: Rows) -> Result<(), StoreError> {
        for post in rows.posts {
            self.import_post(post).map_err(|fault| fault.into_error("import"))??;
        }
        for ack in rows.cursors {
            self.import_cursor(ack)?;
        }
        rows.nodes.into_iter().try_for_each(|held| self.import_node(held))
    }

    fn import_post(&mut self, stored: StoredPost) -> Result<Result<(), StoreError>, Fault> {
        let StoredPost { message, digest, withdrawn_at, home, copy } = stored;
        let first_digest = Some(digest).filter(|digest| *digest != message.digest());
        for place in [Some(&home), copy.as_ref()].into_iter().flatten() {
            let Place { timeline, version } = place;
            let head =
                self.known_owner(timeline).map_or(owners::Head::EMPTY, |owner| self.head(owner)).version;
            if *version != head.next() {
                let (timeline, came) = (timeline.clone(), *version);
                return Ok(Err(Misfit::Version { timeline, head, came }.into()));
            }
            if self.stands(timeline, message.msgid)? {
                return Ok(Err(Misfit::Twice("msgid").into()));
            }
        }
        let key = self.hasher.hash(&message.from, &message.key);
        let post = Post { message, home: home.timeline, copy: copy.map(|copy| copy.timeline) };
        if self.known(key, &post)?.is_some() {
            return Ok(Err(Misfit::Twice("send key").into()));
        }
        self.place(&post, post.copy.as_ref(), key, Past { first_digest, withdrawn_at });
        Ok(Ok(()))
    }

    fn import_cursor(&mut self, ack: CursorAck) -> Result<(), StoreError> {
        let (timeline, cursor) = (ack.timeline.clone(), ack.version);
        let Err(failed) = self.ack(ack) else { return Ok(()) };
        if failed.kind() != StoreErrorKind::AheadOfHead {
            return Err(failed);
        }
        let head = self.known_owner(&timeline).map_or(owners::Head::EMPTY, |owner| self.head(owner)).version;
        Err(Misfit::Ahead { timeline, head, cursor }.into())
    }

    fn import_node(&mut self, held: HeldNode) -> Result<(), StoreError> {
        let (node, row) = NodeRow::of(held);
        if self.nodes().contains_key(&node) {
            return Err(Misfit::Twice("node number").into());
        }
        self.put_lease(node, row);
        Ok(())
    }
}
