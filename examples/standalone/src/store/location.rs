use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use im_core::storage::{Exportable, Import, Store};
use im_store::log::{LogOptions, LogStore};
use im_store::sqlite::{SqliteOptions, SqliteStore};
use serde::{Deserialize, Serialize};

use super::failure::Failure;

/// Reads and look-ups of thousands of rows, perhaps from a cold disk.
const DEADLINE: Duration = Duration::from_secs(300);

/// Where a store is, and of what kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) enum Location {
    Log(PathBuf),
    Sqlite(PathBuf),
}

/// What no store is called.
#[derive(Debug, thiserror::Error)]
#[error("expected log:DIR or sqlite:FILE")]
pub(crate) struct NoSuchLocation;

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Log(#[from] im_store::log::OpenError),
    #[error(transparent)]
    Sqlite(#[from] im_store::sqlite::OpenError),
}

impl FromStr for Location {
    type Err = NoSuchLocation;

    fn from_str(text: &str) -> Result<Self, NoSuchLocation> {
        match text.split_once(':') {
            Some(("log", dir)) if !dir.is_empty() => Ok(Self::Log(dir.into())),
            Some(("sqlite", file)) if !file.is_empty() => Ok(Self::Sqlite(file.into())),
            _ => Err(NoSuchLocation),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(dir) => write!(f, "log:{}", dir.display()),
            Self::Sqlite(file) => write!(f, "sqlite:{}", file.display()),
        }
    }
}

impl From<Location> for String {
    fn from(location: Location) -> Self {
        location.to_string()
    }
}

impl TryFrom<String> for Location {
    type Error = NoSuchLocation;

    fn try_from(text: String) -> Result<Self, NoSuchLocation> {
        text.parse()
    }
}

impl Location {
    fn path(&self) -> &Path {
        match self {
            Self::Log(path) | Self::Sqlite(path) => path,
        }
    }

    /// Whether both name the same file, by whatever path.
    pub(super) fn is(&self, other: &Self) -> bool {
        let file = |path: &Path| path.metadata().ok().map(|file| (file.dev(), file.ino()));
        file(self.path()).is_some_and(|this| Some(this) == file(other.path()))
    }

    /// The store of a server that was told of none: a log in its data directory, unless that has only a database from before logs were the
    /// default. What an operator should know about a database that is there goes to the log.
    pub(crate) fn found_in(data: &Path) -> Self {
        let (log, database) = (Self::Log(data.join("store")), Self::Sqlite(data.join("im.db")));
        match (database.is_there(), log.is_there()) {
            (true, false) => {
                tracing::info!(
                    "goes on with the database; for a log, which is faster, stop the server, \
                     run `im-standalone store copy {database} {log}`, and start it again"
                );
                database
            }
            (true, true) => {
                tracing::info!(
                    "takes the log and leaves {database} alone, which `--store {database}` would take; \
                     remove it when it is of no more use"
                );
                log
            }
            (false, _) => log,
        }
    }

    fn is_there(&self) -> bool {
        match self {
            Self::Log(path) => path.join("log").is_dir(),
            Self::Sqlite(path) => path.is_file(),
        }
    }

    /// Opens the store for a server, and makes it if there is none.
    pub(crate) async fn serve(&self) -> Result<Opened, OpenError> {
        match self {
            Self::Log(path) => Ok(Opened::Log(Arc::new(LogStore::open(path).await?))),
            Self::Sqlite(path) => Ok(Opened::Sqlite(Arc::new(SqliteStore::open(path).await?))),
        }
    }

    /// Opens a store that is there.
    pub(super) async fn open(&self) -> Result<Opened, Failure> {
        if !self.is_there() {
            return Err(Failure::Missing(self.clone()));
        }
        match self {
            Self::Log(path) => {
                let opened = LogOptions::new(path).call_deadline(DEADLINE).open().await;
                Ok(Opened::Log(Arc::new(opened.map_err(OpenError::from)?)))
            }
            Self::Sqlite(path) => {
                let opened = SqliteOptions::new(path).call_deadline(DEADLINE).open().await;
                Ok(Opened::Sqlite(Arc::new(opened.map_err(OpenError::from)?)))
            }
        }
    }

    /// Begins a copy into a store.
    pub(super) async fn import(&self) -> Result<Box<dyn Import>, OpenError> {
        match self {
            Self::Log(path) => Ok(Box::new(LogOptions::new(path).import().await?)),
            Self::Sqlite(path) => Ok(Box::new(SqliteOptions::new(path).import().await?)),
        }
    }
}

/// An open store.
pub(crate) enum Opened {
    Log(Arc<LogStore>),
    Sqlite(Arc<SqliteStore>),
}

impl Opened {
    pub(super) fn store(&self) -> &dyn Exportable {
        match self {
            Self::Log(store) => &**store,
            Self::Sqlite(store) => &**store,
        }
    }

    /// The store, for a server.
    pub(crate) fn shared(&self) -> Arc<dyn Store> {
        match self {
            Self::Log(store) => store.clone(),
            Self::Sqlite(store) => store.clone(),
        }
    }

    pub(crate) async fn close(self) {
        match self {
            Self::Log(store) => store.close().await,
            Self::Sqlite(store) => store.close().await,
        }
    }
}
