//! Batched lookups, inside and outside of transactions. Users and groups are looked up by name first, and everything else by their numbers.

use std::collections::HashMap;

use im_core::id::{MsgId, Uid, Version};
use im_core::message::{SendKey, Target, TimelineId};
use im_core::storage::Head;

use super::Fault;
use super::driver::{Column, Row, Session};
use super::halves::{self, Sent, Standing};
use super::plan::KnownOwner;
use super::statement::{Both, Keyed};
use crate::name;

/// An owner's row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) id: i64,
    pub(super) head: Head,
    /// Whether another database owns its bucket. Not asked when it is locked.
    pub(super) is_elsewhere: bool,
}

impl Owner {
    pub(super) fn known(self, has_timeline: bool) -> KnownOwner {
        let Head { floor, head } = self.head;
        KnownOwner { id: self.id, floor, head, has_timeline }
    }
}

pub(super) type Owners = HashMap<Vec<u8>, Owner>;

static OWNERS: Keyed = Keyed::new(
    Both::same(
        "SELECT o.name, o.id, o.floor, o.head, b.state FROM owners o \
         LEFT JOIN buckets b ON b.bucket = o.bucket WHERE {keys}",
    ),
    &["o.name"],
);

/// The rows of owners, by name.
pub(super) async fn owners(session: &mut Session, names: Vec<Vec<u8>>) -> Result<Owners, Fault> {
    let rows = session.find(&OWNERS, vec![Column::Blobs(names)]).await?;
    let owner = |row: &Row| {
        let (name, known) = owner(row)?;
        // Gone, or arriving.
        Ok((name, Owner { is_elsewhere: row.maybe_int(4)? >= Some(3), ..known }))
    };
    rows.iter().map(owner).collect()
}

/// The owner in the columns 0 to 3.
pub(super) fn owner(row: &Row) -> Result<(Vec<u8>, Owner), Fault> {
    let head = Head { floor: Version(row.int(2)?), head: Version(row.int(3)?) };
    Ok((row.bytes(0)?.to_vec(), Owner { id: row.int(1)?, head, is_elsewhere: false }))
}

/// Names, each once.
pub(super) fn names<'a>(of: impl Iterator<Item = &'a TimelineId>) -> Vec<Vec<u8>> {
    let mut names: Vec<_> = of.map(name::of).collect();
    names.sort_unstable();
    names.dedup();
    names
}

static SENDS: Keyed = Keyed::new(
    Both::same(
        "SELECT m.sender, m.send_key, m.digest, m.msgid, m.sent_at, m.home, m.copy FROM messages m WHERE {keys}",
    ),
    &["m.sender", "m.send_key"],
);

/// What is stored under send keys, in the order asked.
pub(super) async fn sends(
    session: &mut Session,
    owners: &Owners,
    keys: &[(Uid, SendKey)],
) -> Result<Vec<Option<Sent>>, Fault> {
    let key = |(uid, key): &(Uid, SendKey)| Some((owners.get(&name::of_user(uid))?.id, key.to_bytes()));
    let asked: Vec<_> = keys.iter().map(key).collect();
    let there = || asked.iter().flatten();
    let columns =
        vec![Column::ints(there().map(|(id, _)| *id)), Column::blobs(there().map(|(_, key)| key.clone()))];
    let mut found = HashMap::new();
    for row in session.find(&SENDS, columns).await? {
        found.insert((row.int(0)?, row.bytes(1)?.to_vec()), send(&row)?);
    }
    Ok(asked.iter().map(|key| found.get(key.as_ref()?).cloned()).collect())
}

fn send(row: &Row) -> Result<Sent, Fault> {
    let numbers = [row.int(3)?, row.int(4)?, row.int(5)?];
    Sent::of_row(row.bytes(2)?, numbers, row.maybe_int(6)?).ok_or(Fault::BadRow("messages.digest"))
}

static PLACES: Keyed = Keyed::new(
    Both::same("SELECT e.owner, e.msgid, e.version FROM entries e WHERE {keys}"),
    &["e.owner", "e.msgid"],
);

static STANDING: Keyed = Keyed::new(
    Both::same(
        "SELECT e.owner, e.msgid, e.version, s.name, m.send_key FROM entries e \
         JOIN messages m ON m.home_owner = e.home_owner AND m.home = e.home JOIN owners s ON s.id = m.sender WHERE {keys}",
    ),
    &["e.owner", "e.msgid"],
);

/// The versions of messages in timelines, in the order asked.
pub(super) async fn places(
    session: &mut Session,
    owners: &Owners,
    messages: &[(TimelineId, MsgId)],
) -> Result<Vec<Option<Version>>, Fault> {
    let version = |row: &Row| Ok(Version(row.int(2)?));
    at_places(session, &PLACES, owners, messages, version).await
}

/// What stands under msgids in timelines, in the order asked.
pub(super) async fn standing(
    session: &mut Session,
    owners: &Owners,
    messages: &[(TimelineId, MsgId)],
) -> Result<Vec<Option<Standing>>, Fault> {
    let standing = |row: &Row| {
        let Some(Target::User(from)) = name::parse(row.bytes(3)?) else {
            return Err(Fault::BadRow("messages.sender"));
        };
        let key = halves::send_key(row.bytes(4)?).ok_or(Fault::BadRow("messages.send_key"))?;
        Ok(Standing { version: Version(row.int(2)?), from, key })
    };
    at_places(session, &STANDING, owners, messages, standing).await
}

/// Rows that begin with an owner and a msgid, in the order asked.
async fn at_places<T: Clone>(
    session: &mut Session,
    statement: &'static Keyed,
    owners: &Owners,
    messages: &[(TimelineId, MsgId)],
    read: impl Fn(&Row) -> Result<T, Fault>,
) -> Result<Vec<Option<T>>, Fault> {
    let place =
        |(timeline, msgid): &(TimelineId, MsgId)| Some((owners.get(&name::of(timeline))?.id, msgid.0));
    let asked: Vec<_> = messages.iter().map(place).collect();
    let there = || asked.iter().flatten();
    let columns =
        vec![Column::ints(there().map(|(id, _)| *id)), Column::ints(there().map(|(_, msgid)| *msgid))];
    let mut found = HashMap::new();
    for row in session.find(statement, columns).await? {
        found.insert((row.int(0)?, row.int(1)?), read(&row)?);
    }
    Ok(asked.iter().map(|place| found.get(place.as_ref()?).cloned()).collect())
}
