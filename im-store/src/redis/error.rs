use std::error::Error;
use std::sync::Arc;

use redis::{ErrorKind, ServerErrorKind};

/// Redis cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedisError {
    /// The URL is not one of those that [`RedisOptions::new`](super::RedisOptions::new) takes.
    #[error(
        "{0}: a Redis URL is like redis://HOST:PORT, redis+sentinel://HOST:PORT,HOST:PORT/SERVICE or redis+cluster://HOST:PORT,HOST:PORT"
    )]
    Url(String),
    /// No [`prefix`](super::RedisOptions::prefix) is like this.
    #[error("{0:?}: a prefix has 1 to 64 letters, digits and -_.{{}}")]
    Prefix(String),
    /// It cannot be reached.
    #[error("Redis cannot be reached: is it running, and is the address right?")]
    Unavailable(#[source] redis::RedisError),
    /// It is there, and does not let this user in, or wants a password where none was given.
    #[error("Redis does not let the user in: are the user and the password in its URL right?")]
    Denied(#[source] redis::RedisError),
    /// It lets the user in and forbids a command, a key or a channel.
    #[error(
        "Redis forbids its user what a server has to do: its ACL has to allow the keys ~PREFIX:* and the channels &PREFIX:*, \
         and +@read +@write +@pubsub +evalsha +script|load +time +ping"
    )]
    Forbidden(#[source] redis::RedisError),
    /// It is a replica.
    #[error("Redis takes no writes, because it is a replica: name the master, or the Sentinels that know it")]
    ReadOnly(#[source] redis::RedisError),
    /// It takes writes only while enough replicas follow.
    #[error(
        "Redis takes no writes, because fewer replicas follow than min-replicas-to-write says: bring them back, or lower that"
    )]
    NoReplicas(#[source] redis::RedisError),
    /// It cannot write to its disk, and takes no writes before it can.
    #[error(
        "Redis takes no writes, because it cannot save to its disk: see its log, make room, or set stop-writes-on-bgsave-error to no"
    )]
    Unsaved(#[source] redis::RedisError),
    /// Its memory is full.
    #[error(
        "Redis takes no writes, because its memory is full: raise its maxmemory, or take a Redis of its own"
    )]
    Full(#[source] redis::RedisError),
    /// Some of a Cluster's keys have no master.
    #[error(
        "the Redis Cluster is down: some of its slots have no master that is reached. CLUSTER INFO says more"
    )]
    ClusterDown(#[source] redis::RedisError),
    /// It has just been started, and loads what it has saved.
    #[error("Redis is still loading what it saved: try again when it has")]
    Loading(#[source] redis::RedisError),
    /// Nothing at the address answered within the deadline of a call.
    #[error(
        "nothing at the address answers as a Redis: is it one, is the port right, and does nothing on the way hold it back?"
    )]
    Silent(#[source] redis::RedisError),
    /// What answers is no Redis, or no Sentinel that knows the service, or no Cluster, as the URL says.
    #[error(
        "what answers at the address is not what the URL says: a Redis, a Sentinel that knows the service, or a Redis Cluster"
    )]
    Foreign(#[source] redis::RedisError),
}

impl RedisError {
    /// Why the first call failed.
    pub(super) fn of(error: redis::RedisError) -> Self {
        let error = match Self::refusal(error) {
            Ok(refusal) => return refusal,
            Err(other) => other,
        };
        match error.kind() {
            ErrorKind::Parse
            | ErrorKind::InvalidClientConfig
            | ErrorKind::UnexpectedReturnType
            | ErrorKind::MasterNameNotFoundBySentinel => Self::Foreign(error),
            ErrorKind::Server(ServerErrorKind::ResponseError) => Self::Foreign(error),
            _ if error.is_timeout() => Self::Silent(error),
            _ => Self::Unavailable(error),
        }
    }

    /// What a Redis that works says if it does not do what it was asked; else the error itself.
    fn refusal(error: redis::RedisError) -> Result<Self, redis::RedisError> {
        Ok(match error.code() {
            _ if error.kind() == ErrorKind::AuthenticationFailed => Self::Denied(error),
            Some("NOAUTH" | "WRONGPASS") => Self::Denied(error),
            Some("NOPERM") => Self::Forbidden(error),
            Some("READONLY") => Self::ReadOnly(error),
            Some("NOREPLICAS") => Self::NoReplicas(error),
            Some("MISCONF") => Self::Unsaved(error),
            Some("OOM") => Self::Full(error),
            Some("CLUSTERDOWN") => Self::ClusterDown(error),
            Some("LOADING") => Self::Loading(error),
            _ if is_forbidden_in_script(&error) => Self::Forbidden(error),
            _ => return Err(error),
        })
    }
}

/// Scripts have a general error for it, of which only the words differ.
fn is_forbidden_in_script(error: &redis::RedisError) -> bool {
    error.detail().is_some_and(|detail| detail.contains("user executing the script can't"))
}

/// The cause of a failed call, for those who have to mend it.
pub(super) fn cause(error: redis::RedisError) -> Option<Arc<dyn Error + Send + Sync>> {
    Some(match RedisError::refusal(error) {
        Ok(refusal) => Arc::new(refusal),
        Err(other) => Arc::new(other),
    })
}
