//! The hashes of send keys in a table: sorted, in pages, each with a checksum.

use std::fs::File;
use std::io::{self, Write};

use crate::log::Fault;
use crate::log::codec::Input;
use crate::log::segment::Position;
use crate::log::segments::{Wait, read_at};

/// Keys of a page: with the checksum it is a little less than a page of the operating system.
const PAGE: usize = 255;

/// Bytes of a key: its hash and where the message is.
const KEY: usize = 16;

/// Writes sorted keys. The bytes that were written.
pub(super) fn write(
    out: &mut impl Write,
    keys: impl Iterator<Item = Result<(u64, Position), Fault>>,
) -> Result<(u64, u64), Fault> {
    let (mut count, mut written) = (0, 0);
    let mut page = Vec::with_capacity(PAGE * KEY + 4);
    for key in keys {
        let (hash, at) = key?;
        page.extend_from_slice(&hash.to_le_bytes());
        page.extend_from_slice(&at.0.to_le_bytes());
        count += 1;
        if page.len() == PAGE * KEY {
            written += put_page(out, &mut page)?;
        }
    }
    if !page.is_empty() {
        written += put_page(out, &mut page)?;
    }
    Ok((count, written))
}

fn put_page(out: &mut impl Write, page: &mut Vec<u8>) -> io::Result<u64> {
    let crc = crc32c::crc32c(page);
    page.extend_from_slice(&crc.to_le_bytes());
    out.write_all(page)?;
    let written = page.len() as u64;
    page.clear();
    Ok(written)
}

/// The keys of a table.
#[derive(Debug)]
pub(in crate::log) struct Keys {
    offset: u64,
    count: usize,
    /// The first hash of every page.
    firsts: Vec<u64>,
}

impl Keys {
    /// Reads all keys once, to know where each page begins. `visit` sees every hash.
    pub(super) fn open(
        file: &File,
        offset: u64,
        count: usize,
        mut visit: impl FnMut(u64),
    ) -> Result<Option<Self>, Fault> {
        let mut keys = Self { offset, count, firsts: Vec::with_capacity(count.div_ceil(PAGE)) };
        for number in 0..count.div_ceil(PAGE) {
            let Some(page) = keys.page(file, number, Wait::Disk)? else { return Ok(None) };
            let first = page.first().map_or(0, |(hash, _)| *hash);
            keys.firsts.push(first);
            page.iter().for_each(|(hash, _)| visit(*hash));
        }
        Ok(Some(keys))
    }

    pub(in crate::log) fn count(&self) -> usize {
        self.count
    }

    /// The places of the messages whose keys have this hash; `None` if a page is damaged.
    pub(super) fn find(&self, file: &File, hash: u64, wait: Wait) -> Result<Option<Vec<Position>>, Fault> {
        let mut found = Vec::new();
        // Equal hashes may begin in the page before the first that begins with it.
        let begin = self.firsts.partition_point(|first| *first < hash).saturating_sub(1);
        for number in begin..self.firsts.len() {
            if self.firsts[number] > hash {
                break;
            }
            let Some(page) = self.page(file, number, wait)? else { return Ok(None) };
            let from = page.partition_point(|(other, _)| *other < hash);
            found.extend(page[from..].iter().take_while(|(other, _)| *other == hash).map(|(_, at)| *at));
        }
        Ok(Some(found))
    }

    /// A page; `None` if it is damaged.
    fn page(&self, file: &File, number: usize, wait: Wait) -> Result<Option<Vec<(u64, Position)>>, Fault> {
        let keys = PAGE.min(self.count - number * PAGE);
        let mut bytes = [0; PAGE * KEY + 4];
        let bytes = &mut bytes[..keys * KEY + 4];
        let offset = self.offset + (number * (PAGE * KEY + 4)) as u64;
        let read = read_at(file, bytes, offset, wait)?;
        if read < bytes.len() {
            return if wait == Wait::Never { Err(Fault::WouldBlock) } else { Ok(None) };
        }
        let (page, crc) = bytes.split_at(keys * KEY);
        if crc32c::crc32c(page).to_le_bytes() != crc {
            return Ok(None);
        }
        let key = |bytes: &[u8]| {
            let mut input = Input(bytes);
            Some((input.u64()?, Position(input.u64()?)))
        };
        Ok(page.chunks_exact(KEY).map(key).collect())
    }
}

/// All keys of a table in order, a page at a time.
#[derive(Debug)]
pub(in crate::log) struct KeyStream<'a> {
    pub(super) keys: &'a Keys,
    pub(super) file: &'a File,
    /// What the table is called in errors.
    pub(super) table: u64,
    pub(super) next_page: usize,
    pub(super) page: std::vec::IntoIter<(u64, Position)>,
}

impl Iterator for KeyStream<'_> {
    type Item = Result<(u64, Position), Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(key) = self.page.next() {
            return Some(Ok(key));
        }
        if self.next_page >= self.keys.firsts.len() {
            return None;
        }
        let page = self.keys.page(self.file, self.next_page, Wait::Disk);
        self.next_page += 1;
        match page {
            Ok(Some(page)) => self.page = page.into_iter(),
            Ok(None) => return Some(Err(Fault::BadTable(self.table))),
            Err(fault) => return Some(Err(fault)),
        }
        self.page.next().map(Ok)
    }
}
