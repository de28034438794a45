use im_core::client::{EarlierEntry, EarlierPlace, LocalEntry};
use im_core::id::StoreEpoch;

use super::fault::Fault;
use super::{SqliteLocalStore, rows};

/// What is kept over epochs of the server's store.
impl SqliteLocalStore {
    pub(super) async fn try_begin_epoch(&self, epoch: StoreEpoch) -> Result<(), Fault> {
        let mut transaction = self.pool.begin().await?;
        let begun = sqlx::query("UPDATE state SET epoch = ?1, cursor = 0 WHERE epoch <> ?1")
            .bind(epoch.0)
            .execute(&mut *transaction)
            .await?;
        if begun.rows_affected() > 0 {
            sqlx::query(
                "INSERT INTO earlier (version, msgid, kind, sender, target, client_msg_id, content_type, content, sent_at, \
                 withdrawn_at) SELECT version, msgid, kind, sender, target, client_msg_id, content_type, content, sent_at, \
                 withdrawn_at FROM entries ORDER BY version",
            )
            .execute(&mut *transaction)
            .await?;
            sqlx::query("DELETE FROM entries").execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    pub(super) async fn try_recognise(&self, entries: &[LocalEntry]) -> Result<Vec<bool>, Fault> {
        let mut connection = self.pool.acquire().await?;
        let mut known = Vec::with_capacity(entries.len());
        for entry in entries {
            known.push(rows::find_earlier(entry).fetch_optional(&mut *connection).await?.is_some());
        }
        Ok(known)
    }

    pub(super) async fn try_earlier(
        &self,
        before: EarlierPlace,
        limit: usize,
    ) -> Result<Vec<EarlierEntry>, Fault> {
        let found: Vec<EarlierRow> = sqlx::query_as(
            "SELECT place, version, msgid, kind, sender, target, client_msg_id, content_type, content, sent_at, \
             withdrawn_at FROM earlier WHERE place < ? ORDER BY place DESC LIMIT ?",
        )
        .bind(before.0)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await?;
        found.into_iter().map(earlier).collect()
    }
}

/// The place, and the columns of an entry.
type EarlierRow = (i64, i64, i64, i64, Vec<u8>, Vec<u8>, Option<Vec<u8>>, i32, Vec<u8>, i64, Option<i64>);

fn earlier(row: EarlierRow) -> Result<EarlierEntry, Fault> {
    let (
        place,
        version,
        msgid,
        kind,
        sender,
        target,
        client_msg_id,
        content_type,
        content,
        sent_at,
        withdrawn_at,
    ) = row;
    let row =
        (version, msgid, kind, sender, target, client_msg_id, content_type, content, sent_at, withdrawn_at);
    Ok(EarlierEntry { place: EarlierPlace(place), entry: rows::entry(row)? })
}
