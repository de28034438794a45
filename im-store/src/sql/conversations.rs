use async_trait::async_trait;
use im_core::id::{MsgId, Uid, Version};
use im_core::storage::{Conversation, Conversations, StoreError};
use im_core::time::Timestamp;

use super::driver::{Row, Value};
use super::statement::Text;
use super::{Fault, SqlStore};
use crate::name;

static PAGE: Text = Text::new(
    "SELECT p.name, c.last_version, c.last_msgid, c.last_at, c.unread FROM conversations c \
     JOIN owners p ON p.id = c.peer WHERE c.owner = (SELECT o.id FROM owners o WHERE o.name = ?) \
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
            let before = before.map_or(i64::MAX, |before| before.0);
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let values = vec![Value::Bytes(name::of_user(owner)), Value::Int(before), Value::Int(limit)];
            let mut session = self.pool.session().await?;
            let rows = session.select(&PAGE, values).await;
            session.settle(rows)?.iter().map(conversation).collect()
        };
        self.within("conversations", page).await
    }
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
