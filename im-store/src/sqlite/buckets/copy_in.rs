use std::collections::{BTreeMap, BTreeSet};

use im_core::id::Version;
use im_core::message::TimelineId;
use im_core::storage::{Bucket, BucketState, CursorAck, Head, MoveId, MovedPost, MovedRow};
use sqlx::SqliteConnection;

use super::super::{Fault, append, cursors, lookup};
use super::of_move;
use crate::name;
use crate::sql::plan::{self, Known};

/// Stores rows of buckets that arrive.
pub(super) async fn store(
    connection: &mut SqliteConnection,
    id: MoveId,
    rows: Vec<MovedRow>,
) -> Result<(), Fault> {
    let buckets = of_move(connection, id).await?;
    if buckets.is_empty() || buckets.iter().any(|row| row.state != Some(BucketState::Arriving)) {
        return Err(Fault::LeaseLost);
    }
    let arriving: BTreeSet<Bucket> = buckets.iter().map(|row| row.bucket).collect();
    if !rows.iter().flat_map(MovedRow::buckets).all(|bucket| arriving.contains(&bucket)) {
        return Err(Fault::LeaseLost);
    }
    let (mut posts, mut moves) = (Vec::new(), BTreeMap::new());
    for row in rows {
        match row {
            MovedRow::Floor(timeline, head) => set_floor(connection, &timeline, head).await?,
            MovedRow::Post(post) => posts.push(*post),
            MovedRow::Cursor(CursorAck { uid, device, timeline, version }) => {
                let key = (name::of_user(&uid), name::of(&timeline), device);
                let cursor: &mut Version = moves.entry(key).or_default();
                *cursor = version.max(*cursor);
            }
        }
    }
    store_posts(connection, posts).await?;
    cursors::store(connection, moves).await
}

async fn set_floor(
    connection: &mut SqliteConnection,
    timeline: &TimelineId,
    head: Head,
) -> Result<(), Fault> {
    let set = "INSERT INTO owners (name, floor, head) VALUES (?, ?2, ?2) \
               ON CONFLICT DO UPDATE SET floor = excluded.floor, head = excluded.head WHERE head = 0";
    sqlx::query(set).bind(name::of(timeline)).bind(head.floor.0).execute(connection).await?;
    Ok(())
}

async fn store_posts(connection: &mut SqliteConnection, posts: Vec<MovedPost>) -> Result<(), Fault> {
    if posts.is_empty() {
        return Ok(());
    }
    let timelines = plan::owners_of_moved(&posts);
    let rows = lookup::owners(connection, &timelines).await?;
    let owners = timelines.into_iter().zip(rows);
    let owners = owners.filter_map(|(timeline, owner)| Some((timeline, owner?.known(true)))).collect();
    let keys: Vec<_> =
        posts.iter().map(|post| (post.message.from.clone(), post.message.key.clone())).collect();
    let sends = lookup::sends(connection, &keys).await?;
    let (last_owner, last_message) = append::last_numbers(connection).await?;
    let known = Known { owners, sends, last_owner, last_message, ..Known::default() };
    append::store(connection, &plan::moved(posts, known)?).await
}
