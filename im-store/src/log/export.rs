//! Reading out the whole store: owners and cursors from the index, messages in the order of the log.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::ControlFlow;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use im_core::id::{DeviceId, NodeId, Version};
use im_core::message::TimelineId;
use im_core::storage::{
    CursorAck, Export, ExportPage, Exported, Head, Place, Row, RowKind, StoreError, StoredPost,
};

use super::codec::Input;
use super::owners::OwnerId;
use super::record::{self, Record, Stored};
use super::replay::{self, Part, Stop};
use super::run::{Kind, sub_key};
use super::segment::{self, Position};
use super::segments::{Wait, read_at};
use super::tail::End;
use super::view::View;
use super::{Fault, LogStore};

#[async_trait]
impl Export for LogStore {
    async fn export(&self, page: ExportPage) -> Result<Exported, StoreError> {
        let exported = self.look_on_disk(page, |view, page| {
            let from = page.after.as_ref().map_or(Some(Start::default()), Start::parse);
            let from = from.ok_or(Fault::BadRecord(Position::default()))?;
            let mut draft = Draft {
                view,
                exported: Exported::default(),
                limit: page.limit.max(1),
                bytes_left: page.max_bytes,
            };
            draft.fill(from)?;
            Ok(draft.exported)
        });
        exported.await.map_err(|fault| fault.into_error("export"))
    }
}

/// Where a page begins.
#[derive(Clone, Copy, Debug, Default)]
struct Start {
    kind: RowKind,
    /// The owner, the place of a batch in the log, the cursors' user, or the node.
    first: u64,
    /// The number of the batch.
    seq: u64,
    /// Rows of the batch, or cursors of the user, that were given already.
    skip: u64,
}

impl Start {
    fn to_position(self) -> im_core::storage::Position {
        let kind = match self.kind {
            RowKind::Timeline => 0,
            RowKind::Post => 1,
            RowKind::Cursor => 2,
            _ => 3,
        };
        let numbers = [kind, self.first, self.seq, self.skip];
        im_core::storage::Position(numbers.iter().flat_map(|number| number.to_be_bytes()).collect())
    }

    fn parse(position: &im_core::storage::Position) -> Option<Self> {
        let (numbers, []) = position.0.as_chunks() else { return None };
        let [kind, first, seq, skip] = <[_; 4]>::try_from(numbers).ok()?.map(u64::from_be_bytes);
        let kinds = [RowKind::Timeline, RowKind::Post, RowKind::Cursor, RowKind::Node];
        let kind = *kinds.get(usize::try_from(kind).ok()?)?;
        Some(Self { kind, first, seq, skip })
    }
}

/// A page in the making.
struct Draft<'a> {
    view: View<'a>,
    exported: Exported,
    limit: usize,
    bytes_left: usize,
}

impl Draft<'_> {
    /// Takes one kind after the other, until the page is full or nothing is left.
    fn fill(&mut self, from: Start) -> Result<(), Fault> {
        let kinds = [RowKind::Timeline, RowKind::Post, RowKind::Cursor, RowKind::Node];
        for kind in kinds.into_iter().filter(|kind| *kind >= from.kind) {
            let from = if kind == from.kind { from } else { Start { kind, ..Start::default() } };
            let filled = match kind {
                RowKind::Timeline => self.timelines(from)?,
                RowKind::Post => self.posts(from)?,
                RowKind::Cursor => self.cursors(from)?,
                _ => self.nodes(from),
            };
            if filled.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Adds a row, or notes that the next page begins with it.
    fn take(&mut self, row: Row, from: Start) -> ControlFlow<()> {
        let rows = &mut self.exported.rows;
        let bytes = self.bytes_left.checked_sub(row.size());
        if !rows.is_empty() && (rows.len() >= self.limit || bytes.is_none()) {
            self.exported.next = Some(from.to_position());
            return ControlFlow::Break(());
        }
        self.bytes_left = bytes.unwrap_or(0);
        rows.push(row);
        ControlFlow::Continue(())
    }

    fn timelines(&mut self, from: Start) -> Result<ControlFlow<()>, Fault> {
        let state = self.view.shared.state();
        for id in owners_from(from, state.owners.len()) {
            let head = Head { floor: Version::ZERO, head: state.owners.head(id).version };
            let Some(name) = state.owners.name(id).filter(|_| head.head > head.floor) else { continue };
            let row = Row::Timeline(name.clone(), head);
            if self.take(row, Start { first: id.into(), ..from }).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The messages of the log, in its order.
    fn posts(&mut self, from: Start) -> Result<ControlFlow<()>, Fault> {
        let mut end = match from.seq {
            0 => End { position: Position::new(1, segment::HEADER), next_seq: 1 },
            next_seq => End { position: Position(from.first), next_seq },
        };
        let mut skip = usize::try_from(from.skip).unwrap_or(usize::MAX);
        let mut number = end.position.segment();
        let segments = &self.view.shared.segments;
        while let Some(file) = segments.file(number) {
            // Read first: the next segment may be begun meanwhile.
            let synced = segments.end();
            let next = segments.file(number + 1).map(|next| header(&next)).transpose()?;
            let until = match next {
                Some(next) => next.previous_end,
                None if synced.segment() == number => synced.offset(),
                None => segment::HEADER,
            };
            if self.segment(&file, until, &mut end, &mut skip)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            let Some(next) = next else { break };
            if (end.position.offset(), end.next_seq) != (next.previous_end, next.first_seq) {
                return Err(Fault::BadRecord(end.position));
            }
            number += 1;
            end.position = Position::new(number, segment::HEADER);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The messages of a segment from a batch on, up to where it ends: behind that may be a batch that was never acknowledged.
    fn segment(
        &mut self,
        file: &Arc<File>,
        until: u64,
        end: &mut End,
        skip: &mut usize,
    ) -> Result<ControlFlow<()>, Fault> {
        let store = self.view.shared.hasher.0;
        let part = Part { file, len: file.metadata()?.len(), salt: crc32c::crc32c(&store.to_le_bytes()) };
        let mut full = ControlFlow::Continue(());
        let walked = replay::walk_batches(part, *end, until, |batch, payloads| {
            for (count, (at, payload)) in payloads.iter().enumerate().skip(std::mem::take(skip)) {
                let at = batch.position.plus(super::batch::HEADER + at);
                let record = record::parse(payload, Bytes::copy_from_slice).ok_or(Stop::Damaged(at))?;
                let Record::Message(stored) = record else { continue };
                let from = Start {
                    kind: RowKind::Post,
                    first: batch.position.0,
                    seq: batch.next_seq,
                    skip: count as u64,
                };
                full = self.take(Row::Post(Box::new(post(stored))), from);
                if full.is_break() {
                    break;
                }
            }
            Ok(full)
        });
        *end = walked.map_err(|stop| match stop {
            Stop::Fault(fault) => fault,
            Stop::Damaged(at) => Fault::BadRecord(at),
        })?;
        Ok(full)
    }

    fn cursors(&mut self, from: Start) -> Result<ControlFlow<()>, Fault> {
        let owners = self.view.shared.state().owners.len();
        for id in owners_from(from, owners) {
            let skip = if u64::from(id) == from.first { from.skip } else { 0 };
            let cursors = self.view.cursors_of_user(id)?;
            for (number, ack) in (0..).zip(cursors).skip(usize::try_from(skip).unwrap_or(usize::MAX)) {
                let from = Start { first: id.into(), skip: number, ..from };
                if self.take(Row::Cursor(ack), from).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn nodes(&mut self, from: Start) -> ControlFlow<()> {
        let state = self.view.shared.state();
        let first = NodeId(u16::try_from(from.first).unwrap_or(u16::MAX));
        for (node, row) in state.nodes.range(first..) {
            self.take(Row::Node(row.held(*node)), Start { first: node.0.into(), ..from })?;
        }
        ControlFlow::Continue(())
    }
}

fn owners_from(from: Start, owners: OwnerId) -> std::ops::Range<OwnerId> {
    OwnerId::try_from(from.first).unwrap_or(OwnerId::MAX)..owners
}

fn header(file: &File) -> Result<segment::Header, Fault> {
    let mut bytes = [0; 64];
    let read = read_at(file, &mut bytes, 0, Wait::Disk)?;
    segment::Header::parse(&bytes[..read]).map_err(|_| Fault::BadRecord(Position::default()))
}

fn post(stored: Stored) -> StoredPost {
    let digest = stored.digest();
    let place = |(timeline, version): (TimelineId, Version)| Place { timeline, version };
    let Stored { message, home, copy, withdrawn_at, .. } = stored;
    StoredPost { message, digest, withdrawn_at, home: place(home), copy: copy.map(place) }
}

impl View<'_> {
    /// All cursors of a user, by timeline and device.
    fn cursors_of_user(self, uid: OwnerId) -> Result<Vec<CursorAck>, Fault> {
        let mut cursors: BTreeMap<(OwnerId, DeviceId), Version> = BTreeMap::new();
        let mut add = |timeline, device, version: Version| {
            let cursor = cursors.entry((timeline, device)).or_default();
            *cursor = version.max(*cursor);
        };
        let state = self.shared.state();
        for part in state.frozen.iter().map(|frozen| &**frozen).chain([&state.recent]) {
            let from = part.cursors.range((uid, 0, DeviceId::default())..);
            for ((_, timeline, device), version) in from.take_while(|((user, ..), _)| *user == uid) {
                add(*timeline, device.clone(), *version);
            }
        }
        let tables = state.tables.clone();
        drop(state);
        for table in tables.iter() {
            table.scan(&Kind::Cursor.of(uid), self.wait, |key, value| {
                let (_, rest) = sub_key(key)?;
                let (timeline, device) = rest.split_first_chunk()?;
                let device = DeviceId::new(std::str::from_utf8(device).ok()?).ok()?;
                let version = Version(Input(value).varint()?.cast_signed());
                add(OwnerId::from_be_bytes(*timeline), device, version);
                Some(ControlFlow::Continue(()))
            })?;
        }
        let state = self.shared.state();
        let name =
            |id| state.owners.name(id).ok_or(Fault::BadTable(tables.last().map_or(0, |table| table.number)));
        let TimelineId::User(uid) = name(uid)?.clone() else { return Ok(Vec::new()) };
        let ack = |((timeline, device), version)| {
            Ok(CursorAck { uid: uid.clone(), device, timeline: name(timeline)?.clone(), version })
        };
        cursors.into_iter().map(ack).collect()
    }
}
