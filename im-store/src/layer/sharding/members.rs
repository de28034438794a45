//! Whether the databases of a list are those that it is about, each at its place. A database notes its place when it is first opened rightly; what it
//! holds has to show whether that is so.

use std::hash::{BuildHasher, RandomState};

use im_core::message::TimelineId;
use im_core::storage::{Bucket, BucketState, Member, SetId, StoreError};

use super::follow::parse;
use super::{BucketMap, OpenError, ShardedStore};

/// Timelines that a database shows. One that is not at its place has few that belong there, unless it has few at all.
const SHOWN: usize = 1_024;

/// Buckets may move, and others may note places, between two questions. So often is looked.
const LOOKS: usize = 3;

impl ShardedStore {
    /// What every database has noted, if it fits the list, and none holds what belongs elsewhere or lacks what belongs there.
    pub(super) async fn members(&self) -> Result<Vec<Option<Member>>, OpenError> {
        let mut looks = 1;
        loop {
            match self.look().await {
                Err(OpenError::Strangers(_) | OpenError::Missing(_)) if looks < LOOKS => looks += 1,
                looked => return looked,
            }
        }
    }

    async fn look(&self) -> Result<Vec<Option<Member>>, OpenError> {
        // Before the notes: others may be making the set, and who finds it made then finds all of them.
        let has_map = self.has_map().await?;
        let members = self.noted().await?;
        if members.iter().any(Option::is_none) {
            let is_made = has_map && members.first().is_some_and(Option::is_some);
            self.look_for_strangers(&members, is_made).await?;
        }
        Ok(members)
    }

    async fn has_map(&self) -> Result<bool, StoreError> {
        Ok(self.first("bucket_map")?.bucket_map().await?.is_some())
    }

    async fn noted(&self) -> Result<Vec<Option<Member>>, OpenError> {
        let mut members = Vec::new();
        for database in &self.databases {
            members.push(database.member().await?);
        }
        let noted = || members.iter().enumerate().filter_map(|(place, member)| Some((place, (*member)?)));
        if let Some((place, member)) = noted().find(|(place, member)| *place != usize::from(member.place)) {
            return Err(OpenError::WrongPlace(place, member.place.into()));
        }
        let Some((known, Member { set, .. })) = noted().next() else { return Ok(members) };
        if let Some((place, _)) = noted().find(|(_, member)| member.set != set) {
            return Err(OpenError::OtherSet(place));
        }
        if known > 0 && self.is_new_first().await? {
            return Err(OpenError::NoFirst(known));
        }
        Ok(members)
    }

    /// Whether the first database can be none that others were behind. One that came back from before it noted anything has its map; in a set that others are making now
    /// it has noted its place by now.
    async fn is_new_first(&self) -> Result<bool, StoreError> {
        Ok(!self.has_map().await? && self.first("member")?.member().await?.is_none())
    }

    /// Refuses a database that has noted nothing, if what it holds belongs elsewhere, or if it lacks what belongs there.
    async fn look_for_strangers(&self, members: &[Option<Member>], is_made: bool) -> Result<(), OpenError> {
        let mut new = Vec::new();
        for (place, _) in members.iter().enumerate().filter(|(_, member)| member.is_none()) {
            new.push((place, self.databases[place].some_timelines(SHOWN).await?));
        }
        let map = self.map_to_be().await?;
        let is_strange =
            |place, shown: &[TimelineId]| shown.iter().any(|timeline| map.database_of(timeline) != place);
        if let Some((place, _)) = new.iter().find(|(place, shown)| is_strange(*place, shown)) {
            return Err(OpenError::Strangers(*place));
        }
        // A set that is made has noted all places. What has not has come since, and has no buckets yet; or it is not the one that was here.
        let has_buckets = |place| Bucket::all().any(|bucket| map.database(bucket) == place);
        match new.iter().find(|(place, shown)| is_made && shown.is_empty() && has_buckets(*place)) {
            Some((place, _)) => Err(OpenError::Missing(*place)),
            None => Ok(()),
        }
    }

    /// The map as it is when all moves are completed that cannot go back. Completes none: that would be done in wrong databases, too.
    async fn map_to_be(&self) -> Result<BucketMap, OpenError> {
        let mut map = match self.first("bucket_map")?.bucket_map().await? {
            Some(stored) => parse(&stored, self.databases.len())?,
            None => BucketMap::even(self.databases.len())?,
        };
        for (source, database) in self.databases.iter().enumerate() {
            for moving in database.moving_buckets().await? {
                if moving.state == BucketState::Gone && map.database(moving.bucket) == source {
                    map = map.with(&[moving.bucket], moving.to);
                }
            }
        }
        Ok(map)
    }

    /// Has every database note its place, that has not yet. If several servers do it at once, the first that is asked decides which set it is.
    pub(super) async fn note_members(&self, members: &[Option<Member>]) -> Result<(), OpenError> {
        let known = members.iter().flatten().map(|member| member.set).next();
        let (mut set, mut is_decided) = (known.unwrap_or_else(draw), known.is_some());
        for (place, member) in self.in_turn(members).await? {
            if member.is_some() {
                continue;
            }
            let member = Member { set, place: u16::try_from(place).unwrap_or(u16::MAX) };
            let noted = self.databases[place].join(member).await?;
            if noted.place != member.place {
                return Err(OpenError::WrongPlace(place, noted.place.into()));
            }
            if is_decided && noted.set != set {
                return Err(OpenError::OtherSet(place));
            }
            (set, is_decided) = (noted.set, true);
        }
        Ok(())
    }

    /// The first database notes its place first, and the map is stored after all others have. One that has its map already notes its place last. So a set whose first
    /// database has both is made, and whoever began to make one and did not come to the end is told from whoever names a wrong database.
    async fn in_turn<'m>(
        &self,
        members: &'m [Option<Member>],
    ) -> Result<Vec<(usize, &'m Option<Member>)>, StoreError> {
        let mut turns: Vec<_> = members.iter().enumerate().collect();
        if self.has_map().await? {
            turns.rotate_left(1);
        }
        Ok(turns)
    }
}

/// A number that no other set has.
fn draw() -> SetId {
    SetId(i64::from_be_bytes(RandomState::new().hash_one(std::process::id()).to_be_bytes()))
}
