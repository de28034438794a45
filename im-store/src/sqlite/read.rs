use bytes::Bytes;
use futures::TryStreamExt;
use im_core::id::{MsgId, Version};
use im_core::message::{ContentType, Entry, Message, Target};
use im_core::storage::{Page, Read};
use im_core::time::Timestamp;
use im_proto::CmdId;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::buckets::check_owned;
use super::lookup::Owner;
use super::{Fault, SqliteStore, lookup};
use crate::name;
use crate::sql::halves;

pub(super) const ENTRIES: &str = "SELECT e.version, m.msgid, m.kind, s.name, t.name, m.send_key, m.content_type, m.content, \
     m.sent_at, m.withdrawn_at FROM entries e JOIN messages m ON m.id = e.message \
     JOIN owners s ON s.id = m.sender JOIN owners t ON t.id = m.target \
     WHERE e.owner = ? AND e.version > ? AND e.version <= ? ORDER BY e.version LIMIT ?";

impl SqliteStore {
    /// All pages of one call, in one read transaction: they are of one moment.
    pub(super) async fn pages(&self, reads: Vec<Read>) -> Result<Vec<Page>, Fault> {
        let mut transaction = self.readers.begin().await?;
        let timelines: Vec<_> = reads.iter().map(|read| read.timeline.clone()).collect();
        check_owned(&mut transaction, timelines.iter()).await?;
        let owners = lookup::owners(&mut transaction, &timelines).await?;
        let mut pages = Vec::with_capacity(reads.len());
        for (read, owner) in reads.iter().zip(owners) {
            pages.push(match owner {
                Some(owner) => page(&mut transaction, read, owner).await?,
                None => Page::default(),
            });
        }
        transaction.commit().await?;
        Ok(pages)
    }
}

async fn page(connection: &mut SqliteConnection, read: &Read, owner: Owner) -> Result<Page, Fault> {
    let mut page = Page { entries: Vec::new(), head: owner.head.head };
    let after = read.after.max(Version::ZERO).max(owner.head.floor);
    let until = read.until.unwrap_or(page.head).min(page.head);
    if until <= after {
        return Ok(page);
    }
    let limit = i64::try_from(read.limit.max(1)).unwrap_or(i64::MAX);
    let query = sqlx::query(ENTRIES).bind(owner.id).bind(after.0).bind(until.0).bind(limit);
    let mut rows = query.fetch(connection);
    let mut bytes = 0_usize;
    while let Some(row) = rows.try_next().await? {
        let entry = entry(&row)?;
        bytes = bytes.saturating_add(entry.message.size());
        if bytes > read.max_bytes && !page.entries.is_empty() {
            break;
        }
        page.entries.push(entry);
    }
    Ok(page)
}

fn entry(row: &SqliteRow) -> Result<Entry, Fault> {
    let withdrawn_at = row.try_get::<Option<i64>, _>(9)?.map(Timestamp);
    Ok(Entry { version: Version(row.try_get(0)?), message: message(row)?, withdrawn_at })
}

/// The message in the columns 1 to 8: msgid, kind, sender, target, key, content type, content, time.
pub(super) fn message(row: &SqliteRow) -> Result<Message, Fault> {
    let from = match name::parse(row.try_get(3)?) {
        Some(Target::User(uid)) => uid,
        _ => return Err(Fault::BadRow("messages.sender")),
    };
    let kind = u32::try_from(row.try_get::<i64, _>(2)?).map_err(|_| Fault::BadRow("messages.kind"))?;
    Ok(Message {
        msgid: MsgId(row.try_get(1)?),
        kind: CmdId(kind),
        from,
        to: name::parse(row.try_get(4)?).ok_or(Fault::BadRow("messages.target"))?,
        key: halves::send_key(row.try_get(5)?).ok_or(Fault::BadRow("messages.send_key"))?,
        content_type: ContentType(row.try_get(6)?),
        content: Bytes::copy_from_slice(row.try_get(7)?),
        sent_at: Timestamp(row.try_get(8)?),
    })
}
