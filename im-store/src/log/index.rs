//! The index's directory: tables and the manifest that names them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use im_core::id::{NodeId, Version};

use super::Fault;
use super::codec::put_varint;
use super::manifest::{Manifest, table_number, table_path};
use super::nodes::NodeRow;
use super::owners::{Head, Owners};
use super::recent::{EntryRef, MsgIdRange, Recent, Timeline};
use super::run::{self, CHUNK, Chunk, Filter, Kind, OwnerRow, Ranges, Table, TableWriter};
use super::state::Tables;
use super::tail::End;

/// Tables of one level that are merged into one of the next: a message's part of the index is written anew once for every factor of four that
/// the store grows by, and a look-up asks three tables of each level at most.
const FAN_IN: usize = 4;

/// Send keys that the first filter is made for.
const FIRST_FILTER: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Index {
    dir: PathBuf,
    manifest: Manifest,
    tables: Vec<Arc<Table>>,
    filter: Arc<Filter>,
    next_table: u64,
}

impl Index {
    /// An index without tables.
    pub(super) fn empty(dir: PathBuf, store: u64, covered: End) -> Self {
        Self {
            dir,
            manifest: Manifest { store, covered, tables: Vec::new() },
            tables: Vec::new(),
            filter: Arc::new(Filter::new(FIRST_FILTER)),
            next_table: 1,
        }
    }

    /// Opens the tables that the manifest names, and removes files that it does not name.
    pub(super) fn load(dir: PathBuf, manifest: Manifest) -> Result<Self, Fault> {
        let mut hashes = Vec::new();
        let mut tables = Vec::new();
        for (number, level) in &manifest.tables {
            let path = table_path(&dir, *number);
            tables.push(Arc::new(Table::open(&path, *number, *level, |hash| hashes.push(hash))?));
        }
        let filter = Filter::new((2 * hashes.len()).max(FIRST_FILTER));
        hashes.into_iter().for_each(|hash| filter.insert(hash));
        let next_table = manifest.tables.iter().map(|(number, _)| number + 1).max().unwrap_or(1);
        let index = Self { dir, manifest, tables, filter: Arc::new(filter), next_table };
        index.remove_strangers();
        Ok(index)
    }

    pub(super) fn covered(&self) -> End {
        self.manifest.covered
    }

    pub(super) fn tables(&self) -> Tables {
        self.tables.as_slice().into()
    }

    pub(super) fn filter(&self) -> Arc<Filter> {
        self.filter.clone()
    }

    /// Reads who there is. `None` if the tables do not fit together.
    pub(super) fn owners(&self) -> Result<Option<Owners>, Fault> {
        let mut owners = Owners::default();
        let mut fits = true;
        for table in &self.tables {
            table.scan(&[Kind::Owner as u8], super::segments::Wait::Disk, |key, value| {
                let (id, _) = run::sub_key(key)?;
                let row = OwnerRow::parse(value)?;
                match row.name {
                    Some(name) if id == owners.len() => drop(owners.push(name)),
                    _ => fits &= id < owners.len(),
                }
                owners.set_head(id, row.head);
                Some(std::ops::ControlFlow::Continue(()))
            })?;
        }
        Ok(fits.then_some(owners))
    }

    /// Reads who holds which node number.
    pub(super) fn nodes(&self) -> Result<BTreeMap<NodeId, NodeRow>, Fault> {
        let mut nodes = BTreeMap::new();
        for table in &self.tables {
            table.scan(&[Kind::Node as u8], super::segments::Wait::Disk, |key, value| {
                let (node, _) = run::sub_key(key)?;
                nodes.insert(NodeId(u16::try_from(node).ok()?), NodeRow::parse(value)?);
                Some(std::ops::ControlFlow::Continue(()))
            })?;
        }
        Ok(nodes)
    }

    /// Writes a table of what happened up to `covered`, durably.
    pub(super) fn add(&mut self, recent: &Recent, covered: End) -> Result<(), Fault> {
        self.make_filter_fit(recent.messages)?;
        let number = self.next_table;
        self.next_table += 1;
        let path = table_path(&self.dir, number);
        write_table(recent, TableWriter::create(&path)?)?;
        let filter = &self.filter;
        let table = Table::open(&path, number, 0, |hash| filter.insert(hash))?;
        let mut tables = self.tables.clone();
        tables.push(Arc::new(table));
        self.install(tables, covered)
    }

    /// Merges tables, if there are enough of a kind. Whether there were.
    pub(super) fn merge(&mut self) -> Result<bool, Fault> {
        let Some(level) = self.tables.last().map(|table| table.level) else { return Ok(false) };
        let same = self.tables.iter().rev().take_while(|table| table.level == level).count();
        if same < FAN_IN {
            return Ok(false);
        }
        let (kept, merged) = self.tables.split_at(self.tables.len() - same);
        let number = self.next_table;
        self.next_table += 1;
        let path = table_path(&self.dir, number);
        run::merge(merged, TableWriter::create(&path)?)?;
        let mut tables = kept.to_vec();
        tables.push(Arc::new(Table::open(&path, number, level.saturating_add(1), |_| {})?));
        self.install(tables, self.manifest.covered)?;
        self.remove_strangers();
        Ok(true)
    }

    fn install(&mut self, tables: Vec<Arc<Table>>, covered: End) -> Result<(), Fault> {
        let manifest = Manifest {
            store: self.manifest.store,
            covered,
            tables: tables.iter().map(|table| (table.number, table.level)).collect(),
        };
        manifest.save(&self.dir)?;
        self.manifest = manifest;
        self.tables = tables;
        Ok(())
    }

    /// Makes a larger filter if that many more would crowd this one.
    fn make_filter_fit(&mut self, more: usize) -> Result<(), Fault> {
        let keys: usize = self.tables.iter().map(|table| table.key_count()).sum();
        if keys + more <= self.filter.capacity() {
            return Ok(());
        }
        let filter = Filter::new(2 * (keys + more));
        for table in &self.tables {
            for key in table.keys() {
                filter.insert(key?.0);
            }
        }
        self.filter = Arc::new(filter);
        Ok(())
    }

    /// Removes tables that are not in use: merged ones, and such as a crash left half written.
    pub(super) fn remove_strangers(&self) {
        let Ok(files) = std::fs::read_dir(&self.dir) else { return };
        for file in files.flatten() {
            let number = file.file_name().to_str().and_then(table_number);
            let strange = number.is_some_and(|number| self.tables.iter().all(|table| table.number != number));
            if strange && let Err(error) = std::fs::remove_file(file.path()) {
                tracing::warn!(%error, file = %file.path().display(), "an old part of the index stays");
            }
        }
    }
}

fn write_table(recent: &Recent, mut writer: TableWriter) -> Result<(), Fault> {
    let mut owners: Vec<_> = recent.timelines.iter().collect();
    owners.sort_unstable_by_key(|(id, _)| **id);
    let mut value = Vec::new();
    let mut row = |key: &[u8], put: &mut dyn FnMut(&mut Vec<u8>)| {
        value.clear();
        put(&mut value);
        writer.row(key, &value)
    };
    for (owner, timeline) in &owners {
        for (first, range, entries) in chunks(timeline) {
            let key = Kind::Chunk.from(**owner, first);
            row(&key, &mut |out| Chunk::put(range.before, entries, out))?;
        }
    }
    for (node, lease) in &recent.nodes {
        row(&Kind::Node.of(node.0.into()), &mut |out| lease.put(out))?;
    }
    for (owner, owner_row) in owner_rows(recent) {
        row(&Kind::Owner.of(owner), &mut |out| owner_row.put(out))?;
    }
    for (owner, timeline) in &owners {
        let ranges = Ranges(chunks(timeline).map(|(first, range, _)| (first, range)).collect());
        if ranges.0.len() > 1 {
            row(&Kind::Ranges.of(**owner), &mut |out| ranges.put(out))?;
        }
    }
    for ((uid, timeline, device), version) in &recent.cursors {
        let key = [&Kind::Cursor.and(*uid, *timeline)[..], device.as_str().as_bytes()].concat();
        row(&key, &mut |out| put_varint(out, version.0.cast_unsigned()))?;
    }
    for (owner, timeline) in &owners {
        let mut conversations: Vec<_> = timeline.conversations.iter().collect();
        conversations.sort_unstable_by_key(|(peer, _)| **peer);
        for (peer, moved) in conversations {
            row(&Kind::Conversation.and(**owner, *peer), &mut |out| run::put_moved(moved, out))?;
        }
    }
    writer.finish(recent.keys.sorted().into_iter().map(Ok))
}

/// A timeline in parts.
fn chunks(timeline: &Timeline) -> impl Iterator<Item = (Version, MsgIdRange, &[EntryRef])> {
    let mut before = timeline.max_msgid_before();
    let mut first = timeline.first;
    timeline.entries.chunks(CHUNK).map(move |entries| {
        let range = MsgIdRange::after(before);
        let range = entries.iter().fold(range, |range, entry| range.and(entry.msgid));
        let chunk = (first, range, entries);
        first.0 += entries.len().cast_signed() as i64;
        before = before.max(range.greatest);
        chunk
    })
}

/// The rows of those whose timeline has grown, and of those who are new.
fn owner_rows(recent: &Recent) -> BTreeMap<u32, OwnerRow> {
    let grown =
        recent.timelines.iter().map(|(id, timeline)| (*id, OwnerRow { head: timeline.head, name: None }));
    let mut rows: BTreeMap<_, _> = grown.collect();
    for (id, name) in &recent.names {
        let row = rows.entry(*id).or_insert(OwnerRow { head: Head::EMPTY, name: None });
        row.name = Some(name.clone());
    }
    rows
}
