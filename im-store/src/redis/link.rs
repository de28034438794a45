use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::{ConnectionLike, MultiplexedConnection, PubSub};
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisFuture, RedisResult,
    ScriptInvocation, ServerErrorKind, Value,
};
use tokio::sync::Mutex;

use super::RedisOptions;
use super::error::RedisError;
use super::url::Source;

/// After a connection failed, others that waited for it fail too, instead of one by one trying as long.
const FAIL_TOGETHER: Duration = Duration::from_millis(100);

/// A Redis, reached over one connection that all share, and that is made anew when it breaks.
#[derive(Clone)]
pub struct Redis {
    shared: Arc<Shared>,
}

struct Shared {
    source: Arc<Source>,
    options: RedisOptions,
    database: i64,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    connection: Option<Connection>,
    /// Which connection it is.
    number: u64,
    failed: Option<Instant>,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl Redis {
    pub(super) async fn open(options: RedisOptions) -> Result<Self, RedisError> {
        options.check()?;
        let source = Arc::new(Source::of(&options.url)?);
        let redis = Self::over(source, options);
        redis.run::<()>(redis::cmd("PING")).await.map_err(RedisError::of)?;
        Ok(redis)
    }

    fn over(source: Arc<Source>, options: RedisOptions) -> Self {
        let database = source.database();
        Self { shared: Arc::new(Shared { source, options, database, current: Mutex::default() }) }
    }

    /// The same Redis over a connection of its own, which is made when it is first used.
    pub(super) fn apart(&self) -> Self {
        Self::over(self.shared.source.clone(), self.shared.options.clone())
    }

    pub(super) fn options(&self) -> &RedisOptions {
        &self.shared.options
    }

    /// A key.
    pub(super) fn key(&self, kind: &str, of: impl fmt::Display) -> String {
        format!("{}:{kind}:{of}", self.options().prefix)
    }

    /// A channel. Redis keeps its databases apart by their keys alone, so a channel has the database in its name.
    pub(super) fn channel(&self, kind: &str, of: impl fmt::Display) -> String {
        match self.shared.database {
            0 => self.key(kind, of),
            database => self.key(kind, format_args!("{database}:{of}")),
        }
    }

    /// Runs a call, within the deadline.
    pub(super) async fn run<T: FromRedisValue>(&self, call: impl Into<Call>) -> RedisResult<T> {
        let call = call.into();
        let (mut connection, number) = self.within(self.connection()).await?;
        let done = self.within(call.on(&mut connection)).await;
        if done.as_ref().is_err_and(is_broken) {
            self.forget(number).await;
        }
        done
    }

    /// A connection of its own for subscriptions.
    pub(super) async fn pub_sub(&self) -> RedisResult<PubSub> {
        self.within(async {
            match &*self.shared.source {
                Source::Single(client) => client.get_async_pubsub().await,
                Source::Sentinel(sentinel, _) => {
                    let client = sentinel.lock().await.async_get_client().await?;
                    client.get_async_pubsub().await
                }
                Source::Cluster(_, nodes) => {
                    let mut failure = too_slow();
                    for node in nodes {
                        match node.get_async_pubsub().await {
                            Ok(pub_sub) => return Ok(pub_sub),
                            Err(error) => failure = error,
                        }
                    }
                    Err(failure)
                }
            }
        })
        .await
    }

    /// A call, within the deadline.
    pub(super) async fn within<T>(&self, call: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
        let timed = tokio::time::timeout(self.options().deadline, call).await;
        timed.unwrap_or_else(|_| Err(too_slow()))
    }

    async fn connection(&self) -> RedisResult<(Connection, u64)> {
        let mut current = self.shared.current.lock().await;
        if let Some(connection) = &current.connection {
            return Ok((connection.clone(), current.number));
        }
        if current.failed.is_some_and(|at| at.elapsed() < FAIL_TOGETHER) {
            return Err(too_slow());
        }
        // Taken for failed until it is there: the caller may give up at any time.
        current.failed = Some(Instant::now() + self.options().deadline);
        let made = self.shared.connect().await;
        current.failed = made.is_err().then(Instant::now);
        let connection = made?;
        current.connection = Some(connection.clone());
        current.number += 1;
        Ok((connection, current.number))
    }

    async fn forget(&self, number: u64) {
        let mut current = self.shared.current.lock().await;
        if current.number == number {
            current.connection = None;
        }
    }
}

impl Shared {
    async fn connect(&self) -> RedisResult<Connection> {
        let deadline = Some(self.options.deadline);
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(deadline).set_response_timeout(deadline);
        match &*self.source {
            Source::Single(client) => {
                client.get_multiplexed_async_connection_with_config(&config).await.map(Connection::Single)
            }
            Source::Sentinel(sentinel, _) => {
                let mut sentinel = sentinel.lock().await;
                sentinel.get_async_connection_with_config(&config).await.map(Connection::Single)
            }
            Source::Cluster(client, _) => client.get_async_connection().await.map(Connection::Cluster),
        }
    }
}

/// Whether the next call needs another connection: the server is away, or is no master any more.
fn is_broken(error: &redis::RedisError) -> bool {
    let of_the_server =
        [ServerErrorKind::ReadOnly, ServerErrorKind::MasterDown, ServerErrorKind::BusyLoading];
    error.is_io_error()
        || error.is_unrecoverable_error()
        || of_the_server.iter().any(|kind| error.kind() == ErrorKind::Server(*kind))
}

fn too_slow() -> redis::RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

/// A command, or a script.
pub(super) enum Call {
    Command(Cmd),
    Script(ScriptInvocation<'static>),
}

impl Call {
    async fn on<T: FromRedisValue>(&self, connection: &mut Connection) -> RedisResult<T> {
        match self {
            Self::Command(command) => command.query_async(connection).await,
            Self::Script(script) => script.invoke_async(connection).await,
        }
    }
}

impl From<Cmd> for Call {
    fn from(command: Cmd) -> Self {
        Self::Command(command)
    }
}

impl From<ScriptInvocation<'static>> for Call {
    fn from(script: ScriptInvocation<'static>) -> Self {
        Self::Script(script)
    }
}

/// A connection of either kind.
#[derive(Clone)]
pub(super) enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(connection) => connection.req_packed_commands(cmd, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(cmd, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Single(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}
