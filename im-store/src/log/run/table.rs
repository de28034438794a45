//! One table's file: blocks of rows, pages of keys, what the blocks begin with, and where all that is.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::keys::{self, KeyStream, Keys};
use crate::log::Fault;
use crate::log::codec::{Input, put_bytes, put_varint};
use crate::log::segment::Position;
use crate::log::segments::{Wait, read_at};

/// A block is ended when it has as much.
const BLOCK: usize = 8 << 10;

const FOOTER: usize = 52;
const MAGIC: [u8; 8] = *b"IMTABLE1";

/// Writes a table: rows in order of their keys, then keys in order of their hashes.
#[derive(Debug)]
pub(in crate::log) struct TableWriter {
    out: BufWriter<File>,
    block: Vec<u8>,
    first_key: Vec<u8>,
    index: Vec<u8>,
    offset: u64,
}

impl TableWriter {
    /// Starts a file, for its owner alone; what is there under the name goes.
    pub(in crate::log) fn create(path: &Path) -> Result<Self, Fault> {
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let out = BufWriter::with_capacity(256 << 10, file);
        Ok(Self { out, block: Vec::new(), first_key: Vec::new(), index: Vec::new(), offset: 0 })
    }

    pub(in crate::log) fn row(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        if self.block.is_empty() {
            self.first_key.clear();
            self.first_key.extend_from_slice(key);
        }
        put_bytes(&mut self.block, key);
        put_bytes(&mut self.block, value);
        if self.block.len() >= BLOCK { self.end_block() } else { Ok(()) }
    }

    /// Writes the keys and what is needed to find everything, and syncs the file.
    pub(in crate::log) fn finish(
        mut self,
        keys: impl Iterator<Item = Result<(u64, Position), Fault>>,
    ) -> Result<(), Fault> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        let (key_count, key_bytes) = keys::write(&mut self.out, keys)?;
        let mut footer = Vec::with_capacity(FOOTER);
        footer.extend_from_slice(&MAGIC);
        for number in [self.offset, key_count, self.offset + key_bytes, self.index.len() as u64] {
            footer.extend_from_slice(&number.to_le_bytes());
        }
        footer.extend_from_slice(&crc32c::crc32c(&self.index).to_le_bytes());
        // Room for what a later version has to say.
        footer.extend_from_slice(&[0; 4]);
        let crc = crc32c::crc32c(&footer);
        footer.extend_from_slice(&crc.to_le_bytes());
        self.out.write_all(&self.index)?;
        self.out.write_all(&footer)?;
        let file = self.out.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        Ok(file.sync_all()?)
    }

    fn end_block(&mut self) -> Result<(), Fault> {
        let crc = crc32c::crc32c(&self.block);
        self.block.extend_from_slice(&crc.to_le_bytes());
        self.out.write_all(&self.block)?;
        put_bytes(&mut self.index, &self.first_key);
        put_varint(&mut self.index, self.block.len() as u64);
        self.offset += self.block.len() as u64;
        self.block.clear();
        Ok(())
    }
}

/// A key and its value.
pub(in crate::log) type Row = (Vec<u8>, Vec<u8>);

#[derive(Debug)]
struct Block {
    first_key: Box<[u8]>,
    offset: u64,
    len: usize,
}

/// A table that is open.
#[derive(Debug)]
pub(in crate::log) struct Table {
    pub(in crate::log) number: u64,
    /// How many times what is in it was merged.
    pub(in crate::log) level: u8,
    file: File,
    blocks: Vec<Block>,
    keys: Keys,
}

impl Table {
    /// Opens a table. `visit` sees the hash of every send key.
    pub(in crate::log) fn open(
        path: &Path,
        number: u64,
        level: u8,
        visit: impl FnMut(u64),
    ) -> Result<Self, Fault> {
        let bad = || Fault::BadTable(number);
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        let mut footer = [0; FOOTER];
        let at = len.checked_sub(FOOTER as u64).ok_or_else(bad)?;
        read_at(&file, &mut footer, at, Wait::Disk)?;
        let footer = Footer::parse(&footer).ok_or_else(bad)?;
        let index_len =
            usize::try_from(footer.index_len).ok().filter(|_| footer.index_at + footer.index_len == at);
        let mut index = vec![0; index_len.ok_or_else(bad)?];
        read_at(&file, &mut index, footer.index_at, Wait::Disk)?;
        if crc32c::crc32c(&index) != footer.index_crc {
            return Err(bad());
        }
        let blocks = parse_index(&index).ok_or_else(bad)?;
        let count = usize::try_from(footer.key_count).map_err(|_| bad())?;
        let keys = Keys::open(&file, footer.keys_at, count, visit)?.ok_or_else(bad)?;
        Ok(Self { number, level, file, blocks, keys })
    }

    pub(in crate::log) fn key_count(&self) -> usize {
        self.keys.count()
    }

    /// The places of messages whose send keys have this hash.
    pub(in crate::log) fn find(&self, hash: u64, wait: Wait) -> Result<Vec<Position>, Fault> {
        self.keys.find(&self.file, hash, wait)?.ok_or(Fault::BadTable(self.number))
    }

    /// All send keys' hashes, in order.
    pub(in crate::log) fn keys(&self) -> KeyStream<'_> {
        KeyStream {
            keys: &self.keys,
            file: &self.file,
            table: self.number,
            next_page: 0,
            page: Vec::new().into_iter(),
        }
    }

    /// The last row whose key is at most `key`.
    pub(in crate::log) fn floor(&self, key: &[u8], wait: Wait) -> Result<Option<Row>, Fault> {
        let after = self.blocks.partition_point(|block| *block.first_key <= *key);
        let Some(number) = after.checked_sub(1) else { return Ok(None) };
        let block = self.block(number, wait)?;
        let mut input = Input(&block);
        let mut floor = None;
        while !input.0.is_empty() {
            let row = take_row(&mut input).ok_or(Fault::BadTable(self.number))?;
            if row.0 > key {
                break;
            }
            floor = Some(row);
        }
        Ok(floor.map(|(key, value)| (key.to_vec(), value.to_vec())))
    }

    /// Visits the rows whose keys begin with `prefix`, in order, until told to stop. A row that is not what it should be (`None`) is
    /// damage.
    pub(in crate::log) fn scan(
        &self,
        prefix: &[u8],
        wait: Wait,
        mut visit: impl FnMut(&[u8], &[u8]) -> Option<ControlFlow<()>>,
    ) -> Result<(), Fault> {
        let bad = || Fault::BadTable(self.number);
        let after = self.blocks.partition_point(|block| *block.first_key < *prefix);
        for number in after.saturating_sub(1)..self.blocks.len() {
            let block = self.block(number, wait)?;
            let mut input = Input(&block);
            while !input.0.is_empty() {
                let (key, value) = take_row(&mut input).ok_or_else(bad)?;
                if key < prefix {
                    continue;
                }
                if !key.starts_with(prefix) || visit(key, value).ok_or_else(bad)?.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// All rows, in order.
    pub(in crate::log) fn rows(&self) -> Rows<'_> {
        Rows { table: self, block: Vec::new(), at: 0, next_block: 0 }
    }

    fn block(&self, number: usize, wait: Wait) -> Result<Vec<u8>, Fault> {
        let Block { offset, len, .. } = self.blocks[number];
        let mut bytes = vec![0; len];
        if read_at(&self.file, &mut bytes, offset, wait)? < len && wait == Wait::Never {
            return Err(Fault::WouldBlock);
        }
        let crc = bytes.split_off(len.saturating_sub(4));
        if crc32c::crc32c(&bytes).to_le_bytes() != *crc {
            return Err(Fault::BadTable(self.number));
        }
        Ok(bytes)
    }
}

/// The rows of a table, one after the other.
#[derive(Debug)]
pub(in crate::log) struct Rows<'a> {
    table: &'a Table,
    block: Vec<u8>,
    at: usize,
    next_block: usize,
}

impl Rows<'_> {
    /// Makes the next row the one that [`row`](Self::row) gives; false at the end.
    pub(in crate::log) fn load(&mut self) -> Result<bool, Fault> {
        while self.at >= self.block.len() {
            if self.next_block >= self.table.blocks.len() {
                return Ok(false);
            }
            self.block = self.table.block(self.next_block, Wait::Disk)?;
            self.next_block += 1;
            self.at = 0;
        }
        Ok(true)
    }

    /// The row that was loaded.
    pub(in crate::log) fn row(&self) -> Result<(&[u8], &[u8]), Fault> {
        take_row(&mut Input(&self.block[self.at..])).ok_or(Fault::BadTable(self.table.number))
    }

    /// Passes over the row that was loaded.
    pub(in crate::log) fn skip(&mut self) -> Result<(), Fault> {
        let mut input = Input(&self.block[self.at..]);
        take_row(&mut input).ok_or(Fault::BadTable(self.table.number))?;
        self.at = self.block.len() - input.0.len();
        Ok(())
    }
}

fn take_row<'a>(input: &mut Input<'a>) -> Option<(&'a [u8], &'a [u8])> {
    Some((input.bytes()?, input.bytes()?))
}

fn parse_index(index: &[u8]) -> Option<Vec<Block>> {
    let mut input = Input(index);
    let mut blocks = Vec::new();
    let mut offset = 0;
    while !input.0.is_empty() {
        let first_key = input.bytes()?.into();
        let len = usize::try_from(input.varint()?).ok().filter(|len| *len >= 4)?;
        blocks.push(Block { first_key, offset, len });
        offset += len as u64;
    }
    Some(blocks)
}

struct Footer {
    keys_at: u64,
    key_count: u64,
    index_at: u64,
    index_len: u64,
    index_crc: u32,
}

impl Footer {
    fn parse(bytes: &[u8; FOOTER]) -> Option<Self> {
        let (footer, crc) = bytes.split_at(FOOTER - 4);
        let mut input = Input(footer);
        if input.array()? != MAGIC || crc32c::crc32c(footer).to_le_bytes() != crc {
            return None;
        }
        Some(Self {
            keys_at: input.u64()?,
            key_count: input.u64()?,
            index_at: input.u64()?,
            index_len: input.u64()?,
            index_crc: input.u32()?,
        })
    }
}
