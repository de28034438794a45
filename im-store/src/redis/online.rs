use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use futures::stream::{StreamExt, TryStreamExt};
use im_core::id::Uid;
use im_core::router::{Online, UserRoutes};
use im_core::storage::Bucket;
use redis::RedisResult;

use super::leases::Living;
use super::link::Redis;
use super::routes::ABREAST;

/// Sets that the users are spread over, so that a Cluster shares them out and none is too large to be read at once.
const SETS: u16 = 1_024;

/// Sets that one step of a listing reads at one time.
const MOST_SETS: usize = 256;

/// Users of a page, whatever is asked.
const MOST_USERS: usize = 4_096;

/// Who is online, to be counted and listed: sorted sets of uids by when a gate last spoke of them.
///
/// They stand beside the users' hashes, which decide: a set may be lost by itself, and a write to it may fail where the one to the hash did not. Every report of a
/// gate writes them anew. All times are of the clock that leases go by, so that a Cluster's nodes may disagree.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// The set whose dead entries go next.
    next: AtomicU16,
}

fn set_of(uid: &Uid) -> u16 {
    Bucket::of_user(uid).number() % SETS
}

fn key(redis: &Redis, set: u16) -> String {
    redis.key("o", set)
}

/// When an entry was written that now ends.
fn oldest(redis: &Redis, living: &Living) -> u64 {
    let ttl = u64::try_from(redis.options().online_ttl.as_micros()).unwrap_or(u64::MAX);
    living.now().saturating_sub(ttl)
}

/// Users by their sets.
fn by_set(uids: Vec<&Uid>) -> BTreeMap<u16, Vec<&Uid>> {
    let mut sets: BTreeMap<u16, Vec<&Uid>> = BTreeMap::new();
    for uid in uids {
        sets.entry(set_of(uid)).or_default().push(uid);
    }
    sets
}

/// What all of these answer, in their order.
async fn all<T>(calls: Vec<impl Future<Output = RedisResult<T>>>) -> RedisResult<Vec<T>> {
    futures::stream::iter(calls).buffered(ABREAST).try_collect().await
}

/// Sets that a rehearsal tries: enough of them that every node of a Cluster has some.
pub(super) const TRIED: usize = 64;

/// Tries on many sets what counts and lists need. Nothing of it can be taken for a user, who has a name.
pub(super) async fn rehearse(redis: &Redis) -> RedisResult<()> {
    let step = usize::from(SETS) / TRIED;
    all((0..SETS).step_by(step).map(|set| rehearse_on(redis, set)).collect()).await.map(drop)
}

async fn rehearse_on(redis: &Redis, set: u16) -> RedisResult<()> {
    let key = key(redis, set);
    let command = |name: &str, arguments: &[&str]| {
        let mut command = redis::cmd(name);
        command.arg(&key).arg(arguments);
        command
    };
    redis.run::<()>(command("ZADD", &["0", ""])).await?;
    redis.run::<u64>(command("ZCOUNT", &["0", "0"])).await?;
    redis.run::<Vec<String>>(command("ZRANGEBYSCORE", &["0", "0"])).await?;
    redis.run::<()>(command("ZREM", &[""])).await?;
    redis.run::<()>(command("ZREMRANGEBYSCORE", &["0", "0"])).await
}

impl Index {
    /// These users are online. What fails is made up for by the gates' next reports.
    pub(super) async fn add(&self, redis: &Redis, living: &Living, uids: Vec<&Uid>) {
        let now = living.now();
        let mut calls = Vec::new();
        for (set, uids) in by_set(uids) {
            let mut command = redis::cmd("ZADD");
            command.arg(key(redis, set));
            for uid in uids {
                command.arg(now).arg(uid.as_str());
            }
            calls.push(redis.run::<()>(command));
        }
        pass_over(all(calls).await);
    }

    /// These have no link left. What fails ends with its time.
    pub(super) async fn remove(&self, redis: &Redis, uids: Vec<&Uid>) {
        let mut calls = Vec::new();
        for (set, uids) in by_set(uids) {
            let mut command = redis::cmd("ZREM");
            command.arg(key(redis, set));
            for uid in uids {
                command.arg(uid.as_str());
            }
            calls.push(redis.run::<()>(command));
        }
        pass_over(all(calls).await);
    }

    /// Removes the entries of one set that have ended, and of the next one the next time.
    pub(super) async fn prune(&self, redis: &Redis, living: &Living) {
        let set = self.next.fetch_add(1, Ordering::Relaxed) % SETS;
        let mut command = redis::cmd("ZREMRANGEBYSCORE");
        command.arg(key(redis, set)).arg("-inf").arg(format!("({}", oldest(redis, living)));
        pass_over(redis.run::<()>(command).await);
    }

    pub(super) async fn count(&self, redis: &Redis, living: &Living) -> RedisResult<u64> {
        let oldest = oldest(redis, living);
        let mut calls = Vec::with_capacity(usize::from(SETS));
        for set in 0..SETS {
            let mut command = redis::cmd("ZCOUNT");
            command.arg(key(redis, set)).arg(oldest).arg("+inf");
            calls.push(redis.run::<u64>(command));
        }
        Ok(all(calls).await?.iter().sum())
    }

    /// Users from `after` on, in the order of sets and, within one, of names; and where to go on. The hashes have to say who of them is online.
    pub(super) async fn page(
        &self,
        redis: &Redis,
        living: &Living,
        after: Option<Uid>,
        limit: usize,
    ) -> RedisResult<(Vec<Uid>, Option<Uid>)> {
        let limit = limit.clamp(1, MOST_USERS);
        let oldest = oldest(redis, living);
        let mut sets = after.as_ref().map_or(0, set_of)..SETS;
        let (mut page, mut step) = (Vec::new(), 1);
        // One more than wanted tells whether there are more.
        while page.len() <= limit && !sets.is_empty() {
            let mut calls = Vec::with_capacity(step);
            for set in sets.by_ref().take(step) {
                calls.push(members(redis, set, oldest));
            }
            let found = all(calls).await?;
            let before = page.len();
            page.extend(found.into_iter().flatten().filter(|uid| follows(uid, after.as_ref())));
            step = next_step(step, page.len() - before, (limit + 1).saturating_sub(page.len()));
        }
        let more = page.len() > limit;
        page.truncate(limit);
        let next = page.last().filter(|_| more).cloned();
        Ok((page, next))
    }
}

/// The set's users, in order.
async fn members(redis: &Redis, set: u16, oldest: u64) -> RedisResult<Vec<Uid>> {
    let mut command = redis::cmd("ZRANGEBYSCORE");
    command.arg(key(redis, set)).arg(oldest).arg("+inf");
    let names: Vec<String> = redis.run(command).await?;
    let mut uids: Vec<Uid> = names.iter().filter_map(|name| Uid::new(name).ok()).collect();
    uids.sort_unstable();
    Ok(uids)
}

/// Whether a user of the set of `after`, or of a later one, comes after it.
fn follows(uid: &Uid, after: Option<&Uid>) -> bool {
    after.is_none_or(|after| set_of(uid) != set_of(after) || uid > after)
}

/// How many sets to read next, where so many had so many users: about as many as have what is wanted.
fn next_step(step: usize, found: usize, wanted: usize) -> usize {
    let next = if found == 0 { step * 4 } else { (wanted * step).div_ceil(found) };
    next.clamp(1, MOST_SETS)
}

fn pass_over<T>(written: RedisResult<T>) {
    if let Err(error) = written {
        tracing::debug!(%error, "who is online is written with the next report");
    }
}

/// A page of users with their routes, without those who have none.
pub(super) fn online(users: Vec<UserRoutes>, next: Option<Uid>) -> Online {
    Online { users: users.into_iter().filter(|user| !user.is_empty()).collect(), next }
}

/// How long a user counts as online of whom no gate speaks: three of the gates' rounds, and a bit.
pub(super) const TTL: Duration = Duration::from_secs(35);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_a_listing_reads_about_as_many_sets_as_have_what_is_wanted() {
        assert_eq!(next_step(1, 0, 100), 4);
        assert_eq!(next_step(256, 0, 100), 256);
        assert_eq!(next_step(1, 1_000, 1), 1);
        assert_eq!(next_step(4, 2, 10), 20);
        assert_eq!(next_step(1, 1, 4_000), 256);
        assert_eq!(next_step(1, 5, 0), 1);
    }
}
