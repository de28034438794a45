//! Removes what belongs to buckets that are not here. What a message was to others stays, as a half: rows are as if the owners had always been elsewhere.

use std::collections::HashSet;
use std::time::Duration;

use im_core::storage::{BucketState, MoveId};

use super::super::Fault;
use super::super::driver::{Column, Row, Session, Value};
use super::super::halves;
use super::super::statement::{Both, Keyed, Text};
use super::state::{gone_for, hold_move};

/// A place: an owner and a version.
type At = (i64, i64);

/// How far a removal has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cleared {
    /// There is nothing to remove.
    All,
    /// There may be more to remove.
    Some,
    /// Nothing may be removed before this time has passed.
    NotYet(Duration),
}

pub(super) async fn clear(
    session: &mut Session,
    id: MoveId,
    limit: usize,
    grace: Duration,
) -> Result<Cleared, Fault> {
    // What is found is removed a statement later: meanwhile no other move may take the buckets over, and copy rows to the same places.
    let rows = hold_move(session, id).await?;
    let elsewhere = |state| matches!(state, Some(BucketState::Gone | BucketState::Arriving));
    if rows.is_empty() || rows.iter().any(|row| !elsewhere(row.state)) {
        return Ok(Cleared::All);
    }
    let gone = Duration::from_millis(u64::try_from(gone_for(&rows)).unwrap_or_default());
    if gone < grace {
        return Ok(Cleared::NotYet(grace - gone));
    }
    let limit = i64::try_from(limit.max(1)).unwrap_or(i64::MAX);
    session.join_as_written().await?;
    let done = entries(session, id, limit).await?
        && keys(session, id, limit).await?
        && cursors(session, id, limit).await?
        && owners(session, id, limit).await?;
    Ok(if done { Cleared::All } else { Cleared::Some })
}

static ENTRIES: Text = Text::new(
    "SELECT /*! STRAIGHT_JOIN */ e.owner, e.version, m.home_owner, m.home, m.copy_owner, m.copy, m.send_key, sb.id, hb.id, cb.id, \
     he.version, ce.version FROM buckets b JOIN owners o ON o.bucket = b.bucket JOIN entries e ON e.owner = o.id \
     JOIN messages m ON m.home_owner = e.home_owner AND m.home = e.home JOIN owners s ON s.id = m.sender \
     JOIN owners h ON h.id = m.home_owner LEFT JOIN owners c ON c.id = m.copy_owner \
     LEFT JOIN buckets sb ON sb.bucket = s.bucket AND sb.id = b.id \
     LEFT JOIN buckets hb ON hb.bucket = h.bucket AND hb.id = b.id \
     LEFT JOIN buckets cb ON cb.bucket = c.bucket AND cb.id = b.id \
     LEFT JOIN entries he ON he.owner = m.home_owner AND he.version = m.home \
     AND he.home_owner = m.home_owner AND he.home = m.home \
     LEFT JOIN entries ce ON ce.owner = m.copy_owner AND ce.version = m.copy \
     AND ce.home_owner = m.home_owner AND ce.home = m.home \
     WHERE b.id = ? LIMIT ?",
);

/// An entry to remove, and its message.
struct Entry {
    at: At,
    home: At,
    copy: Option<At>,
    has_key: bool,
    sender_goes: bool,
    home_goes: bool,
    copy_goes: bool,
    /// Whether entries in these places name the message.
    in_home: bool,
    in_copy: bool,
}

impl Entry {
    fn of(row: &Row) -> Result<Self, Fault> {
        let copy = row.maybe_int(4)?.zip(row.maybe_int(5)?);
        Ok(Self {
            at: (row.int(0)?, row.int(1)?),
            home: (row.int(2)?, row.int(3)?),
            copy,
            has_key: !halves::is_copy(row.bytes(6)?),
            sender_goes: row.maybe_int(7)?.is_some(),
            home_goes: row.maybe_int(8)?.is_some(),
            copy_goes: row.maybe_int(9)?.is_some(),
            in_home: row.maybe_int(10)?.is_some(),
            in_copy: row.maybe_int(11)?.is_some(),
        })
    }

    /// What becomes of the message, when the entries `removed` are gone too.
    fn fate(&self, removed: &HashSet<At>) -> Fate {
        let other = match self.at == self.home {
            true => self.copy.filter(|copy| self.in_copy && !removed.contains(copy)),
            false => Some(self.home).filter(|home| self.in_home && !removed.contains(home)),
        };
        let other_goes = if self.at == self.home { self.copy_goes } else { self.home_goes };
        match other {
            // Whoever stays has it; or it goes with its other entry.
            Some(_) if self.at != self.home || other_goes => Fate::Stays,
            Some(copy) => Fate::BecomesCopy(copy),
            // A direct message's sender stays, whose home was removed before by retention.
            None if self.has_key && !self.sender_goes && self.at == self.home => Fate::BecomesKey,
            None if self.has_key && !self.sender_goes => Fate::Stays,
            None => Fate::Goes,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stays,
    /// The half of the receiver, who stands here.
    BecomesCopy(At),
    /// The key of a sender who stays.
    BecomesKey,
    Goes,
}

static REMOVE_ENTRIES: Keyed =
    Keyed::new(Both::same("DELETE FROM entries WHERE {keys}"), &["owner", "version"]);

static REMOVE_MESSAGES: Keyed =
    Keyed::new(Both::same("DELETE FROM messages WHERE {keys}"), &["home_owner", "home"]);

static MOVE_HOME: Keyed = Keyed::new(
    Both::same("UPDATE entries SET home_owner = owner, home = version WHERE {keys}"),
    &["owner", "version"],
);

/// MySQL sets columns one after the other, so that those that are read come first.
static TO_COPY: Keyed = Keyed::new(
    Both {
        mysql: "UPDATE messages SET send_key = CONCAT('x', UNHEX(LPAD(HEX(copy_owner), 16, '0')), \
                UNHEX(LPAD(HEX(copy), 16, '0')), send_key), home_owner = copy_owner, home = copy, copy_owner = NULL, \
                copy = NULL WHERE {keys}",
        postgres: "UPDATE messages SET send_key = '\\x78'::BYTEA || int8send(copy_owner) || int8send(copy) || send_key, \
                   home_owner = copy_owner, home = copy, copy_owner = NULL, copy = NULL WHERE {keys}",
    },
    &["home_owner", "home"],
);

static TO_KEY: Keyed = Keyed::new(
    Both::same(
        "UPDATE messages SET copy_owner = home_owner, copy = home, home_owner = sender, home = -msgid, content = '' \
         WHERE {keys}",
    ),
    &["home_owner", "home"],
);

/// Whether there were none.
async fn entries(session: &mut Session, id: MoveId, limit: i64) -> Result<bool, Fault> {
    let rows = session.select(&ENTRIES, vec![Value::Int(id.0), Value::Int(limit)]).await?;
    let (mut removed, mut goes, mut to_key) = (HashSet::new(), Vec::new(), Vec::new());
    let (mut to_copy, mut copies) = (Vec::new(), Vec::new());
    for row in &rows {
        let entry = Entry::of(row)?;
        match entry.fate(&removed) {
            Fate::Stays => {}
            Fate::Goes => goes.push(entry.home),
            Fate::BecomesKey => to_key.push(entry.home),
            Fate::BecomesCopy(copy) => {
                to_copy.push(entry.home);
                copies.push(copy);
            }
        }
        removed.insert(entry.at);
    }
    session.find(&REMOVE_ENTRIES, places(removed.into_iter().collect())).await?;
    session.find(&REMOVE_MESSAGES, places(goes)).await?;
    session.find(&MOVE_HOME, places(copies)).await?;
    session.find(&TO_COPY, places(to_copy)).await?;
    session.find(&TO_KEY, places(to_key)).await?;
    Ok(rows.is_empty())
}

/// In an order, so that nobody waits in a circle.
fn places(mut of: Vec<At>) -> Vec<Column> {
    of.sort_unstable();
    vec![
        Column::ints(of.iter().map(|(owner, _)| *owner)),
        Column::ints(of.iter().map(|(_, version)| *version)),
    ]
}

static KEYS: Text = Text::new(
    "SELECT /*! STRAIGHT_JOIN */ m.home_owner, m.home, he.version FROM buckets b JOIN owners o ON o.bucket = b.bucket \
     JOIN messages m ON m.sender = o.id LEFT JOIN entries he ON he.owner = m.home_owner AND he.version = m.home \
     AND he.home_owner = m.home_owner AND he.home = m.home WHERE b.id = ? AND m.send_key < ? LIMIT ?",
);

/// Another mover may have hidden some since they were looked for.
static HIDE_KEY: Keyed = Keyed::new(
    Both {
        mysql: "UPDATE messages SET send_key = CONCAT('x', UNHEX(LPAD(HEX(home_owner), 16, '0')), \
                UNHEX(LPAD(HEX(home), 16, '0')), send_key) WHERE {keys} AND send_key < 'x'",
        postgres: "UPDATE messages SET send_key = '\\x78'::BYTEA || int8send(home_owner) || int8send(home) || send_key \
                   WHERE {keys} AND send_key < '\\x78'::BYTEA",
    },
    &["home_owner", "home"],
);

/// Keys of senders who go, whose messages stand with others or nowhere.
async fn keys(session: &mut Session, id: MoveId, limit: i64) -> Result<bool, Fault> {
    let values = vec![Value::Int(id.0), Value::Bytes(vec![halves::COPY]), Value::Int(limit)];
    let rows = session.select(&KEYS, values).await?;
    let (mut goes, mut hidden) = (Vec::new(), Vec::new());
    for row in &rows {
        let list = if row.maybe_int(2)?.is_some() { &mut hidden } else { &mut goes };
        list.push((row.int(0)?, row.int(1)?));
    }
    session.find(&REMOVE_MESSAGES, places(goes)).await?;
    session.find(&HIDE_KEY, places(hidden)).await?;
    Ok(rows.is_empty())
}

static CURSORS: Text = Text::new(
    "SELECT /*! STRAIGHT_JOIN */ c.uid, c.timeline, c.device FROM buckets b JOIN owners t ON t.bucket = b.bucket \
     JOIN cursors c ON c.timeline = t.id WHERE b.id = ? LIMIT ?",
);

static REMOVE_CURSORS: Keyed =
    Keyed::new(Both::same("DELETE FROM cursors WHERE {keys}"), &["uid", "timeline", "device"]);

async fn cursors(session: &mut Session, id: MoveId, limit: i64) -> Result<bool, Fault> {
    let rows = session.select(&CURSORS, vec![Value::Int(id.0), Value::Int(limit)]).await?;
    let mut keys = Vec::with_capacity(rows.len());
    for row in &rows {
        keys.push((row.int(0)?, row.int(1)?, row.bytes(2)?.to_vec()));
    }
    let columns = vec![
        Column::ints(keys.iter().map(|(uid, ..)| *uid)),
        Column::ints(keys.iter().map(|(_, timeline, _)| *timeline)),
        Column::blobs(keys.iter().map(|(.., device)| device.clone())),
    ];
    session.find(&REMOVE_CURSORS, columns).await?;
    Ok(rows.is_empty())
}

static OWNERS: Text = Text::new(
    "SELECT /*! STRAIGHT_JOIN */ o.id FROM buckets b JOIN owners o ON o.bucket = b.bucket \
     WHERE b.id = ? AND (o.head > 0 OR o.floor > 0) LIMIT ?",
);

static REMOVE_CONVERSATIONS: Keyed =
    Keyed::new(Both::same("DELETE FROM conversations WHERE {keys}"), &["owner"]);

/// The name stays: others' rows have its number.
static EMPTY: Keyed = Keyed::new(Both::same("UPDATE owners SET head = 0, floor = 0 WHERE {keys}"), &["id"]);

async fn owners(session: &mut Session, id: MoveId, limit: i64) -> Result<bool, Fault> {
    let rows = session.select(&OWNERS, vec![Value::Int(id.0), Value::Int(limit)]).await?;
    let ids = rows.iter().map(|row| row.int(0)).collect::<Result<Vec<_>, _>>()?;
    session.find(&REMOVE_CONVERSATIONS, vec![Column::Ints(ids.clone())]).await?;
    session.find(&EMPTY, vec![Column::Ints(ids)]).await?;
    Ok(rows.is_empty())
}
