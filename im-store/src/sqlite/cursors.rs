use std::collections::BTreeMap;
use std::sync::LazyLock;

use async_trait::async_trait;
use futures::TryStreamExt;
use im_core::id::{DeviceId, Uid, Version};
use im_core::message::TimelineId;
use im_core::storage::{Cursor, CursorAck, Cursors, MAX_CURSORS, StoreError, StoreErrorKind};
use sqlx::{Row, SqliteConnection};

use super::buckets::{check_owned, ownership};
use super::rows::Rows;
use super::{Fault, SqliteStore, lookup};
use crate::name;

#[async_trait]
impl Cursors for SqliteStore {
    async fn ack(&self, acks: Vec<CursorAck>) -> Vec<Result<(), StoreError>> {
        let count = acks.len();
        if count == 0 {
            return Vec::new();
        }
        let moved = self.writer.transact(|connection| Box::pin(move_cursors(connection, acks)));
        match self.within("ack", moved).await {
            Ok(answers) => answers,
            Err(error) => vec![Err(error); count],
        }
    }

    async fn cursors(&self, of: Vec<(Uid, TimelineId)>) -> Result<Vec<Vec<Cursor>>, StoreError> {
        let lists = async {
            let mut transaction = self.readers.begin().await?;
            check_owned(&mut transaction, of.iter().map(|(_, timeline)| timeline)).await?;
            let lists = lists(&mut transaction, &of).await?;
            transaction.commit().await?;
            Ok(lists)
        };
        self.within("cursors", lists).await
    }
}

/// A user has to have a row before its devices have cursors.
pub(super) static NEW_OWNERS: LazyLock<Rows> = LazyLock::new(|| {
    Rows::new(
        1,
        "INSERT INTO owners (name) SELECT * FROM (",
        ") WHERE column1 IS NOT NULL ON CONFLICT DO NOTHING",
    )
});

static MOVE: LazyLock<Rows> = LazyLock::new(|| {
    Rows::new(
        4,
        "WITH q(uid, timeline, device, version) AS (",
        ") INSERT INTO cursors (uid, timeline, device, version) SELECT u.id, t.id, q.device, q.version \
         FROM q CROSS JOIN owners u ON u.name = q.uid CROSS JOIN owners t ON t.name = q.timeline WHERE true \
         ON CONFLICT DO UPDATE SET version = max(version, excluded.version)",
    )
});

pub(super) static LISTS: LazyLock<Rows> = LazyLock::new(|| {
    Rows::new(
        3,
        "WITH q(n, uid, timeline) AS (",
        &format!(
            ") SELECT q.n, c.device, c.version FROM q CROSS JOIN owners u ON u.name = q.uid \
             CROSS JOIN owners t ON t.name = q.timeline CROSS JOIN cursors c ON c.uid = u.id AND c.timeline = t.id \
             AND c.device IN (SELECT d.device FROM cursors d WHERE d.uid = u.id AND d.timeline = t.id \
             ORDER BY d.device LIMIT {MAX_CURSORS}) ORDER BY q.n, c.device"
        ),
    )
});

/// A cursor: whose, of whose timeline, and of which device.
type Key = (Vec<u8>, Vec<u8>, DeviceId);

type Moves = BTreeMap<Key, Version>;

async fn move_cursors(
    connection: &mut SqliteConnection,
    acks: Vec<CursorAck>,
) -> Result<Vec<Result<(), StoreError>>, Fault> {
    let timelines: Vec<_> = acks.iter().map(|ack| ack.timeline.clone()).collect();
    let ownership = ownership(connection).await?;
    let owners = lookup::owners(connection, &timelines).await?;
    let mut answers = Vec::with_capacity(acks.len());
    let (mut moves, mut changes) = (Moves::new(), Vec::new());
    for (ack, owner) in acks.into_iter().zip(owners) {
        if ownership.refuses(&ack.timeline) {
            answers.push(Err(StoreError::new(StoreErrorKind::Moved, "ack")));
            continue;
        }
        let head = owner.map(|owner| owner.head.head).unwrap_or_default();
        if ack.version > head {
            answers.push(Err(StoreError::new(StoreErrorKind::AheadOfHead, "ack")));
            continue;
        }
        let cursor = (name::of_user(&ack.uid), name::of(&ack.timeline), ack.device);
        if ownership.is_leaving(&ack.timeline) {
            changes.push(cursor.clone());
        }
        let version = moves.entry(cursor).or_default();
        *version = ack.version.max(*version);
        answers.push(Ok(()));
    }
    store(connection, moves).await?;
    note(connection, changes).await?;
    Ok(answers)
}

/// Cursors that have to be copied again to where their bucket goes.
async fn note(connection: &mut SqliteConnection, changes: Vec<Key>) -> Result<(), Fault> {
    let note = "INSERT OR IGNORE INTO bucket_changes (timeline, uid, device) \
                SELECT t.id, u.id, ? FROM owners t CROSS JOIN owners u WHERE t.name = ? AND u.name = ?";
    for (uid, timeline, device) in changes {
        let note = sqlx::query(note).bind(device.as_str().as_bytes().to_vec()).bind(timeline).bind(uid);
        note.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Moves cursors to these versions, unless they are further.
pub(super) async fn store(connection: &mut SqliteConnection, moves: Moves) -> Result<(), Fault> {
    let moves: Vec<_> = moves.into_iter().collect();
    let mut names: Vec<_> = moves.iter().flat_map(|((uid, timeline, _), _)| [uid, timeline]).collect();
    names.sort_unstable();
    names.dedup();
    let mut queries = NEW_OWNERS.queries(&names, |query, name| query.bind((*name).clone()));
    queries.extend(MOVE.queries(&moves, |query, ((uid, timeline, device), version)| {
        let device = device.as_str().as_bytes().to_vec();
        query.bind(uid.clone()).bind(timeline.clone()).bind(device).bind(version.0)
    }));
    for query in queries {
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

async fn lists(
    connection: &mut SqliteConnection,
    of: &[(Uid, TimelineId)],
) -> Result<Vec<Vec<Cursor>>, Fault> {
    let mut lists = vec![Vec::new(); of.len()];
    let queries =
        LISTS.numbered(of, |query, (uid, timeline)| query.bind(name::of_user(uid)).bind(name::of(timeline)));
    for query in queries {
        let mut rows = query.fetch(&mut *connection);
        while let Some(row) = rows.try_next().await? {
            let number = usize::try_from(row.try_get::<i64, _>(0)?).ok();
            let list = number.and_then(|number| lists.get_mut(number));
            let device = std::str::from_utf8(row.try_get(1)?).ok().and_then(|text| DeviceId::new(text).ok());
            let device = device.ok_or(Fault::BadRow("cursors.device"))?;
            let list = list.ok_or(Fault::BadRow("the number of a question"))?;
            list.push(Cursor { device, version: Version(row.try_get(2)?) });
        }
    }
    Ok(lists)
}
