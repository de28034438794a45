use std::time::Duration;

use async_trait::async_trait;
use im_core::ports::{FencingToken, LockError, LockLease, Locks};

use super::error::cause;
use super::link::Redis;
use super::scripts::{ACQUIRE, HOLD};

/// Locks in Redis, shared by any number of servers.
///
/// A lock may be lost with the memory of its Redis: by a flush, or a fail-over to a replica that missed it. Then another may take it, with a greater token: the clocks
/// of servers that may replace each other must not differ by more than a fail-over takes.
#[derive(Debug)]
pub struct RedisLocks {
    redis: Redis,
}

impl RedisLocks {
    /// Locks in `redis`.
    pub fn new(redis: Redis) -> Self {
        Self { redis }
    }

    fn key(&self, name: &str) -> String {
        self.redis.key("l", name)
    }

    /// Moves the end of a lease; `false` if it is over.
    async fn hold(&self, lease: &LockLease, ttl: Duration) -> Result<bool, LockError> {
        let mut call = HOLD.key(self.key(&lease.name));
        call.arg(lease.token.0).arg(micros(ttl));
        self.redis.run(call).await.map_err(unavailable)
    }
}

#[async_trait]
impl Locks for RedisLocks {
    async fn acquire(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<LockLease>, LockError> {
        let mut call = ACQUIRE.key(self.key(name));
        call.arg(holder).arg(micros(ttl));
        let answer: Option<String> = self.redis.run(call).await.map_err(unavailable)?;
        let Some(answer) = answer else { return Ok(None) };
        let token = answer.parse().map(FencingToken).map_err(|_| LockError::Unavailable(None))?;
        Ok(Some(LockLease { name: name.to_owned(), holder: holder.to_owned(), token }))
    }

    async fn renew(&self, lease: &LockLease, ttl: Duration) -> Result<bool, LockError> {
        self.hold(lease, ttl).await
    }

    async fn release(&self, lease: LockLease) -> Result<(), LockError> {
        self.hold(&lease, Duration::ZERO).await.map(drop)
    }
}

/// Scripts count in doubles: what is too long for them is cut to a century.
fn micros(ttl: Duration) -> u64 {
    const LONGEST: u64 = 100 * 365 * 86_400 * 1_000_000;
    u64::try_from(ttl.as_micros()).unwrap_or(LONGEST).min(LONGEST)
}

fn unavailable(error: redis::RedisError) -> LockError {
    LockError::Unavailable(cause(error))
}
