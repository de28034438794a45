use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use im_core::id::Uid;
use im_core::storage::{Block, Blocklist, StoreError};

use super::{Cache, CacheCounts, millis};
use crate::redis::link::Redis;
use crate::redis::scripts::{BLOCK_FILL, BLOCK_FORGET};

/// Users that one command asks about.
const ABREAST: usize = 1_000;

/// A cache of what [`blocked`](Blocklist::blocked) says, before any blocklist: a hash for each owner who was asked about lately.
///
/// # How old an answer may be
/// A change through one server is seen by all of them when it is answered, if Redis takes part. If Redis could not be reached for the change, or lost what it knew
/// just then, others see it when their answers end: [`ttl`](Self::ttl) after they were kept,
/// which is at most one call of the blocklist after they were read. While Redis is away the blocklist itself answers.
///
/// Caches of two blocklists need different prefixes, or databases of Redis with different numbers.
pub struct CachedBlocklist {
    list: Arc<dyn Blocklist>,
    cache: Cache,
    ttl: Duration,
}

impl fmt::Debug for CachedBlocklist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedBlocklist")
            .field("cache", &self.cache)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

/// What was kept of one owner.
#[derive(Default)]
struct Kept {
    generation: String,
    answers: BTreeMap<Uid, bool>,
}

impl CachedBlocklist {
    /// A cache in `redis` before `list`.
    pub fn new(list: Arc<dyn Blocklist>, redis: Redis) -> Self {
        Self { list, cache: Cache::new(redis), ttl: Duration::from_secs(60) }
    }

    /// How old an answer may be where a change was not told. 60 s. Longer than a call of the blocklist takes.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        Self { ttl, ..self }
    }

    /// What it was good for.
    pub fn counts(&self) -> CacheCounts {
        self.cache.counts()
    }

    fn key(&self, owner: &Uid) -> String {
        self.cache.redis.key("k", owner)
    }

    /// What is kept of an owner about these; `None` if Redis does not say.
    async fn kept(&self, owner: &Uid, others: &[&Uid]) -> Option<Kept> {
        let mut kept = Kept::default();
        for (number, others) in others.chunks(ABREAST).enumerate() {
            let mut command = redis::cmd("HMGET");
            command.arg(self.key(owner)).arg("");
            for other in others {
                command.arg(other.as_str());
            }
            let mut answers = self.cache.ask::<Vec<Option<String>>>(command).await?.into_iter();
            let generation = answers.next().flatten().unwrap_or_default();
            if number > 0 && generation != kept.generation {
                return None;
            }
            kept.generation = generation;
            let known = others.iter().zip(answers).filter_map(|(other, word)| Some((*other, word? == "1")));
            kept.answers.extend(known.map(|(other, blocked)| (other.clone(), blocked)));
        }
        Some(kept)
    }

    /// The same of all owners among these.
    async fn kept_of_all(&self, blocks: &[Block]) -> BTreeMap<Uid, Option<Kept>> {
        let mut asked: BTreeMap<&Uid, BTreeSet<&Uid>> = BTreeMap::new();
        for block in blocks {
            asked.entry(&block.owner).or_default().insert(&block.other);
        }
        let asked: Vec<(&Uid, Vec<&Uid>)> =
            asked.into_iter().map(|(owner, others)| (owner, others.into_iter().collect())).collect();
        let mut calls = Vec::with_capacity(asked.len());
        for (owner, others) in &asked {
            calls.push(self.kept(owner, others));
        }
        let kept = join_all(calls).await;
        asked.iter().map(|(owner, _)| (*owner).clone()).zip(kept).collect()
    }

    /// Keeps what the blocklist said about those owners of whom a generation was read before.
    async fn fill_all(&self, kept: &BTreeMap<Uid, Option<Kept>>, said: &BTreeMap<Block, bool>) {
        let mut fills: BTreeMap<&Uid, Vec<(Uid, bool)>> = BTreeMap::new();
        for (Block { owner, other }, is) in said {
            fills.entry(owner).or_default().push((other.clone(), *is));
        }
        let mut calls = Vec::with_capacity(fills.len());
        for (owner, said) in &fills {
            if let Some(Some(kept)) = kept.get(*owner) {
                calls.push(self.fill(owner, &kept.generation, said));
            }
        }
        join_all(calls).await;
    }

    /// Keeps what the blocklist said, unless it changed since `generation`.
    async fn fill(&self, owner: &Uid, generation: &str, said: &[(Uid, bool)]) {
        for said in said.chunks(ABREAST) {
            let mut call = BLOCK_FILL.key(self.key(owner));
            call.arg(generation).arg(millis(self.ttl));
            for (other, blocked) in said {
                call.arg(other.as_str()).arg(u8::from(*blocked));
            }
            // What is not kept is asked for again.
            let _ = self.cache.ask::<u8>(call).await;
        }
    }

    /// Makes everybody ask anew about these owners. Tried also while the cache is left alone.
    async fn forget(&self, owners: BTreeSet<Uid>) {
        let mut calls = Vec::with_capacity(owners.len());
        for owner in &owners {
            let mut call = BLOCK_FORGET.key(self.key(owner));
            call.arg(millis(self.ttl));
            calls.push(self.cache.redis.run::<u8>(call));
        }
        for error in join_all(calls).await.into_iter().filter_map(Result::err) {
            tracing::warn!(%error, ttl = ?self.ttl, "other servers see a change of a blocklist late");
        }
    }
}

fn owners(blocks: &[Block]) -> BTreeSet<Uid> {
    blocks.iter().map(|block| block.owner.clone()).collect()
}

#[async_trait]
impl Blocklist for CachedBlocklist {
    async fn block(&self, blocks: Vec<Block>) -> Result<(), StoreError> {
        let owners = owners(&blocks);
        // Also after a failure: it may have taken effect.
        let done = self.list.block(blocks).await;
        self.forget(owners).await;
        done
    }

    async fn unblock(&self, blocks: Vec<Block>) -> Result<(), StoreError> {
        let owners = owners(&blocks);
        let done = self.list.unblock(blocks).await;
        self.forget(owners).await;
        done
    }

    async fn blocked(&self, blocks: Vec<Block>) -> Result<Vec<bool>, StoreError> {
        let kept = self.kept_of_all(&blocks).await;
        let known = |block: &Block| kept.get(&block.owner)?.as_ref()?.answers.get(&block.other).copied();
        let missing: BTreeSet<&Block> = blocks.iter().filter(|block| known(block).is_none()).collect();
        let missing: Vec<Block> = missing.into_iter().cloned().collect();
        self.cache.count(blocks.len().saturating_sub(missing.len()), missing.len());
        if missing.is_empty() {
            return Ok(blocks.iter().map(|block| known(block).unwrap_or_default()).collect());
        }
        let said = self.list.blocked(missing.clone()).await?;
        let said: BTreeMap<Block, bool> = missing.into_iter().zip(said).collect();
        self.fill_all(&kept, &said).await;
        let answer = |block| known(block).or_else(|| said.get(block).copied()).unwrap_or_default();
        Ok(blocks.iter().map(answer).collect())
    }

    async fn list_blocked(
        &self,
        owner: &Uid,
        after: Option<&Uid>,
        limit: usize,
    ) -> Result<Vec<Uid>, StoreError> {
        self.list.list_blocked(owner, after, limit).await
    }
}
