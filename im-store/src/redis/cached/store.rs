use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use im_core::id::{GroupId, MsgId, StoreEpoch, Uid, Version};
use im_core::message::{Entry, Message, SendKey, TimelineId};
use im_core::storage::{
    Conversation, Conversations, Cursor, CursorAck, Cursors, Epochs, Found, Head, HeldNode, NodeLease, Nodes,
    Page, Placed, Post, Read, Store, StoreError, Timelines,
};
use im_core::time::Timestamp;
use tokio::sync::Semaphore;

use super::{Cache, CacheCounts, conversations, recent};
use crate::redis::link::Redis;

/// Calls that fill the cache at one time. What comes on top is not kept.
const FILLING: usize = 64;

/// A store with the newest entries of its groups, and conversation lists, in Redis.
///
/// It answers as the store below would. Each answer out of Redis is proven by the heads of timelines, which that store is asked for: a look-up by key, where the answer
/// itself is rows. Everything else goes to the store below, and all of it does while Redis is away.
///
/// What is kept is the store's alone. Caches of two stores need different prefixes, or databases of Redis with different
/// numbers: else one answers with the other's messages.
///
/// Needs a tokio runtime with time enabled.
pub struct CachedStore {
    store: Arc<dyn Store>,
    cache: Arc<Cache>,
    epoch: AtomicI32,
    recent: usize,
    filling: Arc<Semaphore>,
}

impl fmt::Debug for CachedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedStore")
            .field("cache", &self.cache)
            .field("recent", &self.recent)
            .finish_non_exhaustive()
    }
}

impl CachedStore {
    /// A cache in `redis` before `store`. What was kept under another epoch of the store does not count.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// The store's, if it does not tell its epoch.
    pub async fn open(store: Arc<dyn Store>, redis: Redis) -> Result<Self, StoreError> {
        let epoch = AtomicI32::new(store.epoch().await?.0);
        let (cache, filling) = (Arc::new(Cache::new(redis)), Arc::new(Semaphore::new(FILLING)));
        Ok(Self { store, cache, epoch, recent: 200, filling })
    }

    /// Entries that are kept of a group. 200; those with more than 16 KiB of content are not.
    #[must_use]
    pub fn recent(self, entries: usize) -> Self {
        Self { recent: entries, ..self }
    }

    /// What it was good for.
    pub fn counts(&self) -> CacheCounts {
        self.cache.counts()
    }

    fn epoch_now(&self) -> StoreEpoch {
        StoreEpoch(self.epoch.load(Ordering::Relaxed))
    }

    /// Keeps entries of groups, beside whoever waits for the store.
    fn keep(&self, groups: Groups) {
        let (epoch, most) = (self.epoch_now(), self.recent);
        for (group, (entries, head)) in groups {
            let Ok(permit) = self.filling.clone().try_acquire_owned() else { return };
            let cache = self.cache.clone();
            tokio::spawn(async move {
                recent::fill(&cache, epoch, group, entries, head, most).await;
                drop(permit);
            });
        }
    }

    /// The pages that are kept of groups, by their places among the reads; and where not all heads could be had, none.
    async fn kept(&self, reads: &[Read]) -> BTreeMap<usize, Page> {
        let groups: Vec<_> =
            reads.iter().enumerate().filter_map(|(at, read)| Some((at, group_of(read)?))).collect();
        let timelines = groups.iter().map(|(_, group)| TimelineId::Group(*group)).collect();
        let Ok(heads) = self.store.heads(timelines).await else { return BTreeMap::new() };
        let mut calls = Vec::with_capacity(groups.len());
        for ((at, group), head) in groups.iter().zip(heads) {
            calls.push(recent::page(&self.cache, self.epoch_now(), *group, &reads[*at], head, self.recent));
        }
        let pages = join_all(calls).await;
        let kept: BTreeMap<_, _> =
            groups.iter().zip(pages).filter_map(|((at, _), page)| Some((*at, page?))).collect();
        self.cache.count(kept.len(), groups.len() - kept.len());
        kept
    }
}

fn group_of(read: &Read) -> Option<GroupId> {
    match read.timeline {
        TimelineId::Group(group) => Some(group),
        TimelineId::User(_) => None,
    }
}

/// What a post puts into timelines of groups.
struct ToGroups {
    message: Message,
    home: Option<GroupId>,
    copy: Option<GroupId>,
}

impl ToGroups {
    fn of(post: &Post) -> Option<Self> {
        let group = |timeline: &TimelineId| match timeline {
            TimelineId::Group(group) => Some(*group),
            TimelineId::User(_) => None,
        };
        let (home, copy) = (group(&post.home), post.copy.as_ref().and_then(group));
        (home.is_some() || copy.is_some()).then(|| Self { message: post.message.clone(), home, copy })
    }
}

/// Entries by their groups, and the newest version of each.
type Groups = BTreeMap<GroupId, (Vec<Entry>, Version)>;

/// The entries that were made.
fn made(posts: Vec<Option<ToGroups>>, answers: &[Result<Placed, StoreError>]) -> Groups {
    let mut groups = Groups::new();
    for (post, answer) in posts.into_iter().zip(answers) {
        let (Some(ToGroups { message, home, copy }), Ok(placed)) = (post, answer) else { continue };
        // A repeat may have been withdrawn.
        if placed.repeated {
            continue;
        }
        for (group, version) in [(home, Some(placed.home)), (copy, placed.copy)] {
            if let (Some(group), Some(version)) = (group, version) {
                let (entries, head) = groups.entry(group).or_default();
                entries.push(Entry { version, message: message.clone(), withdrawn_at: None });
                *head = version.max(*head);
            }
        }
    }
    groups
}

/// The entries that were read.
fn read(reads: &[Read], pages: &[Result<Page, StoreError>]) -> Groups {
    let mut groups = Groups::new();
    for (asked, page) in reads.iter().zip(pages) {
        if let (Some(group), Ok(page)) = (group_of(asked), page)
            && !page.entries.is_empty()
        {
            groups.insert(group, (page.entries.clone(), page.head));
        }
    }
    groups
}

#[async_trait]
impl Timelines for CachedStore {
    async fn append(&self, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        let to_groups = posts.iter().map(ToGroups::of).collect();
        let answers = self.store.append(posts).await;
        if self.cache.is_open() {
            self.keep(made(to_groups, &answers));
        }
        answers
    }

    async fn read(&self, reads: Vec<Read>) -> Vec<Result<Page, StoreError>> {
        if !self.cache.is_open() || reads.iter().all(|read| group_of(read).is_none()) {
            return self.store.read(reads).await;
        }
        let mut kept = self.kept(&reads).await;
        let missing = reads.iter().enumerate().filter(|(at, _)| !kept.contains_key(at));
        let missing: Vec<Read> = missing.map(|(_, read)| read.clone()).collect();
        let pages = if missing.is_empty() { Vec::new() } else { self.store.read(missing.clone()).await };
        self.keep(read(&missing, &pages));
        let mut pages = pages.into_iter();
        let page = |at| kept.remove(&at).map_or_else(|| pages.next(), |page| Some(Ok(page)));
        (0..reads.len()).map_while(page).collect()
    }

    async fn heads(&self, timelines: Vec<TimelineId>) -> Result<Vec<Head>, StoreError> {
        self.store.heads(timelines).await
    }

    async fn find(&self, keys: Vec<(Uid, SendKey)>) -> Result<Vec<Option<Found>>, StoreError> {
        self.store.find(keys).await
    }

    async fn locate(&self, messages: Vec<(TimelineId, MsgId)>) -> Result<Vec<Option<Version>>, StoreError> {
        self.store.locate(messages).await
    }
}

#[async_trait]
impl Conversations for CachedStore {
    async fn conversations(
        &self,
        owner: &Uid,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<Conversation>, StoreError> {
        if limit == 0 || !self.cache.is_open() {
            return self.store.conversations(owner, before, limit).await;
        }
        let head = self.head_of(owner).await?;
        let epoch = self.epoch_now();
        if let Some(page) = conversations::page(&self.cache, epoch, owner, head, before, limit).await {
            self.cache.count(1, 0);
            return Ok(page);
        }
        self.cache.count(0, 1);
        if before.is_some() || limit > conversations::MOST {
            return self.store.conversations(owner, before, limit).await;
        }
        let mut rows = self.store.conversations(owner, None, conversations::MOST).await?;
        // Made at that head only if it still is.
        if self.cache.is_open() && self.head_of(owner).await.is_ok_and(|now| now == head) {
            conversations::fill(&self.cache, epoch, owner, head, &rows).await;
        }
        rows.truncate(limit);
        Ok(rows)
    }
}

impl CachedStore {
    async fn head_of(&self, owner: &Uid) -> Result<Version, StoreError> {
        let heads = self.store.heads(vec![TimelineId::User(owner.clone())]).await?;
        Ok(heads.first().map(|head| head.head).unwrap_or_default())
    }
}

#[async_trait]
impl Cursors for CachedStore {
    async fn ack(&self, acks: Vec<CursorAck>) -> Vec<Result<(), StoreError>> {
        self.store.ack(acks).await
    }

    async fn cursors(&self, of: Vec<(Uid, TimelineId)>) -> Result<Vec<Vec<Cursor>>, StoreError> {
        self.store.cursors(of).await
    }
}

#[async_trait]
impl Nodes for CachedStore {
    async fn lease_node(&self, holder: &str, now: Timestamp, ttl: Duration) -> Result<NodeLease, StoreError> {
        self.store.lease_node(holder, now, ttl).await
    }

    async fn renew_node(
        &self,
        lease: &NodeLease,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<NodeLease, StoreError> {
        self.store.renew_node(lease, now, ttl).await
    }

    async fn held_nodes(&self) -> Result<Vec<HeldNode>, StoreError> {
        self.store.held_nodes().await
    }

    async fn release_node(&self, lease: &NodeLease, until: Timestamp) -> Result<(), StoreError> {
        self.store.release_node(lease, until).await
    }
}

#[async_trait]
impl Epochs for CachedStore {
    async fn epoch(&self) -> Result<StoreEpoch, StoreError> {
        self.store.epoch().await
    }

    async fn bump_epoch(&self, now: Timestamp) -> Result<StoreEpoch, StoreError> {
        let epoch = self.store.bump_epoch(now).await?;
        self.epoch.store(epoch.0, Ordering::Relaxed);
        Ok(epoch)
    }
}
