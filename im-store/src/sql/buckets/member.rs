//! Which of several databases this one is, and what it has to show for it.

use std::collections::BTreeSet;

use im_core::message::TimelineId;
use im_core::storage::{Bucket, BucketState, Member, SetId};

use super::super::Fault;
use super::super::driver::{Session, Value};
use super::super::ownership::BucketRow;
use super::super::statement::Text;
use super::state;
use crate::name;

static NOTED: Text = Text::new("SELECT m.set_id, m.place FROM member m WHERE m.id = 1");

static NOTE: Text = Text::new("INSERT INTO member (id, set_id, place) VALUES (1, ?, ?)");

/// The first of several databases has their map, also where it was made before anybody noted which is which.
static HAS_MAP: Text = Text::new("SELECT m.version FROM bucket_map m WHERE m.id = 1 AND m.version > 0");

static WRITTEN: Text = Text::new("SELECT o.name FROM owners o WHERE o.head > 0 ORDER BY o.id LIMIT ?");

pub(super) async fn noted(session: &mut Session) -> Result<Option<Member>, Fault> {
    let rows = session.select(&NOTED, Vec::new()).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let place = u16::try_from(row.int(1)?).map_err(|_| Fault::BadRow("member.place"))?;
    Ok(Some(Member { set: SetId(row.int(0)?), place }))
}

/// If another notes it at the same time, one of the two finds the row when it is tried again.
pub(super) async fn join(session: &mut Session, member: Member) -> Result<Member, Fault> {
    if let Some(noted) = noted(session).await? {
        return Ok(noted);
    }
    session.execute(&NOTE, vec![Value::Int(member.set.0), Value::Int(member.place.into())]).await?;
    Ok(member)
}

/// Its place among several databases, if it is one of them.
pub(in super::super) async fn place(session: &mut Session) -> Result<Option<u16>, Fault> {
    if let Some(member) = noted(session).await? {
        return Ok(Some(member.place));
    }
    Ok(session.select(&HAS_MAP, Vec::new()).await?.first().map(|_| 0))
}

/// Timelines that are owned here. What is read before the states of buckets is owned then if it is owned now, or has just come.
pub(super) async fn timelines(session: &mut Session, limit: usize) -> Result<Vec<TimelineId>, Fault> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = session.select(&WRITTEN, vec![Value::Int(limit)]).await?;
    let moving = state::all_moving(session).await?;
    let elsewhere = moving.iter().filter_map(BucketRow::moving);
    let elsewhere = elsewhere.filter(|row| matches!(row.state, BucketState::Gone | BucketState::Arriving));
    let elsewhere: BTreeSet<Bucket> = elsewhere.map(|row| row.bucket).collect();
    let mut timelines = Vec::new();
    for row in rows {
        let owner = name::parse(row.bytes(0)?).ok_or(Fault::BadRow("owners.name"))?;
        timelines.push(name::timeline_of(&owner));
    }
    timelines.retain(|timeline| !elsewhere.contains(&Bucket::of(timeline)));
    Ok(timelines)
}
