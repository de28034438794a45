//! How connections to each kind of database are set up, and how they show that their server may be used.

#[cfg(feature = "mysql")]
use std::time::Duration;

use futures::FutureExt as _;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};
#[cfg(feature = "mysql")]
use sqlx::{MySqlConnection, mysql::MySqlConnectOptions};
#[cfg(feature = "postgres")]
use sqlx::{PgConnection, postgres::PgConnectOptions};

use super::dial::{Dial, Dialer, Prove};
use super::driver::Pool;
use super::pool::Connections;
use super::statement::CACHED;
use super::{Fault, OpenError, SqlOptions};

/// What a pool's connections are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// A server that is read-only is of no use, for reads neither: it may have been replaced.
    Write,
    /// A replica, which may be read-only.
    Read,
}

/// After so long without a statement MySQL ends a connection, and a transaction that it was in.
#[cfg(feature = "mysql")]
const MYSQL_IDLE: Duration = Duration::from_secs(30);

/// Connections to the database of the options' URL, none of which is open yet.
pub(super) fn pool(options: &SqlOptions, access: Access) -> Result<Pool, OpenError> {
    match options.url.split(':').next() {
        #[cfg(feature = "mysql")]
        Some("mysql" | "mariadb") => mysql(options, access).map(Pool::MySql),
        #[cfg(feature = "postgres")]
        Some("postgres" | "postgresql") => postgres(options, access).map(Pool::Postgres),
        _ => Err(OpenError::Url(None)),
    }
}

fn connections<C: sqlx::Connection + 'static>(
    options: &SqlOptions,
    access: Access,
    dialer: Dialer<C>,
) -> Connections<C> {
    Connections::new(options.connections, options.deadline, dialer, access == Access::Write)
}

#[cfg(feature = "mysql")]
fn mysql(options: &SqlOptions, access: Access) -> Result<Connections<MySqlConnection>, OpenError> {
    let url: MySqlConnectOptions = options.url.parse().map_err(bad_url)?;
    if url.get_database().is_none() {
        return Err(OpenError::Url(Some("it names no database".into())));
    }
    let url = url.charset("utf8mb4").statement_cache_capacity(CACHED);
    let set = mysql_settings(options, access);
    let dial: Dial<_> = Box::new(move || {
        let (url, set) = (url.clone(), set.clone());
        let dial = async move {
            let mut connection = MySqlConnection::connect_with(&url).await?;
            connection.execute(sqlx::raw_sql(AssertSqlSafe(set))).await?;
            Ok(connection)
        };
        dial.boxed()
    });
    let prove: Prove<_> = match access {
        Access::Write => |connection| mysql_takes_writes(connection).boxed(),
        Access::Read => |connection| async { Ok(connection.ping().await?) }.boxed(),
    };
    Ok(connections(options, access, Dialer::new(dial, prove)))
}

/// A server that is out of reach in mid-transaction must not keep its rows from the others. MySQL has no time-out for that alone; MariaDB reads the one comment, MySQL
/// the other.
#[cfg(feature = "mysql")]
fn mysql_settings(options: &SqlOptions, access: Access) -> String {
    let (lock, idle) = (options.lock_timeout.as_secs().max(1), options.deadline.as_secs().max(1));
    format!(
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED{access}; SET SESSION innodb_lock_wait_timeout = {lock} \
         /*M!100300 , SESSION idle_transaction_timeout = {idle} */ \
         /*!80000 , SESSION wait_timeout = {} */",
        MYSQL_IDLE.as_secs(),
        access = if access == Access::Read { ", READ ONLY" } else { "" },
    )
}

/// Also for a user whose privileges let it write to a server that is read-only: what it writes to a primary that was replaced is lost.
#[cfg(feature = "mysql")]
async fn mysql_takes_writes(connection: &mut MySqlConnection) -> Result<(), Fault> {
    // Newer versions of MariaDB have more than two states, with names. The comments are as above.
    const TAKES_WRITES: &str = "SELECT CAST(@@global.read_only IN ('0', 'OFF') \
         AND @@global.innodb_read_only IN ('0', 'OFF') \
         /*M!100300 AND NOT @@session.tx_read_only */ \
         /*!80000 AND NOT @@session.transaction_read_only */ AS SIGNED)";
    let row = connection.fetch_one(sqlx::raw_sql(TAKES_WRITES)).await?;
    let takes_writes: i64 = row.try_get(0)?;
    if takes_writes == 1 { Ok(()) } else { Err(Fault::ReadOnly) }
}

#[cfg(feature = "postgres")]
fn postgres(options: &SqlOptions, access: Access) -> Result<Connections<PgConnection>, OpenError> {
    let url: PgConnectOptions = options.url.parse().map_err(bad_url)?;
    let url = url.statement_cache_capacity(CACHED);
    let set = postgres_settings(options, access);
    let dial: Dial<_> = Box::new(move || {
        let (url, set) = (url.clone(), set.clone());
        let dial = async move {
            let mut connection = PgConnection::connect_with(&url).await?;
            connection.execute(sqlx::raw_sql(AssertSqlSafe(set))).await?;
            Ok(connection)
        };
        dial.boxed()
    });
    let prove: Prove<_> = match access {
        Access::Write => |connection| postgres_takes_writes(connection).boxed(),
        Access::Read => |connection| async { Ok(connection.ping().await?) }.boxed(),
    };
    Ok(connections(options, access, Dialer::new(dial, prove)))
}

/// Whether transactions are read-only by default is left to the server where it has to take writes: that may be how a primary was taken out of service.
#[cfg(feature = "postgres")]
fn postgres_settings(options: &SqlOptions, access: Access) -> String {
    format!(
        "SET lock_timeout = {lock}; SET statement_timeout = {deadline}; \
         SET idle_in_transaction_session_timeout = {deadline}; {access} \
         SET default_transaction_isolation = 'read committed'",
        access = if access == Access::Read { "SET default_transaction_read_only = on;" } else { "" },
        lock = options.lock_timeout.as_millis().max(1),
        deadline = options.deadline.as_millis().max(1),
    )
}

/// A standby's transactions are all read-only.
#[cfg(feature = "postgres")]
async fn postgres_takes_writes(connection: &mut PgConnection) -> Result<(), Fault> {
    let row = connection.fetch_one(sqlx::raw_sql("SHOW transaction_read_only")).await?;
    let read_only: String = row.try_get(0)?;
    if read_only == "off" { Ok(()) } else { Err(Fault::ReadOnly) }
}

fn bad_url(error: sqlx::Error) -> OpenError {
    OpenError::Url(Some(error.into()))
}
