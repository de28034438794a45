use async_trait::async_trait;
use bytes::Bytes;
use im_core::id::{MsgId, Uid, Version};
use im_core::message::{ContentType, Entry, Message, SendKey, Target, TimelineId};
use im_core::storage::{Found, Head, Page, Part, Placed, Post, Read, StoreError, Timelines};
use im_core::time::Timestamp;
use im_proto::CmdId;

use super::driver::{Row, Session, Value};
use super::halves::{self, Sent};
use super::lookup::{self, Owner, Owners};
use super::ownership::check_owned;
use super::statement::Text;
use super::{Fault, SqlStore};
use crate::name;

/// Rows that are fetched at once: as many large messages can be in memory beyond what a page may have.
const STEP: usize = 128;

static ENTRIES: Text = Text::new(
    "SELECT e.version, m.msgid, m.kind, s.name, t.name, m.send_key, m.content_type, m.content, m.sent_at, \
     m.withdrawn_at FROM entries e JOIN messages m ON m.home_owner = e.home_owner AND m.home = e.home \
     JOIN owners s ON s.id = m.sender JOIN owners t ON t.id = m.target \
     WHERE e.owner = ? AND e.version > ? AND e.version <= ? ORDER BY e.version LIMIT ?",
);

#[async_trait]
impl Timelines for SqlStore {
    async fn append(&self, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        let count = posts.len();
        if count == 0 {
            return Vec::new();
        }
        let parts = posts.into_iter().map(Part::Whole).collect();
        match self.within("append", self.place(parts)).await {
            Ok(answers) => answers,
            Err(error) => vec![Err(error); count],
        }
    }

    async fn read(&self, reads: Vec<Read>) -> Vec<Result<Page, StoreError>> {
        let count = reads.len();
        if count == 0 {
            return Vec::new();
        }
        match self.within("read", self.pages(reads)).await {
            Ok(pages) => pages.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error); count],
        }
    }

    async fn heads(&self, timelines: Vec<TimelineId>) -> Result<Vec<Head>, StoreError> {
        let heads = async {
            let mut session = self.pool.session().await?;
            let owners = owners(&mut session, timelines.iter()).await;
            let owners = session.settle(owners)?;
            let head = |timeline| owners.get(&name::of(timeline)).map(|owner| owner.head).unwrap_or_default();
            Ok(timelines.iter().map(head).collect())
        };
        self.within("heads", heads).await
    }

    async fn find(&self, keys: Vec<(Uid, SendKey)>) -> Result<Vec<Option<Found>>, StoreError> {
        let found = async {
            let mut session = self.pool.session().await?;
            let found = find(&mut session, &keys).await;
            session.settle(found)
        };
        let sends = self.within("find", found).await?;
        Ok(sends.into_iter().map(|sent| sent.and_then(Sent::into_found)).collect())
    }

    async fn locate(&self, messages: Vec<(TimelineId, MsgId)>) -> Result<Vec<Option<Version>>, StoreError> {
        let places = async {
            let mut session = self.pool.session().await?;
            let places = locate(&mut session, &messages).await;
            session.settle(places)
        };
        self.within("locate", places).await
    }
}

/// The rows of owners, all of whose buckets are here.
async fn owners<'a>(
    session: &mut Session,
    timelines: impl Iterator<Item = &'a TimelineId> + Clone,
) -> Result<Owners, Fault> {
    let owners = lookup::owners(session, lookup::names(timelines.clone())).await?;
    check_owned(session, &owners, timelines).await?;
    Ok(owners)
}

async fn find(session: &mut Session, keys: &[(Uid, SendKey)]) -> Result<Vec<Option<Sent>>, Fault> {
    let users: Vec<_> = keys.iter().map(|(uid, _)| TimelineId::User(uid.clone())).collect();
    let owners = owners(session, users.iter()).await?;
    lookup::sends(session, &owners, keys).await
}

async fn locate(
    session: &mut Session,
    messages: &[(TimelineId, MsgId)],
) -> Result<Vec<Option<Version>>, Fault> {
    let owners = owners(session, messages.iter().map(|(timeline, _)| timeline)).await?;
    lookup::places(session, &owners, messages).await
}

impl SqlStore {
    async fn pages(&self, reads: Vec<Read>) -> Result<Vec<Page>, Fault> {
        let mut session = self.pool.session().await?;
        let pages = pages(&mut session, &reads).await;
        session.settle(pages)
    }
}

/// Heads first, then entries up to there: no entry below a head changes its place, so that a page is of the moment when its head was read.
async fn pages(session: &mut Session, reads: &[Read]) -> Result<Vec<Page>, Fault> {
    let owners = owners(session, reads.iter().map(|read| &read.timeline)).await?;
    let mut pages = Vec::with_capacity(reads.len());
    for read in reads {
        pages.push(match owners.get(&name::of(&read.timeline)) {
            Some(owner) => page(session, read, *owner).await?,
            None => Page::default(),
        });
    }
    Ok(pages)
}

async fn page(session: &mut Session, read: &Read, owner: Owner) -> Result<Page, Fault> {
    let mut page = Page { entries: Vec::new(), head: owner.head.head };
    let mut after = read.after.max(Version::ZERO).max(owner.head.floor);
    let until = read.until.unwrap_or(page.head).min(page.head);
    let (limit, mut bytes) = (read.limit.max(1), 0_usize);
    while after < until && page.entries.len() < limit {
        let step = (limit - page.entries.len()).min(STEP);
        let values = [owner.id, after.0, until.0, i64::try_from(step).unwrap_or(i64::MAX)];
        let rows = session.select(&ENTRIES, values.map(Value::Int).into()).await?;
        let Some(last) = rows.last() else { break };
        after = Version(last.int(0)?);
        for row in &rows {
            let entry = entry(row)?;
            bytes = bytes.saturating_add(entry.message.size());
            if bytes > read.max_bytes && !page.entries.is_empty() {
                return Ok(page);
            }
            page.entries.push(entry);
        }
    }
    Ok(page)
}

fn entry(row: &Row) -> Result<Entry, Fault> {
    let withdrawn_at = row.maybe_int(9)?.map(Timestamp);
    Ok(Entry { version: Version(row.int(0)?), message: message(row)?, withdrawn_at })
}

/// The message in the columns 1 to 8: msgid, kind, sender, target, key, content type, content, time.
pub(super) fn message(row: &Row) -> Result<Message, Fault> {
    let from = match name::parse(row.bytes(3)?) {
        Some(Target::User(uid)) => uid,
        _ => return Err(Fault::BadRow("messages.sender")),
    };
    let kind = u32::try_from(row.int(2)?).map_err(|_| Fault::BadRow("messages.kind"))?;
    let content_type = i32::try_from(row.int(6)?).map_err(|_| Fault::BadRow("messages.content_type"))?;
    Ok(Message {
        msgid: MsgId(row.int(1)?),
        kind: CmdId(kind),
        from,
        to: name::parse(row.bytes(4)?).ok_or(Fault::BadRow("messages.target"))?,
        key: halves::send_key(row.bytes(5)?).ok_or(Fault::BadRow("messages.send_key"))?,
        content_type: ContentType(content_type),
        content: Bytes::copy_from_slice(row.bytes(7)?),
        sent_at: Timestamp(row.int(8)?),
    })
}
