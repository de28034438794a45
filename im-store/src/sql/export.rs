use async_trait::async_trait;
use im_core::id::{NodeId, Uid, Version};
use im_core::message::{Digest, Target, TimelineId};
use im_core::storage::{
    CursorAck, Export, ExportPage, Exported, Head, HeldNode, Place, Row, RowKind, StoreError, StoredPost,
};
use im_core::time::Timestamp;

use super::driver::{self, Session, Value};
use super::statement::Text;
use super::{Fault, SqlStore, cursors, timelines};
use crate::export::{After, Draft};
use crate::name;

/// Rows that are fetched at once: as many large messages can be in memory beyond what a page may have.
const STEP: usize = 256;

static TIMELINES: Text = Text::new(
    "SELECT o.id, o.name, o.floor, o.head FROM owners o WHERE o.id > ? AND o.head > 0 ORDER BY o.id LIMIT ?",
);

/// In the order of storing, in which the versions of every timeline ascend.
static POSTS: Text = Text::new(
    "SELECT m.seq, m.msgid, m.kind, s.name, t.name, m.send_key, m.content_type, m.content, m.sent_at, \
     m.withdrawn_at, m.digest, m.home, m.copy, h.name, c.name FROM messages m \
     JOIN owners s ON s.id = m.sender JOIN owners t ON t.id = m.target JOIN owners h ON h.id = m.home_owner \
     LEFT JOIN owners c ON c.id = m.copy_owner WHERE m.seq > ? AND m.home > 0 ORDER BY m.seq LIMIT ?",
);

/// Not as a comparison of rows, of which MySQL makes no range of the index.
static CURSORS: Text = Text::new(
    "SELECT c.uid, c.timeline, c.device, c.version, u.name, t.name FROM cursors c \
     JOIN owners u ON u.id = c.uid JOIN owners t ON t.id = c.timeline \
     WHERE c.uid >= ? AND (c.uid > ? OR c.timeline > ? OR (c.timeline = ? AND c.device > ?)) \
     ORDER BY c.uid, c.timeline, c.device LIMIT ?",
);

static NODES: Text = Text::new(
    "SELECT n.node, n.holder, n.epoch, n.until_ms FROM nodes n WHERE n.node > ? ORDER BY n.node LIMIT ?",
);

#[async_trait]
impl Export for SqlStore {
    async fn export(&self, page: ExportPage) -> Result<Exported, StoreError> {
        let exported = async {
            let after = After::of(&page).ok_or(Fault::BadRow("the position of an export"))?;
            let mut session = self.pool.session().await?;
            let exported = fill(&mut session, after, Draft::new(&page)).await;
            session.settle(exported)
        };
        self.within("export", exported).await
    }
}

/// Takes one kind after the other, until the page is full or nothing is left.
async fn fill(session: &mut Session, mut after: After, mut draft: Draft) -> Result<Exported, Fault> {
    loop {
        let step = draft.wanted().min(STEP);
        let rows = fetch(session, &after, step).await?;
        let is_last = rows.len() < step;
        for row in rows {
            let there = place_of(&row, after.kind)?;
            if !draft.take(decode(&row, after.kind)?, there.clone()) {
                return Ok(draft.full());
            }
            after = there;
        }
        if is_last {
            let Some(next) = after.next_kind() else { return Ok(draft.last()) };
            after = next;
        }
    }
}

async fn fetch(session: &mut Session, after: &After, step: usize) -> Result<Vec<driver::Row>, Fault> {
    let (number, timeline) = (Value::Int(after.number), Value::Int(after.timeline));
    let limit = Value::Int(i64::try_from(step).unwrap_or(i64::MAX));
    let (text, values) = match after.kind {
        RowKind::Timeline => (&TIMELINES, vec![number, limit]),
        RowKind::Post => (&POSTS, vec![number, limit]),
        RowKind::Cursor => {
            let device = Value::Bytes(after.device.clone());
            (&CURSORS, vec![number.clone(), number, timeline.clone(), timeline, device, limit])
        }
        _ => (&NODES, vec![number, limit]),
    };
    session.select(text, values).await
}

fn place_of(row: &driver::Row, kind: RowKind) -> Result<After, Fault> {
    let mut there = After { kind, number: row.int(0)?, ..After::default() };
    if kind == RowKind::Cursor {
        there.timeline = row.int(1)?;
        there.device = row.bytes(2)?.to_vec();
    }
    Ok(there)
}

fn decode(row: &driver::Row, kind: RowKind) -> Result<Row, Fault> {
    match kind {
        RowKind::Timeline => timeline(row),
        RowKind::Post => post(row),
        RowKind::Cursor => cursor(row),
        _ => node(row),
    }
}

fn timeline(row: &driver::Row) -> Result<Row, Fault> {
    let head = Head { floor: Version(row.int(2)?), head: Version(row.int(3)?) };
    Ok(Row::Timeline(owner(row.bytes(1)?, "owners.name")?, head))
}

fn post(row: &driver::Row) -> Result<Row, Fault> {
    let digest = row.bytes(10)?.try_into().map_err(|_| Fault::BadRow("messages.digest"))?;
    let copy = match (row.maybe_int(12)?, row.maybe_bytes(14)?) {
        // It waits for its delivery.
        (Some(0), Some(_)) => None,
        (Some(version), Some(name)) => {
            Some(Place { timeline: owner(name, "messages.copy_owner")?, version: Version(version) })
        }
        (None, None) => None,
        _ => return Err(Fault::BadRow("messages.copy")),
    };
    let home =
        Place { timeline: owner(row.bytes(13)?, "messages.home_owner")?, version: Version(row.int(11)?) };
    Ok(Row::Post(Box::new(StoredPost {
        message: timelines::message(row)?,
        digest: Digest(digest),
        withdrawn_at: row.maybe_int(9)?.map(Timestamp),
        home,
        copy,
    })))
}

fn cursor(row: &driver::Row) -> Result<Row, Fault> {
    Ok(Row::Cursor(CursorAck {
        uid: user(row.bytes(4)?, "cursors.uid")?,
        device: cursors::device(row.bytes(2)?)?,
        timeline: owner(row.bytes(5)?, "cursors.timeline")?,
        version: Version(row.int(3)?),
    }))
}

fn node(row: &driver::Row) -> Result<Row, Fault> {
    let node = u16::try_from(row.int(0)?).map_err(|_| Fault::BadRow("nodes.node"))?;
    let holder = String::from_utf8(row.bytes(1)?.to_vec()).map_err(|_| Fault::BadRow("nodes.holder"))?;
    Ok(Row::Node(HeldNode { node: NodeId(node), holder, epoch: row.int(2)?, until: Timestamp(row.int(3)?) }))
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
