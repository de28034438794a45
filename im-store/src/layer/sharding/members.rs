//! Whether the databases of a list are those that it is about, each at its place. A database notes its place when it is first opened rightly; what it
//! holds has to show whether that is so.

use std::hash::{BuildHasher, RandomState};

use im_core::storage::{Bucket, BucketState, Member, SetId};

use super::follow::parse;
use super::{BucketMap, OpenError, ShardedStore};

/// Timelines that a database shows. One that is not at its place has few that belong there, unless it has few at all.
const SHOWN: usize = 1_024;

/// Buckets may move between two looks. So often is looked.
const LOOKS: usize = 3;

impl ShardedStore {
    /// What every database has noted, if it fits the list.
    pub(super) async fn members(&self) -> Result<Vec<Option<Member>>, OpenError> {
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
        // A first one that came back from before it noted anything has its map.
        if known > 0 && self.first("bucket_map")?.bucket_map().await?.is_none() {
            return Err(OpenError::NoFirst(known));
        }
        Ok(members)
    }

    /// Refuses a database that has noted nothing, if what it holds belongs elsewhere, or if it lacks what belongs there.
    pub(super) async fn look_for_strangers(&self, members: &[Option<Member>]) -> Result<(), OpenError> {
        if members.iter().all(Option::is_some) {
            return Ok(());
        }
        let mut looks = 1;
        loop {
            match self.look(members).await {
                Err(OpenError::Strangers(_)) if looks < LOOKS => looks += 1,
                looked => return looked,
            }
        }
    }

    async fn look(&self, members: &[Option<Member>]) -> Result<(), OpenError> {
        let mut shown = Vec::new();
        for (database, member) in self.databases.iter().zip(members) {
            // Of those that are known it is enough to know whether they hold anything.
            let limit = if member.is_none() { SHOWN } else { 1 };
            shown.push(database.some_timelines(limit).await?);
        }
        let map = self.map_to_be().await?;
        let new = || (0..).zip(members).filter(|(_, member)| member.is_none()).map(|(place, _)| place);
        let is_strange =
            |place: &usize| shown[*place].iter().any(|timeline| map.database_of(timeline) != *place);
        if let Some(place) = new().find(is_strange) {
            return Err(OpenError::Strangers(place));
        }
        // The first notes its place first: if it has and others have not, the first opening ended there, or these have come since.
        let is_in_use = members.first().is_some_and(Option::is_some) && !shown.iter().all(Vec::is_empty);
        let has_buckets = |place: &usize| Bucket::all().any(|bucket| map.database(bucket) == *place);
        match new().find(|place| is_in_use && shown[*place].is_empty() && has_buckets(place)) {
            Some(place) => Err(OpenError::Missing(place)),
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

    /// Has every database note its place, that has not yet. If several servers do it at once, the first database decides which set it is.
    pub(super) async fn note_members(&self, members: &[Option<Member>]) -> Result<(), OpenError> {
        let mut set = members.iter().flatten().map(|member| member.set).next().unwrap_or_else(draw);
        for (place, member) in members.iter().enumerate() {
            if member.is_some() {
                continue;
            }
            let member = Member { set, place: u16::try_from(place).unwrap_or(u16::MAX) };
            let noted = self.databases[place].join(member).await?;
            if noted.place != member.place {
                return Err(OpenError::WrongPlace(place, noted.place.into()));
            }
            if place > 0 && noted.set != set {
                return Err(OpenError::OtherSet(place));
            }
            set = noted.set;
        }
        Ok(())
    }
}

/// A number that no other set has.
fn draw() -> SetId {
    SetId(i64::from_be_bytes(RandomState::new().hash_one(std::process::id()).to_be_bytes()))
}
