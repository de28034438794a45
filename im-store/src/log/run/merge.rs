//! Several tables become one.

use super::Kind;
use super::keys::KeyStream;
use super::rows::{CHUNK, Chunk, OwnerRow, Ranges, parse_moved, put_moved, sub_key};
use super::table::{Rows, Table, TableWriter};
use crate::log::Fault;
use crate::log::codec::{Input, put_varint};
use crate::log::owners::OwnerId;
use crate::log::segment::Position;

/// Writes what the tables have, of which each is newer than the one before it, as one.
pub(in crate::log) fn merge(tables: &[std::sync::Arc<Table>], writer: TableWriter) -> Result<(), Fault> {
    let mut output = Output { writer, chunk: None, ranges: Vec::new(), value: Vec::new() };
    let mut inputs: Vec<Rows<'_>> = tables.iter().map(|table| table.rows()).collect();
    let mut values: Vec<Vec<u8>> = Vec::new();
    while let Some(key) = least(&mut inputs)? {
        values.clear();
        for input in &mut inputs {
            if input.load()? && input.row()?.0 == key {
                values.push(input.row()?.1.to_vec());
                input.skip()?;
            }
        }
        output.row(&key, &values).ok_or(Fault::BadTable(tables[0].number))??;
    }
    output.end_chunk()?;
    output.end_ranges()?;
    output.writer.finish(MergedKeys::new(tables)?)
}

/// The least key of the rows that come next.
fn least(inputs: &mut [Rows<'_>]) -> Result<Option<Vec<u8>>, Fault> {
    let mut least: Option<Vec<u8>> = None;
    for input in inputs {
        if !input.load()? {
            continue;
        }
        let key = input.row()?.0;
        if least.as_deref().is_none_or(|least| key < least) {
            least = Some(key.to_vec());
        }
    }
    Ok(least)
}

struct Output {
    writer: TableWriter,
    /// A part of a timeline that the next one may be added to.
    chunk: Option<(OwnerId, Chunk)>,
    /// What the parts that were written have, until all are.
    ranges: Vec<(OwnerId, Ranges)>,
    value: Vec<u8>,
}

impl Output {
    /// Writes the row that the values, the oldest first, come to. `None` if one is no such value.
    fn row(&mut self, key: &[u8], values: &[Vec<u8>]) -> Option<Result<(), Fault>> {
        if *key.first()? == Kind::Chunk as u8 {
            let (owner, _) = sub_key(key)?;
            let chunk = Chunk::parse(key, values.last()?)?;
            return Some(self.add_chunk(owner, chunk));
        }
        if key[0] == Kind::Ranges as u8 {
            // They are made anew.
            return Some(Ok(()));
        }
        self.value.clear();
        if key[0] == Kind::Conversation as u8 {
            let mut moved = parse_moved(values.first()?)?;
            for newer in &values[1..] {
                moved = parse_moved(newer)?.after(moved);
            }
            put_moved(&moved, &mut self.value);
        } else if key[0] == Kind::Owner as u8 {
            let mut row = OwnerRow::parse(values.first()?)?;
            for newer in &values[1..] {
                let newer = OwnerRow::parse(newer)?;
                row = OwnerRow { head: newer.head, name: row.name.or(newer.name) };
            }
            row.put(&mut self.value);
        } else if key[0] == Kind::Cursor as u8 {
            let versions = values.iter().map(|value| Input(value).varint());
            put_varint(&mut self.value, versions.collect::<Option<Vec<_>>>()?.into_iter().max()?);
        } else {
            self.value.extend_from_slice(values.last()?);
        }
        let before = self.end_chunk().and_then(|()| match key[0] > Kind::Ranges as u8 {
            true => self.end_ranges(),
            false => Ok(()),
        });
        Some(before.and_then(|()| self.writer.row(key, &self.value)))
    }

    fn add_chunk(&mut self, owner: OwnerId, next: Chunk) -> Result<(), Fault> {
        if let Some((last_owner, last)) = &mut self.chunk
            && *last_owner == owner
            && last.end() == next.first
            && last.entries.len() + next.entries.len() <= CHUNK
        {
            last.entries.extend(next.entries);
            return Ok(());
        }
        self.end_chunk()?;
        self.chunk = Some((owner, next));
        Ok(())
    }

    fn end_chunk(&mut self) -> Result<(), Fault> {
        let Some((owner, chunk)) = self.chunk.take() else { return Ok(()) };
        let mut value = Vec::new();
        Chunk::put(chunk.before, &chunk.entries, &mut value);
        let range = (chunk.first, chunk.range());
        match self.ranges.last_mut() {
            Some((last, ranges)) if *last == owner => ranges.0.push(range),
            _ => self.ranges.push((owner, Ranges(vec![range]))),
        }
        self.writer.row(&Kind::Chunk.from(owner, chunk.first), &value)
    }
}

impl Output {
    fn end_ranges(&mut self) -> Result<(), Fault> {
        let mut value = Vec::new();
        for (owner, ranges) in self.ranges.drain(..).filter(|(_, ranges)| ranges.0.len() > 1) {
            value.clear();
            ranges.put(&mut value);
            self.writer.row(&Kind::Ranges.of(owner), &value)?;
        }
        Ok(())
    }
}

/// The keys of several tables in the order of their hashes.
struct MergedKeys<'a> {
    inputs: Vec<(KeyStream<'a>, (u64, Position))>,
}

impl<'a> MergedKeys<'a> {
    fn new(tables: &'a [std::sync::Arc<Table>]) -> Result<Self, Fault> {
        let mut inputs = Vec::new();
        for table in tables {
            let mut keys = table.keys();
            if let Some(first) = keys.next() {
                inputs.push((keys, first?));
            }
        }
        Ok(Self { inputs })
    }
}

impl Iterator for MergedKeys<'_> {
    type Item = Result<(u64, Position), Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let heads = self.inputs.iter().enumerate();
        let (number, least) = heads.map(|(number, (_, key))| (number, *key)).min_by_key(|(_, key)| *key)?;
        match self.inputs[number].0.next() {
            Some(Ok(next)) => self.inputs[number].1 = next,
            Some(Err(fault)) => return Some(Err(fault)),
            None => drop(self.inputs.swap_remove(number)),
        }
        Some(Ok(least))
    }
}
