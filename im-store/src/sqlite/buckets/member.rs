//! Which of several databases this one is, and what it has to show for it.

use std::collections::BTreeSet;

use im_core::message::TimelineId;
use im_core::storage::{Bucket, BucketState, Member, SetId};
use sqlx::{Row, SqliteConnection};

use super::{Fault, state, timeline};

pub(super) async fn noted(connection: &mut SqliteConnection) -> Result<Option<Member>, sqlx::Error> {
    let row = sqlx::query("SELECT set_id, place FROM member").fetch_optional(connection).await?;
    row.map(|row| Ok(Member { set: SetId(row.try_get(0)?), place: row.try_get(1)? })).transpose()
}

pub(super) async fn join(connection: &mut SqliteConnection, member: Member) -> Result<Member, Fault> {
    let note = sqlx::query("INSERT INTO member (id, set_id, place) VALUES (1, ?, ?) ON CONFLICT DO NOTHING");
    note.bind(member.set.0).bind(i64::from(member.place)).execute(&mut *connection).await?;
    Ok(noted(connection).await?.unwrap_or(member))
}

/// Its place among several databases, if it is one of them. The first has their map, also where it was made before anybody noted which is which.
pub(in super::super) async fn place(connection: &mut SqliteConnection) -> Result<Option<u16>, sqlx::Error> {
    if let Some(member) = noted(connection).await? {
        return Ok(Some(member.place));
    }
    let has_map: bool = sqlx::query_scalar("SELECT EXISTS (SELECT * FROM bucket_map WHERE version > 0)")
        .fetch_one(connection)
        .await?;
    Ok(has_map.then_some(0))
}

pub(super) async fn timelines(
    connection: &mut SqliteConnection,
    limit: usize,
) -> Result<Vec<TimelineId>, Fault> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = sqlx::query("SELECT name FROM owners WHERE head > 0 ORDER BY id LIMIT ?");
    let rows = rows.bind(limit).fetch_all(&mut *connection).await?;
    let moving = state::all(connection).await?;
    let elsewhere = moving.iter().filter_map(state::BucketRow::moving);
    let elsewhere = elsewhere.filter(|row| matches!(row.state, BucketState::Gone | BucketState::Arriving));
    let elsewhere: BTreeSet<Bucket> = elsewhere.map(|row| row.bucket).collect();
    let mut timelines = Vec::new();
    for row in &rows {
        timelines.push(timeline(row.try_get(0)?)?);
    }
    timelines.retain(|timeline| !elsewhere.contains(&Bucket::of(timeline)));
    Ok(timelines)
}
