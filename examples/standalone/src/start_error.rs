//! Why a server does not start, in the words of its settings.

use std::error::Error;

use im_core::logic::Stranger;
use im_core::storage::StoreError;
use im_transport::ServerError;

use crate::settings::Settings;
use crate::store::Location;

/// The library's error does not know what it is about here.
#[derive(Debug, thiserror::Error)]
#[error("cannot use what --routes or IM_ROUTES names")]
pub(crate) struct RoutesError(#[source] pub(crate) Box<dyn Error>);

/// The library's error knows neither which store it is nor what can be done.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0} does not take the server's first write: its user has to be allowed to read and write rows, it must be neither a replica \
     nor read-only, and its disk needs room"
)]
struct WriteRefused(Location, #[source] StoreError);

/// The library's error does not know how routes are named here.
#[derive(Debug, thiserror::Error)]
enum CompanyError {
    #[error(
        "servers of another store use what --routes or IM_ROUTES names: give each deployment a Redis of its own, another number of its \
         databases, or a name of its own with --routes-prefix or IM_ROUTES_PREFIX; and let all servers of one share their --store"
    )]
    OfAnotherStore(#[source] Stranger),
    #[error(
        "the server {0:?} serves the same store, and users on the two would not hear each other: stop it, or give both the same \
         --routes and --routes-prefix"
    )]
    AtAnotherRouter(String),
}

/// The failure to say.
pub(crate) fn told(failure: ServerError, settings: &Settings, location: &Location) -> Box<dyn Error> {
    match failure {
        // The number of the node is the first thing that a server writes.
        ServerError::Store(failure) if failure.operation() == "lease_node" && failure.is_retryable() => {
            WriteRefused(location.clone(), failure).into()
        }
        ServerError::Routes(failure) => RoutesError(failure.into()).into(),
        ServerError::Bus(failure) if settings.routes.is_some() => RoutesError(failure.into()).into(),
        ServerError::Company(Stranger::AtAnotherRouter { name }) => {
            CompanyError::AtAnotherRouter(name).into()
        }
        ServerError::Company(stranger) => CompanyError::OfAnotherStore(stranger).into(),
        failure => failure.into(),
    }
}
