use std::ffi::OsStr;
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::builder::TypedValueParser;
use im_core::storage::{Exportable, Import, Shard, Store};
use im_store::log::{LogOptions, LogStore};
#[cfg(any(feature = "mysql", feature = "postgres"))]
use im_store::sql::SqlStore;
use im_store::sqlite::{SqliteOptions, SqliteStore};
use serde::{Deserialize, Serialize};

use crate::built::{self, NotBuilt};
use crate::elsewhere::{self, ElsewhereError};
use crate::output;

use super::failure::Failure;
use super::sharded::{self, DatabasesError, Sharded};
use super::sql;

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
    /// A file that names several databases.
    Sharded(PathBuf),
}

/// What no store is called. Never says what that is: it may have a password in it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoSuchLocation {
    #[error(
        "expected log:DIR, sqlite:FILE, mysql://USER:PASSWORD@HOST:PORT/DATABASE, postgres://… or sharded:FILE, or where that is written: env:NAME or file:FILE"
    )]
    Unknown,
    #[error(transparent)]
    Elsewhere(#[from] ElsewhereError),
    #[error(transparent)]
    NotBuilt(#[from] NotBuilt),
}

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Log(#[from] im_store::log::OpenError),
    #[error(transparent)]
    Sqlite(#[from] im_store::sqlite::OpenError),
    #[cfg(any(feature = "mysql", feature = "postgres"))]
    #[error("cannot open {0}")]
    Sql(Location, #[source] im_store::sql::OpenError),
    #[cfg(not(any(feature = "mysql", feature = "postgres")))]
    #[error("cannot open {0}")]
    NotBuilt(Location, #[source] NotBuilt),
    #[error(transparent)]
    Databases(#[from] DatabasesError),
    #[error(transparent)]
    Sharded(#[from] im_store::layer::sharding::OpenError),
    #[error(
        "{0} is one of several databases that keep one store together, the one with place {1}, counted from 0: name all of them in a file, in the order in which \
         they were first opened, and give that, as sharded:FILE"
    )]
    OneOfSeveral(Location, u16),
    #[error("{0} is several databases already")]
    Nested(Location),
}

impl FromStr for Location {
    type Err = NoSuchLocation;

    fn from_str(text: &str) -> Result<Self, NoSuchLocation> {
        let found = elsewhere::find(text)?;
        match found.split_once(':') {
            Some(("log", dir)) if !dir.is_empty() => Ok(Self::Log(dir.into())),
            Some(("sharded", file)) if !file.is_empty() => Ok(Self::Sharded(file.into())),
            Some(("sqlite", file)) if !file.is_empty() => Ok(Self::Sqlite(file.into())),
            Some((scheme @ ("mysql" | "mariadb" | "postgres" | "postgresql"), rest))
                if rest.starts_with("//") =>
            {
                built::database(scheme)?;
                Ok(Self::Sql(found.into_owned()))
            }
            _ => Err(NoSuchLocation::Unknown),
        }
    }
}

/// Reads a location of the command line or the environment; what is none is not shown, because it may have a password.
#[derive(Clone)]
pub(crate) struct Locations;

impl TypedValueParser for Locations {
    type Value = Location;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Location, clap::Error> {
        value.to_str().ok_or(NoSuchLocation::Unknown).and_then(str::parse).map_err(|wrong| {
            let argument = argument.map(ToString::to_string).unwrap_or_default();
            let kind = clap::error::ErrorKind::ValueValidation;
            let wrong = output::with_causes(&wrong);
            clap::Error::raw(kind, format!("invalid value for '{argument}': {wrong}\n")).with_cmd(command)
        })
    }
}

/// Without a password.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(dir) => write!(f, "log:{}", dir.display()),
            Self::Sqlite(file) => write!(f, "sqlite:{}", file.display()),
            Self::Sql(url) => f.write_str(&without_password(url)),
            Self::Sharded(file) => write!(f, "sharded:{}", file.display()),
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
                this == other || file(this).is_some_and(|this| Some(this) == file(other))
            }
            (Self::Sql(this), Self::Sql(other)) => place(this) == place(other),
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

    /// Whether one process opens the store for itself, so that servers cannot share it. A file that cannot be read is told when it is opened.
    pub(crate) fn is_private(&self) -> bool {
        match self {
            Self::Log(_) | Self::Sqlite(_) => true,
            Self::Sql(_) => false,
            Self::Sharded(file) => sharded::read(file).is_ok_and(|names| names.iter().any(Self::is_private)),
        }
    }

    pub(super) fn is_there(&self) -> bool {
        match self {
            Self::Log(path) => path.join("log").is_dir(),
            Self::Sqlite(path) | Self::Sharded(path) => path.is_file(),
            // Only the database knows; opening it says what is wrong.
            Self::Sql(_) => true,
        }
    }

    /// Opens the store for a server, and makes it if there is none.
    pub(crate) async fn serve(&self) -> Result<Opened, OpenError> {
        match self {
            Self::Sharded(file) => Ok(Opened::Sharded(Sharded::open(file).await?)),
            single => Ok(Opened::Single(single.serve_single().await?)),
        }
    }

    /// As `serve`, for a store that is all in one database.
    async fn serve_single(&self) -> Result<Single, OpenError> {
        match self {
            Self::Log(path) => Ok(Single::Log(Arc::new(LogStore::open(path).await?))),
            Self::Sqlite(path) => match SqliteStore::open(path).await {
                Err(im_store::sqlite::OpenError::OneOfSeveral { place, .. }) => {
                    Err(OpenError::OneOfSeveral(self.clone(), place))
                }
                opened => Ok(Single::Sqlite(Arc::new(opened?))),
            },
            Self::Sql(url) => sql::serve(self, url).await,
            Self::Sharded(_) => Err(OpenError::Nested(self.clone())),
        }
    }

    /// As `serve`, for one database of several.
    pub(super) async fn serve_member(&self) -> Result<Single, OpenError> {
        match self {
            Self::Sqlite(path) => {
                Ok(Single::Sqlite(Arc::new(SqliteOptions::new(path).one_of_several().open().await?)))
            }
            Self::Sql(url) => sql::serve_member(self, url).await,
            other => other.serve_single().await,
        }
    }

    /// Opens a store that is there, to read all of it; also one of several databases.
    pub(super) async fn open(&self) -> Result<Single, Failure> {
        if !self.is_there() {
            return Err(Failure::Missing(self.clone()));
        }
        match self {
            Self::Log(path) => {
                let opened = LogOptions::new(path).call_deadline(DEADLINE).open().await;
                Ok(Single::Log(Arc::new(opened.map_err(OpenError::from)?)))
            }
            Self::Sqlite(path) => {
                let opened = SqliteOptions::new(path).call_deadline(DEADLINE).one_of_several().open().await;
                Ok(Single::Sqlite(Arc::new(opened.map_err(OpenError::from)?)))
            }
            Self::Sql(url) => Ok(sql::open(self, url, DEADLINE).await?),
            Self::Sharded(_) => Err(Failure::Several(self.clone())),
        }
    }

    /// Begins a copy into a store.
    pub(super) async fn import(&self) -> Result<Box<dyn Import>, Failure> {
        let opening = async {
            Ok::<Box<dyn Import>, OpenError>(match self {
                Self::Log(path) => Box::new(LogOptions::new(path).import().await?),
                Self::Sqlite(path) => Box::new(SqliteOptions::new(path).import().await?),
                Self::Sql(url) => sql::import(self, url).await?,
                Self::Sharded(_) => return Err(OpenError::Nested(self.clone())),
            })
        };
        match self {
            Self::Sharded(_) => Err(Failure::Several(self.clone())),
            _ => Ok(opening.await?),
        }
    }
}

/// Where a database is, whoever opens it.
fn place(url: &str) -> (&str, &str) {
    let url = url.split('?').next().unwrap_or_default();
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let scheme = match scheme {
        "mariadb" => "mysql",
        "postgresql" => "postgres",
        scheme => scheme,
    };
    (scheme, rest.rsplit_once('@').map_or(rest, |(_, place)| place))
}

/// An open store that is one database.
pub(crate) enum Single {
    Log(Arc<LogStore>),
    Sqlite(Arc<SqliteStore>),
    #[cfg(any(feature = "mysql", feature = "postgres"))]
    Sql(Arc<SqlStore>),
}

impl Single {
    pub(super) fn store(&self) -> &dyn Exportable {
        match self {
            Self::Log(store) => &**store,
            Self::Sqlite(store) => &**store,
            #[cfg(any(feature = "mysql", feature = "postgres"))]
            Self::Sql(store) => &**store,
        }
    }

    fn shared(&self) -> Arc<dyn Store> {
        match self {
            Self::Log(store) => store.clone(),
            Self::Sqlite(store) => store.clone(),
            #[cfg(any(feature = "mysql", feature = "postgres"))]
            Self::Sql(store) => store.clone(),
        }
    }

    /// The store as one of several databases, if its kind can be one.
    pub(super) fn shard(&self) -> Option<Arc<dyn Shard>> {
        match self {
            Self::Log(_) => None,
            Self::Sqlite(store) => Some(store.clone()),
            #[cfg(any(feature = "mysql", feature = "postgres"))]
            Self::Sql(store) => Some(store.clone()),
        }
    }

    pub(crate) async fn close(self) {
        match self {
            Self::Log(store) => store.close().await,
            Self::Sqlite(store) => store.close().await,
            #[cfg(any(feature = "mysql", feature = "postgres"))]
            Self::Sql(store) => store.close().await,
        }
    }
}

/// An open store.
pub(crate) enum Opened {
    Single(Single),
    Sharded(Sharded),
}

impl Opened {
    /// The store, for a server.
    pub(crate) fn shared(&self) -> Arc<dyn Store> {
        match self {
            Self::Single(store) => store.shared(),
            Self::Sharded(store) => store.shared(),
        }
    }

    /// Begins what a store needs to be done beside serving, until it is closed.
    pub(crate) fn look_after(&mut self) {
        if let Self::Sharded(store) = self {
            store.sweep();
        }
    }

    pub(crate) async fn close(self) {
        match self {
            Self::Single(store) => store.close().await,
            Self::Sharded(store) => store.close().await,
        }
    }
}

#[cfg(all(test, feature = "mysql", feature = "postgres"))]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_shown_without_its_password_and_kept_with_it() {
        for (url, shown) in [
            ("mysql://im:p@ss:w/o@db:3306/im?ssl-mode=required", "mysql://im@db:3306/im"),
            ("postgres://im:secret@db/im", "postgres://im@db/im"),
            ("postgres://db/im?password=secret", "postgres://db/im"),
            ("log:im-data/store", "log:im-data/store"),
            ("sharded:im.toml", "sharded:im.toml"),
        ] {
            let location: Location = url.parse().expect("a location");
            assert_eq!(location.to_string(), shown);
            assert_eq!(String::from(location), url);
        }
    }

    #[test]
    fn what_is_no_location_is_told() {
        for text in ["", "log:", "sqlite:", "sharded:", "mysql:db", "redis://db", "im.db"] {
            assert!(text.parse::<Location>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_database_is_the_same_whoever_opens_it() {
        let location = |text: &str| text.parse::<Location>().expect("a location");
        let one = location("mysql://im:secret@db/im");
        assert!(one.is(&location("mysql://root@db/im?ssl-mode=required")));
        assert!(one.is(&location("mariadb://im@db/im")));
        assert!(location("postgres://db/im").is(&location("postgresql://im@db/im")));
        assert!(!one.is(&location("mysql://im:secret@db/other")) && !one.is(&location("postgres://db/im")));
    }
}
