use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use im_core::id::{DeviceId, Uid, Version};
use im_core::message::TimelineId;
use im_core::storage::{Cursor, CursorAck, Cursors, MAX_CURSORS, StoreError, StoreErrorKind};

use super::driver::{Column, Row, Session, Value};
use super::lookup::{self, Owners};
use super::ownership::{check_owned, number_of};
use super::statement::{Both, Insert, Text};
use super::tries::Tries;
use super::{Fault, SqlStore, writing};
use crate::name;

#[async_trait]
impl Cursors for SqlStore {
    async fn ack(&self, acks: Vec<CursorAck>) -> Vec<Result<(), StoreError>> {
        let count = acks.len();
        if count == 0 {
            return Vec::new();
        }
        match self.within("ack", self.move_cursors(acks)).await {
            Ok(answers) => answers,
            Err(error) => vec![Err(error); count],
        }
    }

    async fn cursors(&self, of: Vec<(Uid, TimelineId)>) -> Result<Vec<Vec<Cursor>>, StoreError> {
        let lists = async {
            let mut session = self.pool.session().await?;
            let lists = lists(&mut session, &of).await;
            session.settle(lists)
        };
        self.within("cursors", lists).await
    }
}

pub(super) static MOVE: Insert = Insert::new(
    "cursors",
    &["uid", "timeline", "device", "version"],
    Both {
        mysql: "ON DUPLICATE KEY UPDATE version = GREATEST(version, VALUES(version))",
        postgres: "ON CONFLICT (uid, timeline, device) DO UPDATE SET \
                   version = GREATEST(cursors.version, excluded.version)",
    },
);

static LIST: Text = Text::new(
    "SELECT c.device, c.version FROM cursors c WHERE c.uid = ? AND c.timeline = ? ORDER BY c.device LIMIT ?",
);

impl SqlStore {
    /// One statement moves all, in the order of their keys. Heads only grow, so that they may be read before.
    async fn move_cursors(&self, acks: Vec<CursorAck>) -> Result<Vec<Result<(), StoreError>>, Fault> {
        let mut tries = Tries::default();
        loop {
            let mut session = self.pool.session().await?;
            let moved = move_cursors(&mut session, &acks).await;
            match session.end(moved).await {
                Err(Fault::NewOwners(names)) => self.create_owners(names).await?,
                Err(Fault::FencesOver(buckets)) => self.end_fences(buckets).await?,
                Err(fault) if fault.is_conflict() => tries.wait(fault).await?,
                outcome => return outcome,
            }
        }
    }
}

/// A cursor's key.
type Key = (i64, i64, Vec<u8>);

async fn move_cursors(
    session: &mut Session,
    acks: &[CursorAck],
) -> Result<Vec<Result<(), StoreError>>, Fault> {
    let users: Vec<_> = acks.iter().map(|ack| TimelineId::User(ack.uid.clone())).collect();
    let names = lookup::names(acks.iter().map(|ack| &ack.timeline).chain(&users));
    let buckets = acks.iter().map(|ack| number_of(&ack.timeline)).collect();
    let (_, ownership) = writing::begin(session, Vec::new(), buckets).await?;
    let owners = lookup::owners(session, names).await?;
    let (mut answers, mut new) = (Vec::with_capacity(acks.len()), Vec::new());
    let (mut moves, mut changes): (BTreeMap<Key, i64>, BTreeMap<Key, i64>) = Default::default();
    for ack in acks {
        if ownership.refuses(&ack.timeline) {
            answers.push(Err(StoreError::new(StoreErrorKind::Moved, "ack")));
            continue;
        }
        let (uid, timeline) = (name::of_user(&ack.uid), name::of(&ack.timeline));
        let head = owners.get(&timeline).map(|owner| owner.head.head).unwrap_or_default();
        if ack.version > head {
            answers.push(Err(StoreError::new(StoreErrorKind::AheadOfHead, "ack")));
            continue;
        }
        answers.push(Ok(()));
        match key(&owners, &uid, &timeline, &ack.device) {
            Some(key) => {
                if ownership.is_leaving(&ack.timeline) {
                    changes.insert(key.clone(), 0);
                }
                let version = moves.entry(key).or_default();
                *version = ack.version.0.max(*version);
            }
            None => new.extend([uid, timeline].into_iter().filter(|name| !owners.contains_key(name))),
        }
    }
    if !new.is_empty() {
        new.sort_unstable();
        new.dedup();
        return Err(Fault::NewOwners(new));
    }
    session.insert(&MOVE, columns(&moves)).await?;
    let mut changed = columns(&changes);
    changed.truncate(3);
    session.insert(&CHANGE, changed).await?;
    Ok(answers)
}

/// What has to be copied again to where its bucket goes.
static CHANGE: Insert = Insert::new(
    "bucket_changes",
    &["uid", "timeline", "device"],
    Both { mysql: "ON DUPLICATE KEY UPDATE uid = VALUES(uid)", postgres: "ON CONFLICT DO NOTHING" },
);

pub(super) fn key(owners: &Owners, uid: &[u8], timeline: &[u8], device: &DeviceId) -> Option<Key> {
    Some((owners.get(uid)?.id, owners.get(timeline)?.id, device.as_str().as_bytes().to_vec()))
}

/// The columns of [`MOVE`].
pub(super) fn columns(moves: &BTreeMap<Key, i64>) -> Vec<Column> {
    vec![
        Column::ints(moves.keys().map(|(uid, ..)| *uid)),
        Column::ints(moves.keys().map(|(_, timeline, _)| *timeline)),
        Column::blobs(moves.keys().map(|(.., device)| device.clone())),
        Column::ints(moves.values().copied()),
    ]
}

async fn lists(session: &mut Session, of: &[(Uid, TimelineId)]) -> Result<Vec<Vec<Cursor>>, Fault> {
    let users: Vec<_> = of.iter().map(|(uid, _)| TimelineId::User(uid.clone())).collect();
    let names = lookup::names(of.iter().map(|(_, timeline)| timeline).chain(&users));
    let owners = lookup::owners(session, names).await?;
    check_owned(session, &owners, of.iter().map(|(_, timeline)| timeline)).await?;
    let mut known: HashMap<(i64, i64), Vec<Cursor>> = HashMap::new();
    let mut lists = Vec::with_capacity(of.len());
    for (uid, timeline) in of {
        let (Some(uid), Some(timeline)) = (owners.get(&name::of_user(uid)), owners.get(&name::of(timeline)))
        else {
            lists.push(Vec::new());
            continue;
        };
        let pair = (uid.id, timeline.id);
        let list = match known.entry(pair) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(list(session, pair).await?),
        };
        lists.push(list.clone());
    }
    Ok(lists)
}

async fn list(session: &mut Session, (uid, timeline): (i64, i64)) -> Result<Vec<Cursor>, Fault> {
    let limit = i64::try_from(MAX_CURSORS).unwrap_or(i64::MAX);
    let rows = session.select(&LIST, [uid, timeline, limit].map(Value::Int).into()).await?;
    rows.iter().map(cursor).collect()
}

fn cursor(row: &Row) -> Result<Cursor, Fault> {
    Ok(Cursor { device: device(row.bytes(0)?)?, version: Version(row.int(1)?) })
}

pub(super) fn device(bytes: &[u8]) -> Result<DeviceId, Fault> {
    let device = std::str::from_utf8(bytes).ok().and_then(|text| DeviceId::new(text).ok());
    device.ok_or(Fault::BadRow("cursors.device"))
}
