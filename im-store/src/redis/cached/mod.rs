//! Caches in Redis, before a store and a blocklist.
//!
//! What they keep is never the only copy. While Redis is away or slow, whom they stand before answers: a call that failed is followed by a second in which Redis
//! is left alone. Give them a [`Redis`] of their own with a short [`call_deadline`](super::RedisOptions::call_deadline), 100 ms, say: by so much the
//! first calls are late.

mod blocklist;
mod codec;
mod conversations;
mod recent;
mod store;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::FromRedisValue;

pub use blocklist::CachedBlocklist;
pub use store::CachedStore;

use super::link::{Call, Redis};

/// How long Redis is left alone after a failure; up to half as long again.
const PAUSE: Duration = Duration::from_secs(1);

/// What a cache was good for, since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheCounts {
    /// Questions that it answered.
    pub hits: u64,
    /// Questions that whom it stands before had to answer.
    pub misses: u64,
    /// Calls of Redis that failed.
    pub failures: u64,
}

/// A Redis that may be away.
#[derive(Debug)]
struct Cache {
    redis: Redis,
    /// Until when it is left alone.
    shut: Mutex<Option<Instant>>,
    jitter: RandomState,
    hits: AtomicU64,
    misses: AtomicU64,
    failures: AtomicU64,
}

impl Cache {
    fn new(redis: Redis) -> Self {
        Self {
            redis,
            shut: Mutex::default(),
            jitter: RandomState::new(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    /// Whether it is worth while to ask.
    fn is_open(&self) -> bool {
        let mut shut = self.shut.lock().unwrap_or_else(PoisonError::into_inner);
        if shut.is_some_and(|until| until <= Instant::now()) {
            *shut = None;
        }
        shut.is_none()
    }

    /// The answer; `None` if Redis is left alone, or fails.
    async fn ask<T: FromRedisValue>(&self, call: impl Into<Call>) -> Option<T> {
        if !self.is_open() {
            return None;
        }
        match self.redis.run(call).await {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.fail(&error);
                None
            }
        }
    }

    fn fail(&self, error: &redis::RedisError) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed);
        let part = u32::try_from(self.jitter.hash_one(failures) % 500).unwrap_or_default();
        let until = Instant::now() + PAUSE + PAUSE * part / 1_000;
        let before = self.shut.lock().unwrap_or_else(PoisonError::into_inner).replace(until);
        if before.is_none() {
            tracing::debug!(%error, "the cache is left alone for a while");
        }
    }

    fn count(&self, hits: usize, misses: usize) {
        self.hits.fetch_add(u64::try_from(hits).unwrap_or_default(), Ordering::Relaxed);
        self.misses.fetch_add(u64::try_from(misses).unwrap_or_default(), Ordering::Relaxed);
    }

    fn counts(&self) -> CacheCounts {
        CacheCounts {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }
}

fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 50)
}
