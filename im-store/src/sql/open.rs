use std::time::Duration;

#[cfg(feature = "mysql")]
use sqlx::migrate::{MigrateError, Migrator};
#[cfg(feature = "mysql")]
use sqlx::{AssertSqlSafe, Executor as _, MySqlConnection};

use super::connect::{self, Access};
use super::driver::Pool;
use super::heads::Heads;
use super::pool::Held;
use super::statement::Text;
use super::trouble::Trouble;
use super::{Fault, SqlOptions, SqlStore, buckets, promise, schema};

/// Why a database was not opened. None of these says the URL, which has a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL is none of a database that this crate was built for.
    #[error(
        "cannot use the database's URL: expected mysql://USER:PASSWORD@HOST:PORT/DATABASE or postgres://… (each has to be built in)"
    )]
    Url(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// What answers at the address takes no writes. [`SqlOptions::open_replica`] opens it for reads.
    #[error(
        "the database is read-only: it is a replica, or no longer the primary. Name the one that takes writes"
    )]
    ReadOnly,
    /// The database could not be reached, or said no.
    #[error("cannot open the database")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nothing at the address answered in time as this kind of database does.
    #[error(
        "nothing at the database's address answers as {0} does: is it one, is the port right, and does nothing on the way hold it back?"
    )]
    Silent(&'static str),
    /// What answers at the address is no database of this kind.
    #[error("what answers at the database's address is not {0}")]
    Foreign(&'static str, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// A table was changed by something else than this library.
    #[error("the database's tables are not those of this library")]
    Damaged(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A newer version of this library has changed the schema.
    #[error(
        "this program is older than the database: its tables (schema {0}) are those of a newer im-store than {version}. Upgrade the program", version = env!("CARGO_PKG_VERSION")
    )]
    Newer(i64),
    /// The schema of a replica is behind this version of the library; 0 where there is none.
    #[error(
        "the replica's tables are not there yet (schema {0}): migrate the primary, and wait until the replica has followed"
    )]
    Older(i64),
    /// The tables are not there yet, or not of this version, and the user may not change that.
    #[error("the database's user may not make or change its tables: let one who may open the database once")]
    MayNotMigrate(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A copy into it was begun and not finished.
    #[error("the database is an unfinished copy: copy again, which begins anew, or drop it")]
    Unfinished,
    /// Another process copies into it.
    #[error("the database is being copied into by another process")]
    BeingFilled,
    /// It is one of several databases, with this place among them, and would be served as if it were all. See [`SqlOptions::one_of_several`].
    #[error(
        "the database is one of several that keep one store together, the one with place {0}: open all of them, as one sharded store"
    )]
    OneOfSeveral(u16),
    /// It holds something, and is to be copied into.
    #[error("the database holds a store already: copy into another, or drop its tables")]
    NotEmpty,
}

/// How long to wait for the database when it is opened.
pub(super) const CONNECT: Duration = Duration::from_secs(10);

/// How long another server's migration is waited for.
#[cfg(feature = "mysql")]
const MIGRATION: Duration = Duration::from_secs(60);

static STATE: Text = Text::new("SELECT s.unfinished FROM store_state s WHERE s.id = 1");

/// Connects, migrates, and looks at what the database promises.
pub(super) async fn open(options: SqlOptions) -> Result<SqlStore, OpenError> {
    let deadline = options.deadline;
    let pool = connect(&options).await?;
    if is_unfinished(&pool).await.map_err(unavailable)? {
        return Err(OpenError::Unfinished);
    }
    match place(&pool).await.map_err(unavailable)? {
        Some(place) if !options.one_of_several => Err(OpenError::OneOfSeveral(place)),
        _ => Ok(SqlStore { pool, deadline, heads: Heads::default() }),
    }
}

/// Connects to what somebody else writes, and looks whether its tables are ours.
pub(super) async fn open_replica(options: SqlOptions) -> Result<SqlStore, OpenError> {
    let deadline = options.deadline;
    let pool = connect::pool(&options, Access::Read)?;
    reach(&pool).await?;
    schema::check(&pool).await?;
    match is_unfinished(&pool).await.map_err(unavailable)? {
        true => Err(OpenError::Unfinished),
        false => Ok(SqlStore { pool, deadline, heads: Heads::default() }),
    }
}

/// A pool of connections to a database with our tables in it.
pub(super) async fn connect(options: &SqlOptions) -> Result<Pool, OpenError> {
    let pool = connect::pool(options, Access::Write)?;
    reach(&pool).await?;
    // Most users of most servers may not make tables, and need not.
    match schema::check(&pool).await {
        Err(OpenError::Older(_)) => migrate(&pool).await?,
        looked => looked?,
    }
    promise::warn(&pool).await.map_err(unavailable)?;
    Ok(pool)
}

async fn migrate(pool: &Pool) -> Result<(), OpenError> {
    match pool {
        #[cfg(feature = "mysql")]
        Pool::MySql(pool) => {
            let mut connection = pool.take().await.map_err(unavailable)?;
            migrate_mysql(&mut connection, schema::migrations(&schema::MYSQL)).await?;
            connection.keep().map_err(unavailable)?;
        }
        #[cfg(feature = "postgres")]
        Pool::Postgres(pool) => {
            let mut connection = pool.take().await.map_err(unavailable)?;
            let migrations = schema::migrations(&schema::POSTGRES);
            migrations.run_direct(None, &mut *connection, false).await.map_err(schema::not_migrated)?;
            connection.keep().map_err(unavailable)?;
        }
    }
    Ok(())
}

/// Waits for the first connection.
async fn reach(pool: &Pool) -> Result<(), OpenError> {
    let (kind, reached) = match pool {
        #[cfg(feature = "mysql")]
        Pool::MySql(pool) => ("MySQL or MariaDB", pool.take_within(CONNECT).await.and_then(Held::keep)),
        #[cfg(feature = "postgres")]
        Pool::Postgres(pool) => ("PostgreSQL", pool.take_within(CONNECT).await.and_then(Held::keep)),
    };
    reached.map_err(|fault| not_reached(kind, fault))
}

pub(super) fn unavailable(fault: Fault) -> OpenError {
    match fault.trouble() {
        Trouble::ReadOnly => OpenError::ReadOnly,
        _ => OpenError::Unavailable(fault.into()),
    }
}

/// Why there is no first connection to a database of this kind.
fn not_reached(kind: &'static str, fault: Fault) -> OpenError {
    match fault {
        Fault::DeadlinePassed => OpenError::Silent(kind),
        Fault::Driver(error @ sqlx::Error::Protocol(_)) => OpenError::Foreign(kind, error.into()),
        fault => unavailable(fault),
    }
}

/// Under a lock of our own: the driver's waits with a negative time-out, which MariaDB does not take, so that two servers would migrate at once.
#[cfg(feature = "mysql")]
async fn migrate_mysql(connection: &mut MySqlConnection, migrations: Migrator) -> Result<(), OpenError> {
    const NAME: &str = "CONCAT('im-store migrates ', MD5(DATABASE()))";
    let unavailable = |error: sqlx::Error| unavailable(error.into());
    let lock = AssertSqlSafe(format!("SELECT CAST(GET_LOCK({NAME}, {}) AS SIGNED)", MIGRATION.as_secs()));
    let locked: Option<i64> =
        sqlx::query_scalar(lock).fetch_one(&mut *connection).await.map_err(unavailable)?;
    if locked != Some(1) {
        return Err(OpenError::Unavailable("another server is changing its tables for too long".into()));
    }
    // What fails cuts the connection, and frees the lock. `run` takes a connection by a trait that keeps the future from being sent to other threads.
    let mut migrated = migrations.run_direct(None, connection, false).await;
    if let Err(MigrateError::Dirty(_)) = migrated {
        // A step was cut off in the middle. Each may be repeated.
        let forget = "DELETE FROM _sqlx_migrations WHERE NOT success";
        connection.execute(sqlx::raw_sql(forget)).await.map_err(unavailable)?;
        migrated = migrations.run_direct(None, connection, false).await;
    }
    migrated.map_err(schema::not_migrated)?;
    let free = AssertSqlSafe(format!("DO RELEASE_LOCK({NAME})"));
    connection.execute(sqlx::raw_sql(free)).await.map_err(unavailable).map(drop)
}

async fn is_unfinished(pool: &Pool) -> Result<bool, Fault> {
    let mut session = pool.session().await?;
    let rows = session.select(&STATE, Vec::new()).await;
    let rows = session.settle(rows)?;
    Ok(rows.first().map(|row| row.int(0)).transpose()? == Some(1))
}

/// Its place among several databases, if it is one of them.
async fn place(pool: &Pool) -> Result<Option<u16>, Fault> {
    let mut session = pool.session().await?;
    let place = buckets::place(&mut session).await;
    session.settle(place)
}
