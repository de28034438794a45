//! The newest entries of groups: a sorted set each, version → entry.
//!
//! An entry never changes under its version while the store's epoch is the same, which is part of the key. So what is kept is right whenever it is there
//! without a hole; whether it is all there is, the timeline's head says, which the store is asked for.

use std::time::Duration;

use im_core::id::{GroupId, StoreEpoch, Version};
use im_core::message::Entry;
use im_core::storage::{Head, Page, Read};

use super::{Cache, codec, millis};
use crate::redis::scripts::RECENT;

/// A larger entry is not kept: with so many of them a group would fill Redis.
const MOST_BYTES: usize = 16 << 10;

/// A group that nobody writes to or reads from so long is forgotten.
const TTL: Duration = Duration::from_secs(86_400);

fn key(cache: &Cache, epoch: StoreEpoch, group: GroupId) -> String {
    cache.redis.key("g", format_args!("{}:{group}", epoch.0))
}

/// What a read asks for: entries above `after`, `count` of them if their sizes allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    after: i64,
    count: i64,
}

impl Wanted {
    fn of(read: &Read, head: Head) -> Self {
        let after = read.after.0.max(0).max(head.floor.0);
        let until = read.until.map_or(head.head.0, |until| until.0.min(head.head.0));
        let limit = i64::try_from(read.limit.max(1)).unwrap_or(i64::MAX);
        Self { after, count: until.saturating_sub(after).clamp(0, limit) }
    }
}

/// The page, if it is kept: what the store would answer at the moment of `head`.
pub(super) async fn page(
    cache: &Cache,
    epoch: StoreEpoch,
    group: GroupId,
    read: &Read,
    head: Head,
    most: usize,
) -> Option<Page> {
    let wanted = Wanted::of(read, head);
    if wanted.count == 0 {
        return Some(Page { entries: Vec::new(), head: head.head });
    }
    if wanted.after < oldest(head.head, most) {
        return None;
    }
    let mut command = redis::cmd("ZRANGEBYSCORE");
    command.arg(key(cache, epoch, group)).arg(format!("({}", wanted.after)).arg("+inf");
    command.arg("LIMIT").arg(0).arg(wanted.count);
    let found: Vec<Vec<u8>> = cache.ask(command).await?;
    let entries = complete(found, wanted, read.max_bytes)?;
    Some(Page { entries, head: head.head })
}

/// Below this and with it nothing is kept.
fn oldest(head: Version, most: usize) -> i64 {
    head.0 - i64::try_from(most).unwrap_or(i64::MAX)
}

/// The page's entries, if none of them is missing.
fn complete(found: Vec<Vec<u8>>, wanted: Wanted, max_bytes: usize) -> Option<Vec<Entry>> {
    let (mut entries, mut bytes) = (Vec::with_capacity(found.len()), 0_usize);
    for (version, kept) in (wanted.after + 1..).zip(found) {
        let entry = codec::parse_entry(kept).filter(|entry| entry.version.0 == version)?;
        bytes = bytes.saturating_add(entry.message.size());
        if bytes > max_bytes && !entries.is_empty() {
            return Some(entries);
        }
        entries.push(entry);
    }
    (i64::try_from(entries.len()) == Ok(wanted.count)).then_some(entries)
}

/// Keeps what of these is among the newest `most` of a timeline with this head.
pub(super) async fn fill(
    cache: &Cache,
    epoch: StoreEpoch,
    group: GroupId,
    entries: Vec<Entry>,
    head: Version,
    most: usize,
) {
    let mut call = RECENT.key(key(cache, epoch, group));
    call.arg(most).arg(millis(TTL));
    let mut kept = 0;
    for entry in entries {
        if entry.version.0 > oldest(head, most) && entry.message.content.len() <= MOST_BYTES {
            call.arg(entry.version.0).arg(codec::entry(&entry));
            kept += 1;
        }
    }
    if kept > 0 {
        // What is not kept is read from the store.
        let _ = cache.ask::<u8>(call).await;
    }
}

#[cfg(test)]
mod tests {
    use im_core::message::TimelineId;

    use super::*;

    #[test]
    fn what_is_wanted_lies_between_the_bounds_of_the_read_and_of_the_timeline() {
        let head = Head { floor: Version(10), head: Version(20) };
        let wanted = |after, until: Option<i64>, limit| {
            let (after, until) = (Version(after), until.map(Version));
            let timeline = TimelineId::Group(GroupId(1));
            let wanted = Wanted::of(&Read { timeline, after, until, limit, max_bytes: 0, least: None }, head);
            (wanted.after, wanted.count)
        };
        assert_eq!(wanted(0, None, 100), (10, 10));
        assert_eq!(wanted(-5, None, 0), (10, 1));
        assert_eq!(wanted(15, Some(17), 100), (15, 2));
        assert_eq!(wanted(15, Some(99), usize::MAX), (15, 5));
        assert_eq!(wanted(20, None, 5).1, 0);
        assert_eq!(wanted(99, Some(-1), 5).1, 0);
        assert_eq!(wanted(i64::MAX, Some(i64::MIN), 5).1, 0);
    }
}
