use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use im_core::storage::{Exportable, Import, Store};
use im_store::log::{LogOptions, LogStore};
use im_store::sql::{SqlOptions, SqlStore};
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
    /// The URL of a database.
    Sql(String),
}

/// What no store is called.
#[derive(Debug, thiserror::Error)]
#[error("expected log:DIR, sqlite:FILE, mysql://USER:PASSWORD@HOST:PORT/DATABASE or postgres://…")]
pub(crate) struct NoSuchLocation;

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Log(#[from] im_store::log::OpenError),
    #[error(transparent)]
    Sqlite(#[from] im_store::sqlite::OpenError),
    #[error(transparent)]
    Sql(#[from] im_store::sql::OpenError),
}

impl FromStr for Location {
    type Err = NoSuchLocation;

    fn from_str(text: &str) -> Result<Self, NoSuchLocation> {
        match text.split_once(':') {
            Some(("log", dir)) if !dir.is_empty() => Ok(Self::Log(dir.into())),
            Some(("sqlite", file)) if !file.is_empty() => Ok(Self::Sqlite(file.into())),
            Some(("mysql" | "postgres", rest)) if rest.starts_with("//") => Ok(Self::Sql(text.to_owned())),
            _ => Err(NoSuchLocation),
        }
    }
}

/// Without a password.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(dir) => write!(f, "log:{}", dir.display()),
            Self::Sqlite(file) => write!(f, "sqlite:{}", file.display()),
            Self::Sql(url) => f.write_str(&without_password(url)),
        }
    }
}

/// A URL without its password, and without its parameters, which may have one too.
fn without_password(url: &str) -> String {
    let url = url.split('?').next().unwrap_or_default();
    let Some((before, host)) = url.rsplit_once('@') else { return url.to_owned() };
    let (scheme, user) = before.split_once("://").unwrap_or_default();
    let user = user.split(':').next().unwrap_or_default();
    format!("{scheme}://{user}@{host}")
}

/// With the password: for layers of settings.
impl From<Location> for String {
    fn from(location: Location) -> Self {
        match location {
            Location::Sql(url) => url,
            file => file.to_string(),
        }
    }
}

impl TryFrom<String> for Location {
    type Error = NoSuchLocation;

    fn try_from(text: String) -> Result<Self, NoSuchLocation> {
        text.parse()
    }
}

impl Location {
    /// Whether both name the same store, a file by whatever path.
    pub(super) fn is(&self, other: &Self) -> bool {
        let file = |path: &Path| path.metadata().ok().map(|file| (file.dev(), file.ino()));
        match (self, other) {
            (Self::Log(this) | Self::Sqlite(this), Self::Log(other) | Self::Sqlite(other)) => {
                file(this).is_some_and(|this| Some(this) == file(other))
            }
            _ => self == other,
        }
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
            // Only the database knows; opening it says what is wrong.
            Self::Sql(_) => true,
        }
    }

    /// Opens the store for a server, and makes it if there is none.
    pub(crate) async fn serve(&self) -> Result<Opened, OpenError> {
        match self {
            Self::Log(path) => Ok(Opened::Log(Arc::new(LogStore::open(path).await?))),
            Self::Sqlite(path) => Ok(Opened::Sqlite(Arc::new(SqliteStore::open(path).await?))),
            Self::Sql(url) => Ok(Opened::Sql(Arc::new(SqlStore::open(url).await?))),
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
            Self::Sql(url) => {
                let opened = SqlOptions::new(url).call_deadline(DEADLINE).open().await;
                Ok(Opened::Sql(Arc::new(opened.map_err(OpenError::from)?)))
            }
        }
    }

    /// Begins a copy into a store.
    pub(super) async fn import(&self) -> Result<Box<dyn Import>, OpenError> {
        match self {
            Self::Log(path) => Ok(Box::new(LogOptions::new(path).import().await?)),
            Self::Sqlite(path) => Ok(Box::new(SqliteOptions::new(path).import().await?)),
            Self::Sql(url) => Ok(Box::new(SqlOptions::new(url).import().await?)),
        }
    }
}

/// An open store.
pub(crate) enum Opened {
    Log(Arc<LogStore>),
    Sqlite(Arc<SqliteStore>),
    Sql(Arc<SqlStore>),
}

impl Opened {
    pub(super) fn store(&self) -> &dyn Exportable {
        match self {
            Self::Log(store) => &**store,
            Self::Sqlite(store) => &**store,
            Self::Sql(store) => &**store,
        }
    }

    /// The store, for a server.
    pub(crate) fn shared(&self) -> Arc<dyn Store> {
        match self {
            Self::Log(store) => store.clone(),
            Self::Sqlite(store) => store.clone(),
            Self::Sql(store) => store.clone(),
        }
    }

    pub(crate) async fn close(self) {
        match self {
            Self::Log(store) => store.close().await,
            Self::Sqlite(store) => store.close().await,
            Self::Sql(store) => store.close().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_shown_without_its_password_and_kept_with_it() {
        for (url, shown) in [
            ("mysql://im:p@ss:w/o@db:3306/im?ssl-mode=required", "mysql://im@db:3306/im"),
            ("postgres://im:secret@db/im", "postgres://im@db/im"),
            ("postgres://db/im?password=secret", "postgres://db/im"),
            ("log:im-data/store", "log:im-data/store"),
        ] {
            let location: Location = url.parse().expect("a location");
            assert_eq!(location.to_string(), shown);
            assert_eq!(String::from(location), url);
        }
    }

    #[test]
    fn what_is_no_location_is_told() {
        for text in ["", "log:", "sqlite:", "mysql:db", "redis://db", "im.db"] {
            assert!(text.parse::<Location>().is_err(), "{text:?}");
        }
    }
}
