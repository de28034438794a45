use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, SqlSafeStr, SqliteConnection, SqlitePool};

use super::buckets::place;
use super::fault::{is_damage, is_foreign};
use super::import::is_unfinished;
use super::{SqliteOptions, SqliteStore, Writer};
use crate::file::{create_private, sync_directory};
use crate::lock::FileLock;

/// The page size of a new database: SQLite's default.
const PAGE_SIZE: u32 = 4096;

/// A write-ahead log that grew beyond this while a reader pinned it is cut back afterwards.
const WAL_LIMIT: &str = "67108864";

/// What the writer keeps of the database in memory: 64 MiB (negative: KiB), so that a batch finds the tail of every busy timeline and
/// index without reading it again.
const WRITER_CACHE: &str = "-65536";

/// Pages that the write-ahead log gathers before they are copied into the database: 32 MiB. A page that many batches change, as heads and
/// index tails are, is then copied once for all of them.
const CHECKPOINT_PAGES: &str = "8192";

/// Rows that a reader's thread may be ahead of their use. With the driver's 50 a long answer costs three times the processor time, in switches of
/// threads; with thousands, as many big messages could be in memory.
const ROW_BUFFER: usize = 256;

/// Why a database was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it open as its store.
    #[error("another server is running on {}", path.display())]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// The file, or the lock file beside it, could not be used.
    #[error("cannot use {}", path.display())]
    Io {
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is no database, or a damaged one, or not of this library.
    #[error("{} is damaged or no database of this library", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A newer version of this library has changed the schema.
    #[error(
        "this program is older than {}: its tables (schema {schema}) are those of a newer im-store than {}. Upgrade the program", path.display(), env!("CARGO_PKG_VERSION")
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// The number of its newest migration.
        schema: i64,
    },
    /// A copy into it was begun and not finished.
    #[error("{} is an unfinished copy: copy again, which begins anew, or remove it", path.display())]
    Unfinished {
        /// The database.
        path: PathBuf,
    },
    /// It is one of several databases, and would be served as if it were all. See [`SqliteOptions::one_of_several`].
    #[error("{} is one of several databases that keep one store together, the one with place {place}: open all of them, as one sharded store", path.display())]
    OneOfSeveral {
        /// The database.
        path: PathBuf,
        /// Its place among them, from 0.
        place: u16,
    },
    /// It holds something, and is to be copied into.
    #[error("{} holds a store already: copy into another, or remove it", path.display())]
    NotEmpty {
        /// The database.
        path: PathBuf,
    },
    /// SQLite could not open it.
    #[error("cannot open {}", path.display())]
    Unavailable {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Locks, opens and migrates.
pub(super) async fn open(options: SqliteOptions) -> Result<SqliteStore, OpenError> {
    let path = options.path.clone();
    let lock = lock(&path)?;
    let writing = writing(&options);
    let mut connection = connect(&path, &writing).await?;
    if is_unfinished(&mut connection).await.map_err(|error| refused(&path, error))? {
        return Err(OpenError::Unfinished { path });
    }
    match place(&mut connection).await.map_err(|error| refused(&path, error))? {
        Some(place) if !options.one_of_several => return Err(OpenError::OneOfSeveral { path, place }),
        _ => {}
    }
    let readers = readers(&options).await.map_err(|error| refused(&path, error))?;
    let writer = Writer::new(connection, writing);
    Ok(SqliteStore { writer, readers, deadline: options.deadline, lock: Mutex::new(Some(lock)) })
}

/// Keeps others out.
pub(super) fn lock(path: &Path) -> Result<FileLock, OpenError> {
    let lock = FileLock::take(path).map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
    lock.ok_or_else(|| OpenError::InUse { path: path.to_owned() })
}

/// A connection to a database with our tables in it.
pub(super) async fn connect(
    path: &Path,
    writing: &SqliteConnectOptions,
) -> Result<SqliteConnection, OpenError> {
    let io_error = |source| OpenError::Io { path: path.to_owned(), source };
    create_private(path).map_err(io_error)?;
    let mut connection = writing.connect().await.map_err(|error| refused(path, error))?;
    migrate(&mut connection).await.map_err(|error| not_migrated(path, error))?;
    sync_directory(path).map_err(io_error)?;
    Ok(connection)
}

fn common(options: &SqliteOptions) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(&options.path).busy_timeout(options.busy_timeout).foreign_keys(false)
}

pub(super) fn writing(options: &SqliteOptions) -> SqliteConnectOptions {
    let writing = common(options)
        .create_if_missing(true)
        .page_size(PAGE_SIZE)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("journal_size_limit", WAL_LIMIT)
        .pragma("cache_size", WRITER_CACHE)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        // Sub-journals and materialised VALUES of a statement: they need no file.
        .pragma("temp_store", "MEMORY");
    match options.max_bytes {
        Some(bytes) => writing.pragma("max_page_count", (bytes / u64::from(PAGE_SIZE)).max(1).to_string()),
        None => writing,
    }
}

async fn readers(options: &SqliteOptions) -> Result<SqlitePool, sqlx::Error> {
    SqlitePoolOptions::new()
        .max_connections(options.readers)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(options.deadline)
        .connect_with(
            common(options).create_if_missing(false).row_buffer_size(ROW_BUFFER).pragma("query_only", "ON"),
        )
        .await
}

/// The schema's history. A published file never changes.
fn migrations() -> Migrator {
    let files = [
        (1, "timelines", include_str!("../../migrations/sqlite/0001_timelines.sql")),
        (2, "odd places", include_str!("../../migrations/sqlite/0002_odd_places.sql")),
        (3, "epoch", include_str!("../../migrations/sqlite/0003_epoch.sql")),
        (4, "outbox", include_str!("../../migrations/sqlite/0004_outbox.sql")),
        (5, "buckets", include_str!("../../migrations/sqlite/0005_buckets.sql")),
        (6, "blocklist", include_str!("../../migrations/sqlite/0006_blocklist.sql")),
        (7, "member", include_str!("../../migrations/sqlite/0007_member.sql")),
    ];
    let migration = |(number, name, text): (i64, &'static str, &'static str)| {
        Migration::new(number, name.into(), MigrationType::Simple, text.into_sql_str(), false)
    };
    Migrator::with_migrations(files.map(migration).into())
}

async fn migrate(connection: &mut SqliteConnection) -> Result<(), MigrateError> {
    migrations().run_direct(None, connection, false).await
}

pub(super) fn refused(path: &Path, error: sqlx::Error) -> OpenError {
    let path = path.to_owned();
    match is_damage(&error) || is_foreign(&error) {
        true => OpenError::Damaged { path, source: error.into() },
        false => OpenError::Unavailable { path, source: error.into() },
    }
}

fn not_migrated(path: &Path, error: MigrateError) -> OpenError {
    match error {
        MigrateError::VersionMissing(schema) => OpenError::Newer { path: path.to_owned(), schema },
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => refused(path, error),
        error => OpenError::Damaged { path: path.to_owned(), source: error.into() },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_commit_is_synced_and_readers_cannot_write() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(dir.path().join("im.db")).await.unwrap();
        let both = "SELECT journal_mode, synchronous FROM pragma_journal_mode, pragma_synchronous";
        let (mode, synchronous): (String, i64) = store
            .writer
            .transact(|connection| {
                Box::pin(async move { Ok(sqlx::query_as(both).fetch_one(connection).await?) })
            })
            .await
            .unwrap();
        assert_eq!((mode.as_str(), synchronous), ("wal", 2));
        let write = sqlx::query("DELETE FROM entries").execute(&store.readers).await;
        assert!(write.unwrap_err().to_string().contains("readonly"));
    }
}
