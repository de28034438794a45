use async_trait::async_trait;
use futures::TryStreamExt;
use im_core::id::{DeviceId, NodeId, Uid, Version};
use im_core::message::{Digest, Message, Target, TimelineId};
use im_core::storage::{
    CursorAck, Export, ExportPage, Exported, Head, HeldNode, Place, Row, RowKind, StoreError, StoredPost,
};
use im_core::time::Timestamp;
use sqlx::Row as _;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::rows::Query;
use super::{Fault, SqliteStore, read};
use crate::export::{After, Draft};
use crate::name;

pub(super) const TIMELINES: &str =
    "SELECT id, name, floor, head FROM owners WHERE id > ? AND head > 0 ORDER BY id LIMIT ?";

/// In the order of storing, in which the versions of every timeline ascend.
pub(super) const POSTS: &str = "SELECT m.id, m.msgid, m.kind, s.name, t.name, m.send_key, m.content_type, m.content, m.sent_at, \
     m.withdrawn_at, m.digest, m.home, m.copy, o.message IS NOT NULL, h.name, c.name \
     FROM messages m JOIN owners s ON s.id = m.sender JOIN owners t ON t.id = m.target \
     LEFT JOIN odd_places o ON o.message = m.id LEFT JOIN owners h ON h.id = o.home_owner \
     LEFT JOIN owners c ON c.id = o.copy_owner WHERE m.id > ? AND m.home > 0 ORDER BY m.id LIMIT ?";

pub(super) const CURSORS: &str = "SELECT c.uid, c.timeline, c.device, c.version, u.name, t.name FROM cursors c \
     JOIN owners u ON u.id = c.uid JOIN owners t ON t.id = c.timeline \
     WHERE (c.uid, c.timeline, c.device) > (?, ?, ?) ORDER BY c.uid, c.timeline, c.device LIMIT ?";

pub(super) const NODES: &str =
    "SELECT node, holder, epoch, until_ms FROM nodes WHERE node > ? ORDER BY node LIMIT ?";

#[async_trait]
impl Export for SqliteStore {
    async fn export(&self, page: ExportPage) -> Result<Exported, StoreError> {
        let exported = async {
            let after = After::of(&page).ok_or(Fault::BadRow("the position of an export"))?;
            fill(&mut *self.readers.acquire().await?, after, Draft::new(&page)).await
        };
        self.within("export", exported).await
    }
}

/// Takes one kind after the other, until the page is full or nothing is left.
async fn fill(
    connection: &mut SqliteConnection,
    mut after: After,
    mut draft: Draft,
) -> Result<Exported, Fault> {
    while !fill_with_kind(connection, &after, &mut draft).await? {
        after = match after.next_kind() {
            Some(next) => next,
            None => return Ok(draft.last()),
        };
    }
    Ok(draft.full())
}

/// Whether the page is full.
async fn fill_with_kind(
    connection: &mut SqliteConnection,
    after: &After,
    draft: &mut Draft,
) -> Result<bool, Fault> {
    let number = after.number;
    let (query, decode): (Query, Decode) = match after.kind {
        RowKind::Timeline => (sqlx::query(TIMELINES).bind(number), timeline),
        RowKind::Post => (sqlx::query(POSTS).bind(number), post),
        RowKind::Cursor => {
            let query = sqlx::query(CURSORS).bind(number);
            (query.bind(after.timeline).bind(after.device.clone()), cursor)
        }
        _ => (sqlx::query(NODES).bind(number), node),
    };
    let limit = i64::try_from(draft.wanted()).unwrap_or(i64::MAX);
    let mut rows = query.bind(limit).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let mut there = After { kind: after.kind, number: row.try_get(0)?, ..After::default() };
        if after.kind == RowKind::Cursor {
            there.timeline = row.try_get(1)?;
            there.device = row.try_get(2)?;
        }
        if !draft.take(decode(&row)?, there) {
            return Ok(true);
        }
    }
    Ok(false)
}

type Decode = fn(&SqliteRow) -> Result<Row, Fault>;

fn timeline(row: &SqliteRow) -> Result<Row, Fault> {
    let head = Head { floor: Version(row.try_get(2)?), head: Version(row.try_get(3)?) };
    Ok(Row::Timeline(owner(row.try_get(1)?, "owners.name")?, head))
}

fn post(row: &SqliteRow) -> Result<Row, Fault> {
    let message = read::message(row)?;
    let digest = row.try_get::<&[u8], _>(10)?.try_into().map_err(|_| Fault::BadRow("messages.digest"))?;
    let copy = row.try_get::<Option<i64>, _>(12)?.map(Version).filter(|copy| *copy > Version::ZERO);
    let (home_owner, copy_owner) = match row.try_get(13)? {
        true => {
            let copy = row.try_get::<Option<&[u8]>, _>(15)?;
            let copy = copy.map(|name| owner(name, "odd_places.copy_owner")).transpose()?;
            (owner(row.try_get(14)?, "odd_places.home_owner")?, copy)
        }
        false => usual_places(&message),
    };
    let copy = copy.map(|version| {
        let timeline = copy_owner.ok_or(Fault::BadRow("messages.copy"))?;
        Ok::<_, Fault>(Place { timeline, version })
    });
    Ok(Row::Post(Box::new(StoredPost {
        message,
        digest: Digest(digest),
        withdrawn_at: row.try_get::<Option<i64>, _>(9)?.map(Timestamp),
        home: Place { timeline: home_owner, version: Version(row.try_get(11)?) },
        copy: copy.transpose()?,
    })))
}

/// Whose timelines a message stands in, if nothing else is said: home, and the copy if there is one.
pub(super) fn usual_places(message: &Message) -> (TimelineId, Option<TimelineId>) {
    let target = name::timeline_of(&message.to);
    match &message.to {
        Target::User(_) => (TimelineId::User(message.from.clone()), Some(target)),
        Target::Group(_) => (target, None),
    }
}

fn cursor(row: &SqliteRow) -> Result<Row, Fault> {
    let device = std::str::from_utf8(row.try_get(2)?).ok().and_then(|text| DeviceId::new(text).ok());
    Ok(Row::Cursor(CursorAck {
        uid: user(row.try_get(4)?, "cursors.uid")?,
        device: device.ok_or(Fault::BadRow("cursors.device"))?,
        timeline: owner(row.try_get(5)?, "cursors.timeline")?,
        version: Version(row.try_get(3)?),
    }))
}

fn node(row: &SqliteRow) -> Result<Row, Fault> {
    let node = u16::try_from(row.try_get::<i64, _>(0)?).map_err(|_| Fault::BadRow("nodes.node"))?;
    let holder = String::from_utf8(row.try_get(1)?).map_err(|_| Fault::BadRow("nodes.holder"))?;
    Ok(Row::Node(HeldNode {
        node: NodeId(node),
        holder,
        epoch: row.try_get(2)?,
        until: Timestamp(row.try_get(3)?),
    }))
}

fn owner(bytes: &[u8], column: &'static str) -> Result<TimelineId, Fault> {
    let target = name::parse(bytes).ok_or(Fault::BadRow(column))?;
    Ok(name::timeline_of(&target))
}

fn user(bytes: &[u8], column: &'static str) -> Result<Uid, Fault> {
    match name::parse(bytes) {
        Some(Target::User(uid)) => Ok(uid),
        _ => Err(Fault::BadRow(column)),
    }
}
