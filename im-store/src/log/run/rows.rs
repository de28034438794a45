//! Keys and values of the rows.

use im_core::id::{MsgId, Version};
use im_core::message::TimelineId;
use im_core::time::Timestamp;

use super::Kind;
use crate::log::codec::{Input, put_signed, put_varint};
use crate::log::owners::{Head, OwnerId};
use crate::log::recent::{EntryRef, Moved, MsgIdRange};
use crate::log::record;
use crate::log::segment::Position;

/// Entries of a timeline in one row at most: some four kilobytes, read at once.
pub(in crate::log) const CHUNK: usize = 512;

impl Kind {
    /// The beginning of the keys of an owner's rows.
    pub(in crate::log) fn of(self, owner: OwnerId) -> [u8; 5] {
        let [a, b, c, d] = owner.to_be_bytes();
        [self as u8, a, b, c, d]
    }

    /// The key of a row about an owner and another number.
    pub(in crate::log) fn and(self, owner: OwnerId, other: OwnerId) -> [u8; 9] {
        let mut key = [0; 9];
        key[..5].copy_from_slice(&self.of(owner));
        key[5..].copy_from_slice(&other.to_be_bytes());
        key
    }

    /// The key of a row about an owner from a version on.
    pub(in crate::log) fn from(self, owner: OwnerId, version: Version) -> [u8; 13] {
        let mut key = [0; 13];
        key[..5].copy_from_slice(&self.of(owner));
        key[5..].copy_from_slice(&version.0.cast_unsigned().to_be_bytes());
        key
    }
}

/// The owner that a key is about, and the rest of the key.
pub(in crate::log) fn sub_key(key: &[u8]) -> Option<(OwnerId, &[u8])> {
    let (owner, rest) = key.get(1..)?.split_first_chunk::<4>()?;
    Some((OwnerId::from_be_bytes(*owner), rest))
}

/// A timeline's end, and in the first table that has it whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::log) struct OwnerRow {
    pub(in crate::log) head: Head,
    pub(in crate::log) name: Option<TimelineId>,
}

impl OwnerRow {
    pub(in crate::log) fn put(&self, out: &mut Vec<u8>) {
        put_signed(out, self.head.version.0);
        put_signed(out, self.head.max_msgid.0);
        if let Some(name) = &self.name {
            record::put_timeline(out, name);
        }
    }

    pub(in crate::log) fn parse(value: &[u8]) -> Option<Self> {
        let mut input = Input(value);
        let head = Head { version: Version(input.signed()?), max_msgid: MsgId(input.signed()?) };
        let name = match input.0 {
            [] => None,
            _ => Some(record::timeline(input.bytes()?)?),
        };
        Some(Self { head, name })
    }
}

/// A part of a timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::log) struct Chunk {
    pub(in crate::log) first: Version,
    pub(in crate::log) entries: Vec<EntryRef>,
    /// The greatest msgid of all entries before this part.
    pub(in crate::log) before: MsgId,
}

impl Chunk {
    pub(in crate::log) fn put(before: MsgId, entries: &[EntryRef], out: &mut Vec<u8>) {
        put_signed(out, before.0);
        put_varint(out, entries.len() as u64);
        let (mut at, mut msgid) = (0_u64, 0_i64);
        for entry in entries {
            put_varint(out, entry.at.0.wrapping_sub(at));
            put_signed(out, entry.msgid.0.wrapping_sub(msgid));
            (at, msgid) = (entry.at.0, entry.msgid.0);
        }
    }

    /// The part in the row with this key.
    pub(in crate::log) fn parse(key: &[u8], value: &[u8]) -> Option<Self> {
        let (_, version) = sub_key(key)?;
        let first = Version(u64::from_be_bytes(version.try_into().ok()?).cast_signed());
        let mut input = Input(value);
        let before = MsgId(input.signed()?);
        let count = usize::try_from(input.varint()?).ok().filter(|count| *count <= CHUNK)?;
        let mut entries = Vec::with_capacity(count);
        let (mut at, mut msgid) = (0_u64, 0_i64);
        for _ in 0..count {
            at = at.wrapping_add(input.varint()?);
            msgid = msgid.wrapping_add(input.signed()?);
            entries.push(EntryRef { at: Position(at), msgid: MsgId(msgid) });
        }
        Some(Self { first, entries, before })
    }

    /// Entries from a version on.
    pub(in crate::log) fn from(&self, version: Version) -> Option<&[EntryRef]> {
        self.entries.get(usize::try_from(version.0.checked_sub(self.first.0)?).ok()?..)
    }

    /// The version after the last entry.
    pub(in crate::log) fn end(&self) -> Version {
        Version(self.first.0 + self.entries.len().cast_signed() as i64)
    }

    /// A message's version, if it stands in this part.
    pub(in crate::log) fn locate(&self, msgid: MsgId) -> Option<Version> {
        let found = (self.first.0..).zip(&self.entries).find(|(_, entry)| entry.msgid == msgid);
        found.map(|(version, _)| Version(version))
    }

    pub(in crate::log) fn range(&self) -> MsgIdRange {
        let range = MsgIdRange::after(self.before);
        self.entries.iter().fold(range, |range, entry| range.and(entry.msgid))
    }
}

/// Which msgids the parts of a timeline have that are in one table, by their first versions. Only written when there are several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::log) struct Ranges(pub(in crate::log) Vec<(Version, MsgIdRange)>);

impl Ranges {
    pub(in crate::log) fn put(&self, out: &mut Vec<u8>) {
        let mut last = 0;
        for (first, range) in &self.0 {
            put_signed(out, first.0.wrapping_sub(last));
            put_signed(out, range.before.0);
            put_signed(out, range.least.0);
            put_signed(out, range.greatest.0);
            last = first.0;
        }
    }

    pub(in crate::log) fn parse(value: &[u8]) -> Option<Self> {
        let mut input = Input(value);
        let mut ranges = Vec::new();
        let mut last = 0_i64;
        while !input.0.is_empty() {
            last = last.wrapping_add(input.signed()?);
            let (before, least, greatest) = (input.signed()?, input.signed()?, input.signed()?);
            let range = MsgIdRange { before: MsgId(before), least: MsgId(least), greatest: MsgId(greatest) };
            ranges.push((Version(last), range));
        }
        Some(Self(ranges))
    }
}

pub(in crate::log) fn put_moved(moved: &Moved, out: &mut Vec<u8>) {
    put_signed(out, moved.last_version.0);
    put_signed(out, moved.last_msgid.0);
    put_signed(out, moved.last_at.0);
    put_signed(out, moved.unread << 1 | i64::from(moved.own));
}

pub(in crate::log) fn parse_moved(value: &[u8]) -> Option<Moved> {
    let mut input = Input(value);
    let (last_version, last_msgid) = (Version(input.signed()?), MsgId(input.signed()?));
    let last_at = Timestamp(input.signed()?);
    let unread = input.signed()?;
    Some(Moved { last_version, last_msgid, last_at, unread: unread >> 1, own: unread & 1 == 1 })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use im_core::id::Uid;

    use super::*;

    #[test]
    fn rows_survive_their_bytes() {
        let entry = |n: i64| EntryRef { at: Position((n * 300).cast_unsigned()), msgid: MsgId(-n * 1_000) };
        let chunk =
            Chunk { first: Version(7), entries: (0..300).map(entry).collect(), before: MsgId(i64::MIN) };
        let mut value = Vec::new();
        Chunk::put(chunk.before, &chunk.entries, &mut value);
        assert_eq!(Chunk::parse(&Kind::Chunk.from(3, Version(7)), &value), Some(chunk.clone()));
        assert_eq!(chunk.from(Version(306)), Some(&[entry(299)][..]));
        assert_eq!(chunk.from(Version(6)), None);
        assert_eq!(chunk.end(), Version(307));
        assert_eq!(chunk.locate(MsgId(-299_000)), Some(Version(306)));
        assert_eq!(chunk.locate(MsgId(-299_001)), None);

        let ranges = Ranges(vec![(Version(7), chunk.range()), (Version(307), MsgIdRange::after(MsgId(5)))]);
        value.clear();
        ranges.put(&mut value);
        assert_eq!(Ranges::parse(&value), Some(ranges));

        let head = Head { version: Version(4), max_msgid: MsgId(i64::MIN) };
        for name in [None, Some(TimelineId::User(Uid::new("alice").unwrap()))] {
            let row = OwnerRow { head, name };
            value.clear();
            row.put(&mut value);
            assert_eq!(OwnerRow::parse(&value), Some(row));
        }

        let moved = Moved {
            last_version: Version(1),
            last_msgid: MsgId(2),
            last_at: Timestamp(-3),
            unread: 4,
            own: true,
        };
        value.clear();
        put_moved(&moved, &mut value);
        assert_eq!(parse_moved(&value), Some(moved));
    }
}
