//! Opens databases of servers, of the kinds that are built in.

use std::sync::Arc;
use std::time::Duration;

use im_core::storage::Import;
use im_store::sql::{SqlOptions, SqlStore};

use super::location::{Location, OpenError, Single};

/// Opens the database for a server. `name` is what it is called in errors.
pub(super) async fn serve(name: &Location, url: &str) -> Result<Single, OpenError> {
    match SqlStore::open(url).await {
        Err(im_store::sql::OpenError::OneOfSeveral(place)) => {
            Err(OpenError::OneOfSeveral(name.clone(), place))
        }
        opened => single(name, opened),
    }
}

/// Opens the database as one of several.
pub(super) async fn serve_member(name: &Location, url: &str) -> Result<Single, OpenError> {
    single(name, SqlOptions::new(url).one_of_several().open().await)
}

/// Opens the database to read all of it; it may be one of several, or a replica.
pub(super) async fn open(name: &Location, url: &str, deadline: Duration) -> Result<Single, OpenError> {
    let options = SqlOptions::new(url).call_deadline(deadline).one_of_several();
    let opened = match options.clone().open_replica().await {
        // Tables of an older version are migrated first, which a replica does not allow.
        Err(im_store::sql::OpenError::Older(_)) => options.open().await,
        opened => opened,
    };
    single(name, opened)
}

/// Begins a copy into the database.
pub(super) async fn import(name: &Location, url: &str) -> Result<Box<dyn Import>, OpenError> {
    let begun = SqlOptions::new(url).import().await;
    Ok(Box::new(begun.map_err(|error| OpenError::Sql(name.clone(), error))?))
}

/// The error of a database does not say which it is.
fn single(name: &Location, opened: Result<SqlStore, im_store::sql::OpenError>) -> Result<Single, OpenError> {
    let store = opened.map_err(|error| OpenError::Sql(name.clone(), error))?;
    Ok(Single::Sql(Arc::new(store)))
}
