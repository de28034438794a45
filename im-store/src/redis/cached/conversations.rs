//! Conversation lists: a hash a user, the newest rows and the head of the timeline that they follow from.
//!
//! A list changes by appends to its owner's timeline and by nothing else, and each of them moves the head. So a list is right as long as the store says that head.

use std::time::Duration;

use im_core::id::{StoreEpoch, Uid, Version};
use im_core::storage::Conversation;

use super::{Cache, codec, millis};
use crate::redis::scripts::LIST;

/// Rows that are kept of a list, and read where none are.
pub(super) const MOST: usize = 100;

/// A list that nobody asks for so long after it was made is forgotten.
const TTL: Duration = Duration::from_secs(3_600);

fn key(cache: &Cache, epoch: StoreEpoch, owner: &Uid) -> String {
    cache.redis.key("c", format_args!("{}:{owner}", epoch.0))
}

/// A page, if what is kept shows it.
pub(super) async fn page(
    cache: &Cache,
    epoch: StoreEpoch,
    owner: &Uid,
    head: Version,
    before: Option<Version>,
    limit: usize,
) -> Option<Vec<Conversation>> {
    let mut command = redis::cmd("HMGET");
    command.arg(key(cache, epoch, owner)).arg("head").arg("rows");
    let (made_at, rows): (Option<i64>, Option<Vec<u8>>) = cache.ask(command).await?;
    if made_at != Some(head.0) {
        return None;
    }
    cut(codec::parse_rows(rows?)?, before, limit)
}

/// The page out of the newest rows. They are all there are if they are less than [`MOST`].
pub(super) fn cut(
    rows: Vec<Conversation>,
    before: Option<Version>,
    limit: usize,
) -> Option<Vec<Conversation>> {
    let all = rows.len() < MOST;
    let older = rows.into_iter().filter(|row| before.is_none_or(|before| row.last_version < before));
    let page: Vec<_> = older.take(limit).collect();
    (all || page.len() == limit).then_some(page)
}

/// Keeps a list that was made at this head.
pub(super) async fn fill(
    cache: &Cache,
    epoch: StoreEpoch,
    owner: &Uid,
    head: Version,
    rows: &[Conversation],
) {
    let mut call = LIST.key(key(cache, epoch, owner));
    call.arg(head.0).arg(codec::rows(rows)).arg(millis(TTL));
    // What is not kept is read from the store.
    let _ = cache.ask::<u8>(call).await;
}
