use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use im_core::id::Uid;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, SqlSafeStr, SqlitePool};

use super::SqliteLocalStore;
use super::fault::{is_damage, is_locked};
use crate::file::{create_private, sync_directory};

/// How long the lock of a process that is just ending is waited for.
const BUSY: Duration = Duration::from_secs(1);

/// Why a local store was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenLocalError {
    /// Another process has it open.
    #[error("{} is in use by another client", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file or its directory could not be used.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It holds another user's messages.
    #[error("{} belongs to another user, {owner}", path.display())]
    OtherUser {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: String,
    },
    /// It is no database, or a damaged one, or not of this library.
    #[error("{} is damaged or no local store of this library", path.display())]
    Damaged {
        /// The file.
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
        /// The file.
        path: PathBuf,
        /// The number of its newest migration.
        schema: i64,
    },
    /// SQLite could not open it.
    #[error("cannot open {}", path.display())]
    Unavailable {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl SqliteLocalStore {
    /// Opens the file at `path`, and creates it for `owner` if there is none. Its directory has to exist.
    ///
    /// # Cancel safety
    /// Dropping the future, and a crash, leave the file made or not. Repeating is harmless.
    ///
    /// # Errors
    /// [`OpenLocalError`].
    pub async fn open(path: &Path, owner: &Uid) -> Result<Self, OpenLocalError> {
        let io_error = |source| OpenLocalError::Io { path: path.to_owned(), source };
        create_private(path).map_err(io_error)?;
        let pool = connect(path).await.map_err(|error| refused(path, error))?;
        migrations().run(&pool).await.map_err(|error| not_migrated(path, error))?;
        sync_directory(path).map_err(io_error)?;
        let found = claim(&pool, owner).await.map_err(|error| refused(path, error))?;
        if found != owner.as_str().as_bytes() {
            let owner = String::from_utf8_lossy(&found).into_owned();
            return Err(OpenLocalError::OtherUser { path: path.to_owned(), owner });
        }
        Ok(Self { pool })
    }
}

async fn connect(path: &Path) -> Result<SqlitePool, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .locking_mode(SqliteLockingMode::Exclusive)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY)
        .disable_statement_logging();
    SqlitePoolOptions::new()
        .max_connections(1)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options)
        .await
}

/// The schema's history. A published file never changes.
fn migrations() -> Migrator {
    let files = [
        ("local", include_str!("../../migrations/sqlite_local/0001_local.sql")),
        ("epoch", include_str!("../../migrations/sqlite_local/0002_epoch.sql")),
    ];
    let migration = |(number, (name, sql)): (i64, (&'static str, &'static str))| {
        Migration::new(number, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations((1..).zip(files).map(migration).collect())
}

/// Whose the file is: `owner`'s, if it was nobody's.
async fn claim(pool: &SqlitePool, owner: &Uid) -> Result<Vec<u8>, sqlx::Error> {
    sqlx::query("INSERT INTO state (id, owner, cursor) VALUES (1, ?, 0) ON CONFLICT (id) DO NOTHING")
        .bind(owner.as_str().as_bytes())
        .execute(pool)
        .await?;
    sqlx::query_scalar("SELECT owner FROM state").fetch_one(pool).await
}

fn refused(path: &Path, error: sqlx::Error) -> OpenLocalError {
    let path = path.to_owned();
    match error {
        error if is_locked(&error) => OpenLocalError::InUse { path },
        error if is_damage(&error) => OpenLocalError::Damaged { path, source: error.into() },
        error => OpenLocalError::Unavailable { path, source: error.into() },
    }
}

fn not_migrated(path: &Path, error: MigrateError) -> OpenLocalError {
    match error {
        MigrateError::VersionMissing(schema) => OpenLocalError::Newer { path: path.to_owned(), schema },
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => refused(path, error),
        error => OpenLocalError::Damaged { path: path.to_owned(), source: error.into() },
    }
}
