use async_trait::async_trait;
use im_core::id::{MsgId, Uid, Version};
use im_core::message::TimelineId;
use im_core::storage::{Conversation, Conversations, StoreError};
use im_core::time::Timestamp;

use super::driver::{Row, Session, Value};
use super::ownership::check_owned;
use super::statement::Text;
use super::{Fault, SqlStore, lookup};
use crate::name;

static PAGE: Text = Text::new(
    "SELECT p.name, c.last_version, c.last_msgid, c.last_at, c.unread FROM conversations c \
     JOIN owners p ON p.id = c.peer WHERE c.owner = ? \
     AND c.last_version < ? ORDER BY c.last_version DESC LIMIT ?",
);

#[async_trait]
impl Conversations for SqlStore {
    async fn conversations(
        &self,
        owner: &Uid,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<Conversation>, StoreError> {
        let page = async {
            let mut session = self.pool.session().await?;
            let page = page(&mut session, &TimelineId::User(owner.clone()), before, limit).await;
            session.settle(page)
        };
        self.within("conversations", page).await
    }
}

async fn page(
    session: &mut Session,
    owner: &TimelineId,
    before: Option<Version>,
    limit: usize,
) -> Result<Vec<Conversation>, Fault> {
    let owners = lookup::owners(session, vec![name::of(owner)]).await?;
    check_owned(session, &owners, std::iter::once(owner)).await?;
    let Some(owner) = owners.values().next() else { return Ok(Vec::new()) };
    let before = before.map_or(i64::MAX, |before| before.0);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = session.select(&PAGE, [owner.id, before, limit].map(Value::Int).into()).await?;
    rows.iter().map(conversation).collect()
}

fn conversation(row: &Row) -> Result<Conversation, Fault> {
    Ok(Conversation {
        with: name::parse(row.bytes(0)?).ok_or(Fault::BadRow("conversations.peer"))?,
        last_version: Version(row.int(1)?),
        last_msgid: MsgId(row.int(2)?),
        last_at: Timestamp(row.int(3)?),
        unread: row.int(4)?,
    })
}
