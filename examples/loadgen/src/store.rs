//! Which store a started server keeps, and how this program opens it when no server does.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use im_core::storage::Store;
use im_store::log::LogStore;
use im_store::sqlite::SqliteStore;

use crate::fault::Fault;

/// A store by its kind and its place in a data directory, as `im-standalone --store` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreSpec {
    kind: Kind,
    /// A file or directory in the data directory.
    place: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Log,
    Sqlite,
}

/// What `im-standalone` makes, or made once, when it is not told what to make.
const DEFAULTS: [(Kind, &str); 2] = [(Kind::Log, "store"), (Kind::Sqlite, "im.db")];

impl StoreSpec {
    /// The store that a server without `--store` has made in this directory.
    pub(crate) fn found_in(data: &Path) -> Result<Self, Fault> {
        let found = DEFAULTS.into_iter().find(|(_, place)| data.join(place).exists());
        let (kind, place) = found.ok_or_else(|| fault("the server made no store that this program knows"))?;
        Ok(StoreSpec { kind, place: place.to_owned() })
    }

    /// What `im-standalone` is told.
    pub(crate) fn argument(&self, data: &Path) -> String {
        let kind = match self.kind {
            Kind::Log => "log",
            Kind::Sqlite => "sqlite",
        };
        format!("{kind}:{}", data.join(&self.place).display())
    }

    /// Opens it. No server may have it open.
    pub(crate) async fn open(&self, data: &Path) -> Result<Arc<dyn Store>, Fault> {
        let place = data.join(&self.place);
        let refused = |error: &dyn std::error::Error| fault(&error.to_string());
        Ok(match self.kind {
            Kind::Log => Arc::new(LogStore::open(place).await.map_err(|error| refused(&error))?),
            Kind::Sqlite => Arc::new(SqliteStore::open(place).await.map_err(|error| refused(&error))?),
        })
    }
}

fn fault(why: &str) -> Fault {
    Fault::Environment(format!("the store cannot be opened: {why}"))
}

impl FromStr for StoreSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, place) = text.split_once(':').ok_or("it is log:DIR or sqlite:FILE")?;
        let kind = match kind {
            "log" => Kind::Log,
            "sqlite" => Kind::Sqlite,
            _ => return Err(format!("there is no store {kind:?}")),
        };
        let inside = !place.is_empty() && !place.starts_with('/') && !place.contains("..");
        if inside { Ok(StoreSpec { kind, place: place.to_owned() }) } else { Err(OUTSIDE.to_owned()) }
    }
}

const OUTSIDE: &str = "the place is a name in the server's fresh data directory";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_named_by_kind_and_place_in_the_data_directory() {
        let spec: StoreSpec = "sqlite:deep/im.db".parse().unwrap();
        assert_eq!(spec.argument(Path::new("/tmp/x")), "sqlite:/tmp/x/deep/im.db");
        let spec: StoreSpec = "log:store".parse().unwrap();
        assert_eq!(spec.argument(Path::new("/tmp/x")), "log:/tmp/x/store");
        for wrong in ["sqlite", "sqlite:", "sqlite:/etc/im.db", "sqlite:../im.db", "nonsense:im.db"] {
            assert!(wrong.parse::<StoreSpec>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_servers_own_choice_is_found() {
        let data = tempfile::tempdir().unwrap();
        assert!(StoreSpec::found_in(data.path()).is_err());
        std::fs::write(data.path().join("im.db"), "").unwrap();
        assert_eq!(StoreSpec::found_in(data.path()).unwrap(), "sqlite:im.db".parse().unwrap());
    }
}
