use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use im_core::storage::{Exportable, Import};
use im_store::sqlite::{OpenError, SqliteOptions, SqliteStore};

use super::failure::Failure;

/// Reads and look-ups of thousands of rows, perhaps from a cold disk.
const DEADLINE: Duration = Duration::from_secs(300);

/// Where a store is, and of what kind.
#[derive(Clone, Debug)]
pub(super) enum Location {
    Sqlite(PathBuf),
}

/// What no store is called.
#[derive(Debug, thiserror::Error)]
#[error("expected sqlite:FILE")]
pub(super) struct NoSuchLocation;

impl FromStr for Location {
    type Err = NoSuchLocation;

    fn from_str(text: &str) -> Result<Self, NoSuchLocation> {
        match text.split_once(':') {
            Some(("sqlite", file)) if !file.is_empty() => Ok(Self::Sqlite(file.into())),
            _ => Err(NoSuchLocation),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => write!(f, "sqlite:{}", file.display()),
        }
    }
}

impl Location {
    fn path(&self) -> &Path {
        match self {
            Self::Sqlite(path) => path,
        }
    }

    /// Whether both name the same file, by whatever path.
    pub(super) fn is(&self, other: &Self) -> bool {
        let file = |path: &Path| path.metadata().ok().map(|file| (file.dev(), file.ino()));
        file(self.path()).is_some_and(|this| Some(this) == file(other.path()))
    }

    /// Opens a store that is there.
    pub(super) async fn open(&self) -> Result<Opened, Failure> {
        if !self.path().exists() {
            return Err(Failure::Missing(self.clone()));
        }
        match self {
            Self::Sqlite(path) => {
                Ok(Opened::Sqlite(SqliteOptions::new(path).call_deadline(DEADLINE).open().await?))
            }
        }
    }

    /// Begins a copy into a store.
    pub(super) async fn import(&self) -> Result<Box<dyn Import>, OpenError> {
        match self {
            Self::Sqlite(path) => Ok(Box::new(SqliteOptions::new(path).import().await?)),
        }
    }
}

/// An open store.
pub(super) enum Opened {
    Sqlite(SqliteStore),
}

impl Opened {
    pub(super) fn store(&self) -> &dyn Exportable {
        match self {
            Self::Sqlite(store) => store,
        }
    }

    pub(super) async fn close(self) {
        match self {
            Self::Sqlite(store) => store.close().await,
        }
    }
}
