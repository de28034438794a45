use async_trait::async_trait;
use im_core::id::{MsgId, Uid, Version};
use im_core::message::TimelineId;
use im_core::storage::{Conversation, Conversations, StoreError};
use im_core::time::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::buckets::check_owned;
use super::{Fault, SqliteStore};
use crate::name;

pub(super) const PAGE: &str = "SELECT p.name, c.last_version, c.last_msgid, c.last_at, c.unread FROM conversations c \
     JOIN owners p ON p.id = c.peer WHERE c.owner = (SELECT id FROM owners WHERE name = ?) AND c.last_version < ? \
     ORDER BY c.last_version DESC LIMIT ?";

#[async_trait]
impl Conversations for SqliteStore {
    async fn conversations(
        &self,
        owner: &Uid,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<Conversation>, StoreError> {
        let page = async {
            let before = before.map_or(i64::MAX, |before| before.0);
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let query = sqlx::query(PAGE).bind(name::of_user(owner)).bind(before).bind(limit);
            let mut transaction = self.readers.begin().await?;
            check_owned(&mut transaction, std::iter::once(&TimelineId::User(owner.clone()))).await?;
            let rows = query.fetch_all(&mut *transaction).await?;
            transaction.commit().await?;
            rows.iter().map(conversation).collect()
        };
        self.within("conversations", page).await
    }
}

fn conversation(row: &SqliteRow) -> Result<Conversation, Fault> {
    Ok(Conversation {
        with: name::parse(row.try_get(0)?).ok_or(Fault::BadRow("conversations.peer"))?,
        last_version: Version(row.try_get(1)?),
        last_msgid: MsgId(row.try_get(2)?),
        last_at: Timestamp(row.try_get(3)?),
        unread: row.try_get(4)?,
    })
}
