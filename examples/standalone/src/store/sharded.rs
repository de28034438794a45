//! `sharded:FILE`: one store over the databases that a file names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use figment::Figment;
use figment::error::Kind;
use figment::providers::{Format as _, Toml};
use im_core::storage::Store;
use im_store::layer::sharding::{ShardedStore, SweepLimits, Sweeper};
use im_transport::clock::SystemClock;
use serde::Deserialize;
use tokio::task::JoinHandle;

use super::location::{Location, NoSuchLocation, OpenError, Single};
use crate::output;

/// What the file says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    databases: Vec<String>,
}

/// Why a file does not name databases. Never says what a name is: it may have a password in it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DatabasesError {
    #[error("cannot read {}", .0.display())]
    Unreadable(PathBuf, #[source] std::io::Error),
    #[error("{key}: {what} (in {})", path.display())]
    Invalid { path: PathBuf, key: String, what: String },
}

/// An open store over several databases.
pub(crate) struct Sharded {
    store: Arc<ShardedStore>,
    names: Vec<Location>,
    databases: Vec<Single>,
    sweeper: Option<JoinHandle<()>>,
}

impl Sharded {
    /// Opens every database that the file names. The first time the owners are shared among them evenly.
    pub(super) async fn open(file: &Path) -> Result<Self, OpenError> {
        let names = read(file)?;
        let mut databases = Vec::new();
        let mut shards = Vec::new();
        for location in &names {
            tracing::info!(database = %location, "opens");
            let database = location.serve_member().await?;
            shards.extend(database.shard());
            databases.push(database);
        }
        let store = Arc::new(ShardedStore::open(shards, Arc::new(SystemClock::new())).await?);
        Ok(Self { store, names, databases, sweeper: None })
    }

    pub(super) fn store(&self) -> &Arc<ShardedStore> {
        &self.store
    }

    /// The databases, in the order of the file.
    pub(super) fn names(&self) -> &[Location] {
        &self.names
    }

    pub(super) fn shared(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    /// Begins to deliver what a crash left between two databases.
    pub(super) fn sweep(&mut self) {
        let sweeper = Sweeper::new(self.store.clone(), SweepLimits::default());
        self.sweeper = Some(tokio::spawn(sweeper.run(Arc::new(SystemClock::new()))));
    }

    pub(super) async fn close(self) {
        if let Some(sweeper) = self.sweeper {
            // It leaves each message delivered or not, wherever it stops.
            sweeper.abort();
            let _ = sweeper.await;
        }
        for database in self.databases {
            database.close().await;
        }
    }
}

/// The databases that a file names, in its order: at least one, each once.
pub(super) fn read(path: &Path) -> Result<Vec<Location>, DatabasesError> {
    let text = std::fs::read_to_string(path)
        .map_err(|failure| DatabasesError::Unreadable(path.to_owned(), failure))?;
    parse(&text).map_err(|(key, what)| DatabasesError::Invalid { path: path.to_owned(), key, what })
}

/// The databases, or which key is wrong and why.
fn parse(text: &str) -> Result<Vec<Location>, (String, String)> {
    let file: File = Figment::from(Toml::string(text)).extract().map_err(|wrong| named(&wrong))?;
    let key = |place: usize| format!("databases.{place}");
    let mut found: Vec<Location> = Vec::new();
    for (place, name) in file.databases.iter().enumerate() {
        let location: Location = name.parse().map_err(|wrong| {
            let what = match wrong {
                NoSuchLocation::Unknown => {
                    "expected mysql://USER:PASSWORD@HOST:PORT/DATABASE, postgres://… or sqlite:FILE, or env:NAME or file:FILE".to_owned()
                }
                wrong => output::with_causes(&wrong),
            };
            (key(place), what)
        })?;
        if !matches!(location, Location::Sql(_) | Location::Sqlite(_)) {
            return Err((key(place), format!("{location} cannot be one of several databases")));
        }
        if let Some(twin) = found.iter().position(|other| other.is(&location)) {
            return Err((key(place), format!("is the same database as {}", key(twin))));
        }
        found.push(location);
    }
    match found.is_empty() {
        true => Err(("databases".to_owned(), "expected at least one".to_owned())),
        false => Ok(found),
    }
}

/// The key that is wrong, and why, without what stands there.
fn named(wrong: &figment::Error) -> (String, String) {
    let key = wrong.path.join(".");
    match &wrong.kind {
        Kind::UnknownField(name, _) => (name.clone(), "unknown key, expected databases".to_owned()),
        Kind::MissingField(name) => (name.to_string(), "missing".to_owned()),
        Kind::InvalidType(_, expected) => (key, format!("expected {expected}")),
        // A parser shows the line, which has the password.
        Kind::Message(words) => ("file".to_owned(), words.lines().next().unwrap_or_default().to_owned()),
        _ => (key, "cannot be used".to_owned()),
    }
}

#[cfg(all(test, feature = "mysql", feature = "postgres"))]
mod tests {
    use super::*;

    #[test]
    fn databases_come_in_the_order_of_the_file() {
        let text = "databases = [\"mysql://im:a@one/im\", \"postgres://two/im\", \"sqlite:three.db\"]";
        let names = parse(text).map(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>());
        let expected = ["mysql://im@one/im", "postgres://two/im", "sqlite:three.db"].map(str::to_owned);
        assert_eq!(names, Ok(expected.to_vec()));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_key_and_shows_no_password() {
        for (text, key, what) in [
            ("", "databases", "missing"),
            ("databases = []", "databases", "at least one"),
            ("database = []", "database", "unknown key"),
            ("databases = \"mysql://im:opensesame@one/im\"", "databases", "expected a sequence"),
            ("databases = [7]", "databases.0", "expected a string"),
            ("databases = [\"sqlite:a\", \"redis://im:opensesame@one\"]", "databases.1", "expected mysql:"),
            ("databases = [\"log:a\"]", "databases.0", "log:a cannot be one of several"),
            ("databases = [\"sharded:a\"]", "databases.0", "sharded:a cannot be one of several"),
            (
                "databases = [\"mysql://im:opensesame@one/im\", \"sqlite:a\", \"mysql://root@one/im\"]",
                "databases.2",
                "is the same database as databases.0",
            ),
            ("databases = [\"mysql://im:opensesame@one/im\" \"\"]", "file", "TOML"),
        ] {
            let (found, words) = parse(text).expect_err(text);
            assert_eq!(found, key, "{text}: {words}");
            assert!(words.contains(what) && !words.contains("opensesame"), "{text}: {words}");
        }
    }
}
