use std::fmt;
use std::time::Duration;

use super::error::RedisError;
use super::link::Redis;
use super::online;
use super::url::Source;

/// Bytes of a prefix.
const MAX_PREFIX: usize = 64;

/// How to reach a [`Redis`].
#[derive(Clone)]
pub struct RedisOptions {
    pub(super) url: String,
    pub(super) prefix: String,
    pub(super) deadline: Duration,
    pub(super) route_ttl: Duration,
    pub(super) online_ttl: Duration,
}

/// A URL has a password.
impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, prefix, deadline, route_ttl, online_ttl } = self;
        f.debug_struct("RedisOptions")
            .field("prefix", prefix)
            .field("deadline", deadline)
            .field("route_ttl", route_ttl)
            .field("online_ttl", online_ttl)
            .finish_non_exhaustive()
    }
}

impl RedisOptions {
    /// The defaults, for the Redis at `url`: `redis://USER:PASSWORD@HOST:PORT/DB`, `redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/SERVICE/DB`, which
    /// names the Sentinels, or `redis+cluster://USER:PASSWORD@HOST:PORT,HOST:PORT`. What comes before the hosts, and the number of the database, may be left out.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: "im".to_owned(),
            deadline: Duration::from_secs(2),
            route_ttl: Duration::from_secs(600),
            online_ttl: online::TTL,
        }
    }

    /// What the names of all keys and channels begin with. `im`. Deployments that share a database of a Redis need different ones.
    ///
    /// It has 1 to 64 ASCII letters, digits and `-_.{}`. No colon: with it one deployment's names could be another's. With a tag in braces,
    /// as in `{im}`, one node of a Cluster gets all keys.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Looks whether the URL and the prefix can be such, without reaching for the Redis.
    ///
    /// # Errors
    /// [`RedisError::Url`], [`RedisError::Prefix`].
    pub fn check(&self) -> Result<(), RedisError> {
        if !is_prefix(&self.prefix) {
            return Err(RedisError::Prefix(self.prefix.clone()));
        }
        Source::of(&self.url).map(drop)
    }

    /// How long a call may take, connecting included; then it is `Unavailable`, and the next one takes a new connection. 2 s: less than a renewal of the node's
    /// lease may take.
    #[must_use]
    pub fn call_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long a link counts that its gate does not confirm. 10 min: many times the gate's `audit`. It clears up after what went wrong twice; a gate
    /// that dies is known by its lease.
    #[must_use]
    pub fn route_ttl(mut self, ttl: Duration) -> Self {
        self.route_ttl = ttl;
        self
    }

    /// How long a user is counted as online of whom no gate speaks. 35 s: three times the gate's `audit`, and a bit; raise it with that. A user whose gate
    /// died is counted for so long, and is listed no longer than the gate's lease.
    #[must_use]
    pub fn online_ttl(mut self, ttl: Duration) -> Self {
        self.online_ttl = ttl;
        self
    }

    /// Connects.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn open(self) -> Result<Redis, RedisError> {
        Redis::open(self).await
    }
}

fn is_prefix(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.{}".contains(&byte);
    (1..=MAX_PREFIX).contains(&text.len()) && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_short_word_without_a_colon() {
        let check = |prefix: &str| RedisOptions::new("redis://127.0.0.1").prefix(prefix).check();
        for prefix in ["im", "{im}", "shop-2_eu.im", "7", &"x".repeat(64)] {
            assert!(check(prefix).is_ok(), "{prefix}");
        }
        for prefix in ["", "im:u", "a b", "é", "im\n", "*", &"x".repeat(65)] {
            assert!(matches!(check(prefix), Err(RedisError::Prefix(_))), "{prefix:?}");
        }
    }
}
