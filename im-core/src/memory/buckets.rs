use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;

use super::timeline::Timeline;
use super::{MemoryStore, State};
use crate::id::{DeviceId, Uid, Version};
use crate::message::{Digest, Message, TimelineId};
use crate::storage::{
    Bucket, BucketState, Buckets, CopyLimits, CopyOut, CopyPage, CursorAck, Found, Mark, Member, Misfit,
    MoveId, MovedPost, MovedRow, MovingBucket, Part, Place, Placed, Position, Post, StoreError,
    StoreErrorKind, StoredMap, Tally,
};
use crate::time::{Tick, Timestamp};

/// What is known of moves.
#[derive(Clone, Debug, Default)]
pub(super) struct MoveTable {
    map: Option<StoredMap>,
    member: Option<Member>,
    last: MoveId,
    buckets: BTreeMap<Bucket, Moving>,
    /// Cursors that changed since their buckets began to leave.
    changed: BTreeSet<(Uid, TimelineId, DeviceId)>,
    /// The time, if there is a clock: it ends fences.
    pub(super) now: Tick,
}

#[derive(Clone, Copy, Debug)]
struct Moving {
    /// `None` if the bucket is simply owned, since that move.
    state: Option<BucketState>,
    id: MoveId,
    to: u16,
    fenced_until: Tick,
}

impl Moving {
    fn state(&self, now: Tick) -> Option<BucketState> {
        match self.state {
            Some(BucketState::Fenced) if self.fenced_until <= now => Some(BucketState::Leaving),
            state => state,
        }
    }
}

/// Everything that was stored, in order, with what of it is here.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    last: i64,
    rows: BTreeMap<i64, LogRow>,
}

#[derive(Clone, Debug)]
pub(super) struct LogRow {
    pub(super) message: Message,
    pub(super) digest: Digest,
    pub(super) withdrawn_at: Option<Timestamp>,
    pub(super) entries: Vec<Place>,
    /// The timelines that its send is placed in, home and copy, if its key is here.
    pub(super) key: Option<(TimelineId, Option<TimelineId>)>,
}

impl Log {
    pub(super) fn add(&mut self, row: LogRow) {
        self.last += 1;
        self.rows.insert(self.last, row);
    }
}

fn error(kind: StoreErrorKind) -> StoreError {
    StoreError::new(kind, "buckets")
}

fn is_leaving(state: BucketState) -> bool {
    matches!(state, BucketState::Leaving | BucketState::Fenced)
}

impl MoveTable {
    fn state(&self, bucket: Bucket) -> Option<BucketState> {
        self.buckets.get(&bucket)?.state(self.now)
    }

    /// Whether a timeline, or the keys of its user, may be read here.
    pub(super) fn readable(&self, timeline: &TimelineId, operation: &'static str) -> Result<(), StoreError> {
        match self.state(Bucket::of(timeline)) {
            Some(BucketState::Gone | BucketState::Arriving) => {
                Err(StoreError::new(StoreErrorKind::Moved, operation))
            }
            _ => Ok(()),
        }
    }

    fn writable(&self, timeline: &TimelineId, operation: &'static str) -> Result<(), StoreError> {
        match self.state(Bucket::of(timeline)) {
            None | Some(BucketState::Leaving) => Ok(()),
            Some(_) => Err(StoreError::new(StoreErrorKind::Moved, operation)),
        }
    }

    /// Whether a post may be stored whole here.
    pub(super) fn takes(&self, post: &Post) -> Result<(), StoreError> {
        self.writable(&TimelineId::User(post.message.from.clone()), "append")?;
        self.writable(&post.home, "append")?;
        post.copy.as_ref().map_or(Ok(()), |copy| self.writable(copy, "append"))
    }

    /// Whether a part of a post may be stored here.
    pub(super) fn takes_part(&self, part: &Part) -> Result<(), StoreError> {
        match part {
            Part::Whole(post) => self.takes(post),
            Part::Home { post, .. } => {
                self.writable(&TimelineId::User(post.message.from.clone()), "append_parts")?;
                self.writable(&post.home, "append_parts")
            }
            Part::Key { post, .. } => {
                self.writable(&TimelineId::User(post.message.from.clone()), "append_parts")
            }
            Part::Copy { into, .. } => self.writable(into, "append_parts"),
        }
    }

    /// Whether a cursor may move here. Notes it if it has to be copied again.
    pub(super) fn takes_ack(&mut self, ack: &CursorAck) -> Result<(), StoreError> {
        self.writable(&ack.timeline, "ack")?;
        if self.state(Bucket::of(&ack.timeline)) == Some(BucketState::Leaving) {
            self.changed.insert((ack.uid.clone(), ack.timeline.clone(), ack.device.clone()));
        }
        Ok(())
    }

    fn set(&mut self, id: MoveId, buckets: &[Bucket], state: BucketState, to: u16) {
        let fenced_until = Tick::default();
        let row = Moving { state: Some(state), id, to, fenced_until };
        self.buckets.extend(buckets.iter().map(|bucket| (*bucket, row)));
    }

    fn depart(&mut self, id: MoveId, buckets: &[Bucket], to: u16) -> Result<(), StoreError> {
        for bucket in buckets {
            let newer = self.buckets.get(bucket).is_some_and(|row| row.id > id);
            match self.state(*bucket) {
                Some(BucketState::Gone | BucketState::Arriving) => {
                    return Err(error(StoreErrorKind::Moved));
                }
                _ if newer => return Err(error(StoreErrorKind::LeaseLost)),
                _ => {}
            }
        }
        self.changed.retain(|(_, timeline, _)| !buckets.contains(&Bucket::of(timeline)));
        for earlier in self.left_by(buckets).into_iter().filter(|earlier| *earlier != id) {
            self.each(earlier, |row| row.state = row.state.filter(|state| !is_leaving(*state)));
        }
        self.set(id, buckets, BucketState::Leaving, to);
        Ok(())
    }

    /// The moves by which some of these buckets leave.
    fn left_by(&self, buckets: &[Bucket]) -> BTreeSet<MoveId> {
        let rows = buckets.iter().filter_map(|bucket| self.buckets.get(bucket));
        rows.filter(|row| row.state.is_some_and(is_leaving)).map(|row| row.id).collect()
    }

    fn arrive(&mut self, id: MoveId, buckets: &[Bucket], to: u16) -> Result<(), StoreError> {
        let taken = |row: &Moving| row.id > id || (row.id == id && row.state != Some(BucketState::Arriving));
        match buckets.iter().filter_map(|bucket| self.buckets.get(bucket)).any(taken) {
            true => Err(error(StoreErrorKind::LeaseLost)),
            false => {
                self.set(id, buckets, BucketState::Arriving, to);
                Ok(())
            }
        }
    }

    /// The buckets of a move that are in one of these states. None is an error.
    fn of(&self, id: MoveId, states: &[BucketState]) -> Result<BTreeSet<Bucket>, StoreError> {
        let asked = |row: &Moving| row.id == id && row.state.is_some_and(|state| states.contains(&state));
        let buckets: BTreeSet<_> =
            self.buckets.iter().filter(|(_, row)| asked(row)).map(|(bucket, _)| *bucket).collect();
        match buckets.is_empty() {
            true => Err(error(StoreErrorKind::LeaseLost)),
            false => Ok(buckets),
        }
    }

    fn leaving(&self, id: MoveId) -> Result<BTreeSet<Bucket>, StoreError> {
        self.of(id, &[BucketState::Leaving, BucketState::Fenced])
    }

    fn each(&mut self, id: MoveId, mut change: impl FnMut(&mut Moving)) {
        self.buckets.values_mut().filter(|row| row.id == id).for_each(&mut change);
    }
}

impl State {
    fn mark(&self, id: MoveId) -> Result<Mark, StoreError> {
        let buckets = self.moves.leaving(id)?;
        let pending = |row: &LogRow| {
            let key = (row.message.from.clone(), row.message.key.clone());
            row.key.is_some() && buckets.contains(&Bucket::of_user(&key.0)) && self.outbox.is_pending(&key)
        };
        let first = self.log.rows.iter().find(|(_, row)| pending(row));
        Ok(Mark(first.map_or(self.log.last, |(seq, _)| seq - 1)))
    }

    fn copy_out(&self, id: MoveId, ask: CopyOut, limits: CopyLimits) -> Result<CopyPage, StoreError> {
        let buckets = self.moves.leaving(id)?;
        match ask {
            CopyOut::Posts { after, until } => Ok(self.posts_out(&buckets, after, until, limits)),
            CopyOut::Floors { after } => {
                let all = self.timelines.iter().map(|(id, timeline)| (id, timeline.bounds()));
                let all = all.filter(|(id, head)| head.floor.0 > 0 && buckets.contains(&Bucket::of(id)));
                let rows = all.map(|(id, head)| MovedRow::Floor(id.clone(), head));
                let (rows, after) = page(rows, after, limits)?;
                Ok(CopyPage { rows, next: after.map(|after| CopyOut::Floors { after: Some(after) }) })
            }
            CopyOut::Cursors { changed, after } => {
                let asked = |ack: &CursorAck| {
                    let key = (ack.uid.clone(), ack.timeline.clone(), ack.device.clone());
                    buckets.contains(&Bucket::of(&ack.timeline))
                        && (!changed || self.moves.changed.contains(&key))
                };
                let rows = self.all_cursors().filter(asked).map(MovedRow::Cursor);
                let (rows, after) = page(rows, after, limits)?;
                let next = after.map(|after| CopyOut::Cursors { changed, after: Some(after) });
                Ok(CopyPage { rows, next })
            }
        }
    }

    fn posts_out(
        &self,
        buckets: &BTreeSet<Bucket>,
        after: Mark,
        until: Mark,
        limits: CopyLimits,
    ) -> CopyPage {
        let (mut rows, mut bytes) = (Vec::new(), 0_usize);
        for (seq, row) in self.log.rows.range(after.0.saturating_add(1)..) {
            if *seq > until.0 {
                break;
            }
            let Some(row) = self.moved_post(buckets, row) else { continue };
            let row = MovedRow::Post(Box::new(row));
            bytes = bytes.saturating_add(row.size());
            if !rows.is_empty() && (rows.len() >= limits.rows.max(1) || bytes > limits.bytes) {
                let after = Mark(seq - 1);
                return CopyPage { rows, next: Some(CopyOut::Posts { after, until }) };
            }
            rows.push(row);
        }
        CopyPage { rows, next: None }
    }

    /// What of a row belongs to the buckets.
    fn moved_post(&self, buckets: &BTreeSet<Bucket>, row: &LogRow) -> Option<MovedPost> {
        let LogRow { message, digest, withdrawn_at, entries, key } = row.clone();
        let moves = |timeline: &TimelineId| buckets.contains(&Bucket::of(timeline));
        let entries: Vec<_> = entries.into_iter().filter(|place| moves(&place.timeline)).collect();
        let key = key.filter(|_| buckets.contains(&Bucket::of_user(&message.from)));
        let key = key.and_then(|(home, copy)| {
            let placed = &self.sends.get(&(message.from.clone(), message.key.clone()))?.placed;
            let home = Place { timeline: home, version: placed.home };
            let copy = copy.zip(placed.copy).map(|(timeline, version)| Place { timeline, version });
            Some((home, copy))
        });
        let moved = key.is_some() || !entries.is_empty();
        moved.then_some(MovedPost { message, digest, withdrawn_at, key, entries })
    }

    fn copy_in(&mut self, id: MoveId, rows: Vec<MovedRow>) -> Result<(), StoreError> {
        let arriving = self.moves.of(id, &[BucketState::Arriving])?;
        if !rows.iter().flat_map(MovedRow::buckets).all(|bucket| arriving.contains(&bucket)) {
            return Err(error(StoreErrorKind::LeaseLost));
        }
        self.check(&rows)?;
        for row in rows {
            match row {
                MovedRow::Floor(timeline, head) => {
                    self.timelines.entry(timeline).or_insert_with(|| Timeline::above(head.floor));
                }
                MovedRow::Post(post) => self.post_in(*post),
                MovedRow::Cursor(CursorAck { uid, device, timeline, version }) => {
                    let cursor = self.cursors.entry((uid, timeline)).or_default().entry(device).or_default();
                    *cursor = version.max(*cursor);
                }
            }
        }
        Ok(())
    }

    /// Whether every entry comes at the head plus one, or is there.
    fn check(&self, rows: &[MovedRow]) -> Result<(), Misfit> {
        let mut heads: BTreeMap<&TimelineId, Version> = BTreeMap::new();
        for row in rows {
            match row {
                MovedRow::Floor(timeline, head) => {
                    heads.entry(timeline).or_insert(self.head(timeline).head.max(head.floor));
                }
                MovedRow::Post(post) => {
                    for Place { timeline, version } in &post.entries {
                        let head = heads.entry(timeline).or_insert_with(|| self.head(timeline).head);
                        if *version > head.next() {
                            let (timeline, head) = (timeline.clone(), *head);
                            return Err(Misfit::Version { timeline, head, came: *version });
                        }
                        *head = version.max(head).to_owned();
                    }
                }
                MovedRow::Cursor(_) => {}
            }
        }
        Ok(())
    }

    fn post_in(&mut self, post: MovedPost) {
        let MovedPost { message, digest, withdrawn_at, key, mut entries } = post;
        entries.retain(|place| place.version > self.head(&place.timeline).head);
        for place in &entries {
            self.enter(place.timeline.clone(), &message, withdrawn_at);
        }
        let of = (message.from.clone(), message.key.clone());
        let key = key.filter(|_| !self.sends.contains_key(&of));
        if let Some((home, copy)) = &key {
            let placed = Placed {
                msgid: message.msgid,
                sent_at: message.sent_at,
                home: home.version,
                copy: copy.as_ref().map(|copy| copy.version),
                repeated: true,
            };
            self.sends.insert(of, Found { digest, placed });
        }
        let key = key.map(|(home, copy)| (home.timeline, copy.map(|copy| copy.timeline)));
        if key.is_some() || !entries.is_empty() {
            self.log.add(LogRow { message, digest, withdrawn_at, entries, key });
        }
    }

    fn clear(&mut self, id: MoveId) {
        let Ok(buckets) = self.moves.of(id, &[BucketState::Gone, BucketState::Arriving]) else { return };
        let stays = |timeline: &TimelineId| !buckets.contains(&Bucket::of(timeline));
        let sender_stays = |uid: &Uid| !buckets.contains(&Bucket::of_user(uid));
        self.timelines.retain(|timeline, _| stays(timeline));
        self.sends.retain(|(sender, _), _| sender_stays(sender));
        self.cursors.retain(|(_, timeline), _| stays(timeline));
        self.posts.retain(|post| post.places().all(|place| stays(&place.timeline)));
        self.log.rows.retain(|_, row| {
            row.entries.retain(|place| stays(&place.timeline));
            row.key.take_if(|_| !sender_stays(&row.message.from));
            row.key.is_some() || !row.entries.is_empty()
        });
    }

    fn tally(&self, id: MoveId) -> Tally {
        let of = |timeline: &TimelineId| {
            self.moves.buckets.get(&Bucket::of(timeline)).is_some_and(|row| row.id == id)
        };
        let heads = self.timelines.iter().filter(|(timeline, _)| of(timeline));
        let heads: Vec<i64> = heads.map(|(_, timeline)| timeline.head().0).filter(|head| *head > 0).collect();
        let acks: Vec<i64> =
            self.all_cursors().filter(|ack| of(&ack.timeline)).map(|ack| ack.version.0).collect();
        let count = |of: &[i64]| i64::try_from(of.len()).unwrap_or(i64::MAX);
        Tally {
            timelines: count(&heads),
            heads: heads.iter().sum(),
            cursors: count(&acks),
            acked: acks.iter().sum(),
        }
    }

    fn release(&mut self, id: MoveId) -> Result<(), StoreError> {
        if self.moves.of(id, &[BucketState::Gone]).is_ok() {
            return Ok(());
        }
        let buckets = self.moves.leaving(id)?;
        if buckets.iter().any(|bucket| self.moves.state(*bucket) != Some(BucketState::Fenced)) {
            return Err(error(StoreErrorKind::LeaseLost));
        }
        let pending = |uid: &Uid| buckets.contains(&Bucket::of_user(uid));
        if self.outbox.senders().any(pending) {
            return Err(error(StoreErrorKind::Unavailable));
        }
        self.moves.each(id, |row| row.state = Some(BucketState::Gone));
        Ok(())
    }
}

/// A page of rows, whose position is how many were given before. Rows only come to them, so that none is left out.
fn page(
    rows: impl Iterator<Item = MovedRow>,
    after: Option<Position>,
    limits: CopyLimits,
) -> Result<(Vec<MovedRow>, Option<Position>), StoreError> {
    let limit = limits.rows.max(1);
    let first = after.map_or(Some(0), |Position(bytes)| Some(u64::from_be_bytes(bytes.try_into().ok()?)));
    let first = first.and_then(|first| usize::try_from(first).ok());
    let first = first.ok_or_else(|| error(StoreErrorKind::Corrupt))?;
    let mut rows = rows.skip(first);
    let page: Vec<_> = rows.by_ref().take(limit).collect();
    let after = u64::try_from(first + page.len()).ok().map(|given| Position(given.to_be_bytes().to_vec()));
    Ok((page, rows.next().and(after)))
}

#[async_trait]
impl Buckets for MemoryStore {
    async fn bucket_map(&self) -> Result<Option<StoredMap>, StoreError> {
        Ok(self.with_state(|state| state.moves.map.clone()))
    }

    async fn put_bucket_map(&self, map: StoredMap) -> Result<bool, StoreError> {
        Ok(self.with_state(|state| {
            let stored = state.moves.map.as_ref().map_or(0, |map| map.version);
            let follows = map.version == stored + 1;
            if follows {
                state.moves.map = Some(map);
            }
            follows
        }))
    }

    async fn member(&self) -> Result<Option<Member>, StoreError> {
        Ok(self.with_state(|state| state.moves.member))
    }

    async fn join(&self, member: Member) -> Result<Member, StoreError> {
        Ok(self.with_state(|state| *state.moves.member.get_or_insert(member)))
    }

    async fn some_timelines(&self, limit: usize) -> Result<Vec<TimelineId>, StoreError> {
        let elsewhere = [Some(BucketState::Gone), Some(BucketState::Arriving)];
        Ok(self.with_state(|state| {
            let written = state.timelines.iter().filter(|(_, timeline)| timeline.head() > Version(0));
            let owned =
                written.filter(|(timeline, _)| !elsewhere.contains(&state.moves.state(Bucket::of(timeline))));
            owned.map(|(timeline, _)| timeline.clone()).take(limit).collect()
        }))
    }

    async fn next_move(&self) -> Result<MoveId, StoreError> {
        Ok(self.with_state(|state| {
            state.moves.last.0 += 1;
            state.moves.last
        }))
    }

    async fn moving_buckets(&self) -> Result<Vec<MovingBucket>, StoreError> {
        Ok(self.with_state(|state| {
            let now = state.moves.now;
            let rows = state.moves.buckets.iter().filter_map(|(bucket, row)| {
                Some(MovingBucket { bucket: *bucket, state: row.state(now)?, id: row.id, to: row.to })
            });
            rows.collect()
        }))
    }

    async fn index_buckets(&self, _: usize) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn depart(&self, id: MoveId, buckets: Vec<Bucket>, to: u16) -> Result<(), StoreError> {
        self.with_state(|state| state.moves.depart(id, &buckets, to))
    }

    async fn arrive(&self, id: MoveId, buckets: Vec<Bucket>, to: u16) -> Result<(), StoreError> {
        self.with_state(|state| state.moves.arrive(id, &buckets, to))
    }

    async fn clear(&self, id: MoveId, _: usize) -> Result<bool, StoreError> {
        self.with_state(|state| state.clear(id));
        Ok(true)
    }

    async fn mark(&self, id: MoveId) -> Result<Mark, StoreError> {
        self.with_state(|state| state.mark(id))
    }

    async fn copy_out(&self, id: MoveId, ask: CopyOut, limits: CopyLimits) -> Result<CopyPage, StoreError> {
        self.with_state(|state| state.copy_out(id, ask, limits))
    }

    async fn copy_in(&self, id: MoveId, rows: Vec<MovedRow>) -> Result<(), StoreError> {
        self.with_state(|state| state.copy_in(id, rows))
    }

    async fn tally(&self, id: MoveId) -> Result<Tally, StoreError> {
        Ok(self.with_state(|state| state.tally(id)))
    }

    async fn fence(&self, id: MoveId, lease: Duration) -> Result<Mark, StoreError> {
        self.with_state(|state| {
            let mark = state.mark(id)?;
            let until = state.moves.now + lease;
            state.moves.each(id, |row| {
                row.state = Some(BucketState::Fenced);
                row.fenced_until = until;
            });
            Ok(mark)
        })
    }

    async fn unfence(&self, id: MoveId) -> Result<(), StoreError> {
        self.with_state(|state| {
            state.moves.leaving(id)?;
            state.moves.each(id, |row| row.state = Some(BucketState::Leaving));
            Ok(())
        })
    }

    async fn release(&self, id: MoveId) -> Result<(), StoreError> {
        self.with_state(|state| state.release(id))
    }

    async fn own(&self, id: MoveId) -> Result<(), StoreError> {
        self.with_state(|state| {
            state.moves.each(id, |row| {
                row.state.take_if(|state| *state == BucketState::Arriving);
            });
            Ok(())
        })
    }
}
