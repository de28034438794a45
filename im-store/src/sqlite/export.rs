use async_trait::async_trait;
use futures::TryStreamExt;
use im_core::id::{DeviceId, NodeId, Uid, Version};
use im_core::message::{Digest, Message, Target, TimelineId};
use im_core::storage::{
    CursorAck, Export, ExportPage, Exported, Head, HeldNode, Place, Position, Row, RowKind, StoreError,
    StoredPost,
};
use im_core::time::Timestamp;
use sqlx::Row as _;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::rows::Query;
use super::{Fault, SqliteStore, read};
use crate::name;

pub(super) const TIMELINES: &str =
    "SELECT id, name, floor, head FROM owners WHERE id > ? AND head > 0 ORDER BY id LIMIT ?";

/// In the order of storing, in which the versions of every timeline ascend.
pub(super) const POSTS: &str = "SELECT m.id, m.msgid, m.kind, s.name, t.name, m.send_key, m.content_type, m.content, m.sent_at, \
     m.withdrawn_at, m.digest, m.home, m.copy, o.message IS NOT NULL, h.name, c.name \
     FROM messages m JOIN owners s ON s.id = m.sender JOIN owners t ON t.id = m.target \
     LEFT JOIN odd_places o ON o.message = m.id LEFT JOIN owners h ON h.id = o.home_owner \
     LEFT JOIN owners c ON c.id = o.copy_owner WHERE m.id > ? ORDER BY m.id LIMIT ?";

pub(super) const CURSORS: &str = "SELECT c.uid, c.timeline, c.device, c.version, u.name, t.name FROM cursors c \
     JOIN owners u ON u.id = c.uid JOIN owners t ON t.id = c.timeline \
     WHERE (c.uid, c.timeline, c.device) > (?, ?, ?) ORDER BY c.uid, c.timeline, c.device LIMIT ?";

pub(super) const NODES: &str =
    "SELECT node, holder, epoch, until_ms FROM nodes WHERE node > ? ORDER BY node LIMIT ?";

#[async_trait]
impl Export for SqliteStore {
    async fn export(&self, page: ExportPage) -> Result<Exported, StoreError> {
        let exported = async {
            let after = page.after.as_ref().map(After::parse).transpose()?;
            let mut draft = Draft::new(&page);
            draft.fill(&mut *self.readers.acquire().await?, after.unwrap_or_default()).await?;
            Ok(draft.exported)
        };
        self.within("export", exported).await
    }
}

/// The row after which a page begins.
#[derive(Clone, Debug, Default)]
struct After {
    kind: RowKind,
    /// The owner, the message, the cursor's user, or the node.
    number: i64,
    timeline: i64,
    device: Vec<u8>,
}

impl After {
    /// The first row of a kind. Numbers of owners and messages begin at 1, those of nodes at 0.
    fn nothing_of(kind: RowKind) -> Self {
        Self { kind, number: -1, ..Self::default() }
    }

    fn to_position(&self) -> Position {
        let kind = match self.kind {
            RowKind::Timeline => 0,
            RowKind::Post => 1,
            RowKind::Cursor => 2,
            _ => 3,
        };
        Position(
            [&[kind][..], &self.number.to_be_bytes(), &self.timeline.to_be_bytes(), &self.device].concat(),
        )
    }

    fn parse(position: &Position) -> Result<Self, Fault> {
        let parse = |bytes: &[u8]| {
            let (kind, rest) = bytes.split_first()?;
            let kind = *[RowKind::Timeline, RowKind::Post, RowKind::Cursor, RowKind::Node]
                .get(usize::from(*kind))?;
            let (number, rest) = rest.split_first_chunk()?;
            let (timeline, device) = rest.split_first_chunk()?;
            let (number, timeline) = (i64::from_be_bytes(*number), i64::from_be_bytes(*timeline));
            Some(Self { kind, number, timeline, device: device.to_vec() })
        };
        parse(&position.0).ok_or(Fault::BadRow("the position of an export"))
    }
}

/// A page in the making.
struct Draft {
    exported: Exported,
    limit: usize,
    bytes_left: usize,
    /// The last row so far.
    last: After,
}

impl Draft {
    fn new(page: &ExportPage) -> Self {
        let (limit, bytes_left) = (page.limit.max(1), page.max_bytes);
        Self { exported: Exported::default(), limit, bytes_left, last: After::default() }
    }

    /// Takes one kind after the other, until the page is full or nothing is left.
    async fn fill(&mut self, connection: &mut SqliteConnection, mut after: After) -> Result<(), Fault> {
        while !self.fill_with_kind(connection, &after).await? {
            after = match after.kind {
                RowKind::Timeline => After::nothing_of(RowKind::Post),
                RowKind::Post => After::nothing_of(RowKind::Cursor),
                RowKind::Cursor => After::nothing_of(RowKind::Node),
                _ => return Ok(()),
            };
        }
        Ok(())
    }

    /// Whether the page is full.
    async fn fill_with_kind(
        &mut self,
        connection: &mut SqliteConnection,
        after: &After,
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
        // One more than there is room for, to see whether anything is left.
        let limit = self.limit.saturating_sub(self.exported.rows.len()).saturating_add(1);
        let mut rows = query.bind(i64::try_from(limit).unwrap_or(i64::MAX)).fetch(connection);
        while let Some(row) = rows.try_next().await? {
            let (decoded, number) = (decode(&row)?, row.try_get(0)?);
            if !self.take(decoded) {
                self.exported.next = Some(self.last.to_position());
                return Ok(true);
            }
            self.last = After { kind: after.kind, number, ..After::default() };
            if after.kind == RowKind::Cursor {
                self.last.timeline = row.try_get(1)?;
                self.last.device = row.try_get(2)?;
            }
        }
        Ok(false)
    }

    /// Whether there was room for a row.
    fn take(&mut self, row: Row) -> bool {
        let rows = &mut self.exported.rows;
        let bytes = self.bytes_left.checked_sub(row.size());
        if !rows.is_empty() && (rows.len() >= self.limit || bytes.is_none()) {
            return false;
        }
        self.bytes_left = bytes.unwrap_or(0);
        rows.push(row);
        true
    }
}

type Decode = fn(&SqliteRow) -> Result<Row, Fault>;

fn timeline(row: &SqliteRow) -> Result<Row, Fault> {
    let head = Head { floor: Version(row.try_get(2)?), head: Version(row.try_get(3)?) };
    Ok(Row::Timeline(owner(row.try_get(1)?, "owners.name")?, head))
}

fn post(row: &SqliteRow) -> Result<Row, Fault> {
    let message = read::message(row)?;
    let digest = row.try_get::<&[u8], _>(10)?.try_into().map_err(|_| Fault::BadRow("messages.digest"))?;
    let copy = row.try_get::<Option<i64>, _>(12)?.map(Version);
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
fn usual_places(message: &Message) -> (TimelineId, Option<TimelineId>) {
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
