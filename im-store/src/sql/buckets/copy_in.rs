use std::collections::{BTreeMap, BTreeSet, HashMap};

use im_core::id::Uid;
use im_core::message::{SendKey, TimelineId};
use im_core::storage::{BucketState, CursorAck, Head, MoveId, MovedPost, MovedRow};

use super::super::driver::{Session, Value};
use super::super::lookup::{self, Owners};
use super::super::plan::{self, Known};
use super::super::statement::Text;
use super::super::{Fault, append, cursors};
use super::state::lock_move;
use crate::name;

/// Rows, by kind.
#[derive(Default)]
struct Kinds {
    floors: Vec<(TimelineId, Head)>,
    posts: Vec<MovedPost>,
    cursors: Vec<CursorAck>,
}

impl Kinds {
    fn of(rows: &[MovedRow]) -> Self {
        let mut kinds = Self::default();
        for row in rows {
            match row {
                MovedRow::Floor(timeline, head) => kinds.floors.push((timeline.clone(), *head)),
                MovedRow::Post(post) => kinds.posts.push(MovedPost::clone(post)),
                MovedRow::Cursor(ack) => kinds.cursors.push(ack.clone()),
            }
        }
        kinds
    }

    /// Everybody who is named.
    fn owners(&self) -> Vec<TimelineId> {
        let mut owners = plan::owners_of_moved(&self.posts);
        owners.extend(self.floors.iter().map(|(timeline, _)| timeline.clone()));
        for ack in &self.cursors {
            owners.extend([TimelineId::User(ack.uid.clone()), ack.timeline.clone()]);
        }
        owners
    }
}

/// Stores rows of buckets that arrive. Who stores has the buckets' locks: two movers take turns, and only one has the move.
pub(super) async fn store(session: &mut Session, id: MoveId, rows: &[MovedRow]) -> Result<(), Fault> {
    let buckets = lock_move(session, id).await?;
    if buckets.iter().any(|row| row.state != Some(BucketState::Arriving)) {
        return Err(Fault::LeaseLost);
    }
    let arriving: BTreeSet<i64> = buckets.iter().map(|row| row.bucket).collect();
    let mut came = rows.iter().flat_map(MovedRow::buckets).map(|bucket| i64::from(bucket.number()));
    if !came.all(|bucket| arriving.contains(&bucket)) {
        return Err(Fault::LeaseLost);
    }
    let kinds = Kinds::of(rows);
    let timelines = kinds.owners();
    let names = lookup::names(timelines.iter());
    let owners = lookup::owners(session, names.clone()).await?;
    let new: Vec<_> = names.into_iter().filter(|name| !owners.contains_key(name)).collect();
    if !new.is_empty() {
        return Err(Fault::NewOwners(new));
    }
    let owners = set_floors(session, owners, &kinds.floors).await?;
    store_posts(session, &owners, timelines, kinds.posts).await?;
    store_cursors(session, &owners, &kinds.cursors).await
}

static FLOOR: Text = Text::new("UPDATE owners SET floor = ?, head = ? WHERE id = ?");

async fn set_floors(
    session: &mut Session,
    mut owners: Owners,
    floors: &[(TimelineId, Head)],
) -> Result<Owners, Fault> {
    for (timeline, Head { floor, .. }) in floors {
        let Some(owner) = owners.get_mut(&name::of(timeline)) else { continue };
        if owner.head == Head::default() {
            owner.head = Head { floor: *floor, head: *floor };
            session.execute(&FLOOR, [floor.0, floor.0, owner.id].map(Value::Int).into()).await?;
        }
    }
    Ok(owners)
}

async fn store_posts(
    session: &mut Session,
    owners: &Owners,
    timelines: Vec<TimelineId>,
    posts: Vec<MovedPost>,
) -> Result<(), Fault> {
    if posts.is_empty() {
        return Ok(());
    }
    let keys: Vec<(Uid, SendKey)> =
        posts.iter().map(|post| (post.message.from.clone(), post.message.key.clone())).collect();
    let sends = lookup::sends(session, owners, &keys).await?;
    let known = timelines.into_iter().filter_map(|timeline| {
        let known = owners.get(&name::of(&timeline))?.known(true);
        Some((timeline, known))
    });
    let known = Known { owners: known.collect::<HashMap<_, _>>(), sends, ..Known::default() };
    append::store(session, &plan::moved(posts, known)?).await
}

async fn store_cursors(session: &mut Session, owners: &Owners, acks: &[CursorAck]) -> Result<(), Fault> {
    let mut moves = BTreeMap::new();
    for ack in acks {
        let key = cursors::key(owners, &name::of_user(&ack.uid), &name::of(&ack.timeline), &ack.device);
        let version = moves.entry(key.ok_or(Fault::BadRow("owners.name"))?).or_default();
        *version = ack.version.0.max(*version);
    }
    session.insert(&cursors::MOVE, cursors::columns(&moves)).await
}
