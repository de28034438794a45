//! What an error of a database says beyond the statement that met it: about its connection, and about its server.

#[cfg(feature = "mysql")]
use sqlx::mysql::MySqlDatabaseError;

/// How much an error spoils.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The statement failed. The connection is as good as before.
    Statement,
    /// The connection is over, or of no more use.
    Connection,
    /// The server takes no writes: it is a replica, or no longer the primary.
    ReadOnly,
    /// The server shuts down, is not ready, or cannot use its disk.
    Server,
}

/// MySQL's and MariaDB's errors that mean "read-only", by number.
///
/// 1290 is the option `read_only`, 1792 a read-only transaction, 1836, 1874 and 1036 are InnoDB's `innodb_read_only`.
const MYSQL_READ_ONLY: [u16; 5] = [1290, 1792, 1836, 1874, 1036];

/// A Galera node that left its cluster (1047), a shutdown (1053), offline mode (3032), a member of
/// a replication group that cannot commit (3100), a server that is not available (3168).
const MYSQL_SERVER: [u16; 5] = [1047, 1053, 3032, 3100, 3168];

/// A connection that was killed (MariaDB 1927, MySQL 3169) or idle for too long (4031), and a
/// commit that the replication group took back (3101).
const MYSQL_CONNECTION: [u16; 4] = [1927, 3101, 3169, 4031];

/// SQLSTATE's "read-only transaction": what a PostgreSQL standby answers, and a primary with `default_transaction_read_only`.
const READ_ONLY: &str = "25006";

/// PostgreSQL shuts down, has crashed, or starts. It says the first also to a single session that an administrator ends.
const SERVER: [&str; 3] = ["57P01", "57P02", "57P03"];

/// PostgreSQL's class for errors outside of itself, which are its disk's.
const SYSTEM: &str = "58";

/// PostgreSQL ended the session: its database was dropped, or it was idle for too long.
const CONNECTION: [&str; 4] = ["57P04", "57P05", "25P03", "25P04"];

/// SQLSTATE's class for failed connections.
const FAILED_CONNECTION: &str = "08";

impl Trouble {
    pub(super) fn of(error: &sqlx::Error) -> Self {
        let Some(answer) = error.as_database_error() else { return Self::Connection };
        let by_number = number(error).and_then(Self::of_number);
        by_number.unwrap_or_else(|| answer.code().map_or(Self::Statement, |state| Self::of_state(&state)))
    }

    /// Many of MySQL's numbers share one SQLSTATE.
    fn of_number(number: u16) -> Option<Self> {
        let kinds = [
            (&MYSQL_READ_ONLY[..], Self::ReadOnly),
            (&MYSQL_SERVER[..], Self::Server),
            (&MYSQL_CONNECTION[..], Self::Connection),
        ];
        kinds.into_iter().find(|(numbers, _)| numbers.contains(&number)).map(|(_, trouble)| trouble)
    }

    fn of_state(state: &str) -> Self {
        match state {
            READ_ONLY => Self::ReadOnly,
            state if SERVER.contains(&state) || state.starts_with(SYSTEM) => Self::Server,
            state if CONNECTION.contains(&state) || state.starts_with(FAILED_CONNECTION) => Self::Connection,
            _ => Self::Statement,
        }
    }
}

/// MySQL's number of an error.
#[cfg(feature = "mysql")]
pub(super) fn number(error: &sqlx::Error) -> Option<u16> {
    let error = error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>()?;
    Some(error.number())
}

/// Other databases have no numbers.
#[cfg(not(feature = "mysql"))]
pub(super) fn number(_: &sqlx::Error) -> Option<u16> {
    None
}
