//! Reading the log from a place on, at opening: batch by batch, and what to think of its end.
//!
//! What a crash cuts off is told apart from damage by three signs. The space of a batch was zero before, and its last byte is not: so a batch that was
//! not written whole ends in a zero, or has a sector of zeroes. And batches are written one by one, each after the one before was synced: so
//! if a whole one follows, the one before it was there.

use std::fs::File;
use std::ops::ControlFlow;

use super::Fault;
use super::batch::{self, Header};
use super::segment::{self, Position};
use super::segments::{Wait, read_at};
use super::tail::End;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// What a read ahead fetches.
const AHEAD: usize = 1 << 20;

/// A segment, or the part of it that is of interest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) file: &'a File,
    pub(super) len: u64,
    pub(super) salt: u32,
}

impl Part<'_> {
    /// Whether what is before this offset is written: a header, or a batch, of which each ends in fill.
    pub(super) fn may_begin_at(self, offset: u64) -> Result<bool, Fault> {
        let mut last = [batch::FILL];
        if let Some(before) = offset.checked_sub(1).filter(|before| *before >= segment::HEADER) {
            last = [0];
            read_at(self.file, &mut last, before, Wait::Disk)?;
        }
        Ok(last == [batch::FILL])
    }
}

/// Why a segment cannot be read on.
#[derive(Debug)]
pub(super) enum Stop {
    /// The disk said no.
    Fault(Fault),
    /// What is at this place was written and is not what was written.
    Damaged(Position),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Visits the records from `from` to the first place at which no whole batch with the right number begins. That place.
pub(super) fn walk(
    part: Part<'_>,
    from: End,
    until: u64,
    mut visit: impl FnMut(Position, &[u8]) -> Option<()>,
) -> Result<End, Stop> {
    walk_batches(part, from, until, |batch, payloads| {
        let start = batch.position.plus(batch::HEADER);
        for (at, payload) in payloads {
            visit(start.plus(at), payload).ok_or(Stop::Damaged(start.plus(at)))?;
        }
        Ok(ControlFlow::Continue(()))
    })
}

/// The same batch by batch, with where a batch begins and where in its body the records do. A visit can be the last; the batch counts as not visited then.
pub(super) fn walk_batches(
    part: Part<'_>,
    from: End,
    until: u64,
    mut visit: impl FnMut(End, Vec<(usize, &[u8])>) -> Result<ControlFlow<()>, Stop>,
) -> Result<End, Stop> {
    let mut window = Window { file: part.file, bytes: Vec::new(), start: 0 };
    let mut end = from;
    while end.position.offset() < until {
        let offset = end.position.offset();
        let Some(header) = Header::parse(window.get(offset, batch::HEADER)?, part.salt) else { break };
        let body_len = header.body_len as usize;
        let whole = header.seq == end.next_seq && offset + (batch::HEADER + body_len) as u64 <= part.len;
        let body = if whole { window.get(offset + batch::HEADER as u64, body_len)? } else { &[] };
        let Some(payloads) = batch::payloads(header, body) else { break };
        if visit(end, payloads)?.is_break() {
            break;
        }
        end = End { position: end.position.plus(batch::HEADER + body_len), next_seq: end.next_seq + 1 };
    }
    Ok(end)
}

/// Says whether what lies behind the log's last batch is a batch that a crash cut off, and up to where it is not zero. `None`: there is nothing.
pub(super) fn torn(part: Part<'_>, end: End) -> Result<Option<u64>, Stop> {
    let offset = end.position.offset();
    let mut rest = vec![0; usize::try_from(part.len.saturating_sub(offset)).unwrap_or(usize::MAX)];
    let read = read_at(part.file, &mut rest, offset, Wait::Disk)?;
    rest.truncate(read);
    let Some(last) = rest.iter().rposition(|byte| *byte != 0) else { return Ok(None) };
    if is_followed(&rest, end.next_seq, part.salt) || !is_incomplete(&rest, offset, part.salt) {
        return Err(Stop::Damaged(end.position));
    }
    Ok(Some(offset + last as u64 + 1))
}

/// Whether a whole batch with a later number stands somewhere behind.
fn is_followed(rest: &[u8], seq: u64, salt: u32) -> bool {
    (batch::ALIGN..rest.len()).step_by(batch::ALIGN).any(|at| {
        let header = Header::parse(&rest[at..], salt).filter(|header| header.seq > seq);
        let body = header.and_then(|header| rest[at + batch::HEADER..].get(..header.body_len as usize));
        header.zip(body).is_some_and(|(header, body)| batch::payloads(header, body).is_some())
    })
}

/// Whether the batch at the front of `rest` was not written whole. `offset` is where that is in the file.
fn is_incomplete(rest: &[u8], offset: u64, salt: u32) -> bool {
    let header = &rest[..rest.len().min(batch::HEADER)];
    let nothing_follows = rest[header.len()..].iter().all(|byte| *byte == 0);
    let cut_in_header = header.len() < batch::HEADER || header[batch::HEADER - 1] == 0;
    if cut_in_header && nothing_follows {
        return true;
    }
    let len = Header::parse(rest, salt)
        .map_or(batch::HEADER, |header| (header.body_len as usize).saturating_add(batch::HEADER));
    let Some(batch) = rest.get(..len) else { return true };
    batch.last() == Some(&0) || has_empty_sector(batch, offset)
}

/// Whether a sector's part of these bytes is all zero. Short parts prove nothing by themselves, unless it is a header's.
fn has_empty_sector(bytes: &[u8], offset: u64) -> bool {
    let first = SECTOR - usize::try_from(offset % SECTOR as u64).unwrap_or(0);
    let (head, rest) = bytes.split_at(first.min(bytes.len()));
    let is_empty = |part: &[u8]| part.iter().all(|byte| *byte == 0);
    is_empty(head) || rest.chunks(SECTOR).any(is_empty)
}

/// A part of a file in memory, moved forward as it is read.
struct Window<'a> {
    file: &'a File,
    bytes: Vec<u8>,
    start: u64,
}

impl Window<'_> {
    /// `len` bytes at `offset`, or as many as there are.
    fn get(&mut self, offset: u64, len: usize) -> Result<&[u8], Fault> {
        let from = offset.checked_sub(self.start).and_then(|from| usize::try_from(from).ok());
        let from = match from.filter(|from| from + len <= self.bytes.len()) {
            Some(from) => from,
            None => {
                self.bytes.resize(len.max(AHEAD), 0);
                let read = read_at(self.file, &mut self.bytes, offset, Wait::Disk)?;
                self.bytes.truncate(read);
                self.start = offset;
                0
            }
        };
        let bytes = &self.bytes[from..];
        Ok(&bytes[..len.min(bytes.len())])
    }
}
