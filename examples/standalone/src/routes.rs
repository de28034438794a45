//! `--routes URL`: where users are, and how servers reach each other.

use std::error::Error;

use im_core::logic::Stranger;
use im_transport::ServerError;

use crate::settings::Settings;

#[cfg(feature = "redis")]
pub(crate) use in_redis::{check, join};
#[cfg(not(feature = "redis"))]
pub(crate) use nowhere::{check, join};

/// A setting's name, and what is wrong with it.
type Wrong = (&'static str, String);

/// The library's error does not know what it is about here.
#[derive(Debug, thiserror::Error)]
#[error("cannot use what --routes or IM_ROUTES names")]
pub(crate) struct RoutesError(#[source] Box<dyn Error>);

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

/// A failure at the start, in the words of the settings.
pub(crate) fn told(failure: ServerError, settings: &Settings) -> Box<dyn Error> {
    match failure {
        ServerError::Routes(failure) => RoutesError(failure.into()).into(),
        ServerError::Bus(failure) if settings.routes.is_some() => RoutesError(failure.into()).into(),
        ServerError::Company(Stranger::AtAnotherRouter { name }) => {
            CompanyError::AtAnotherRouter(name).into()
        }
        ServerError::Company(stranger) => CompanyError::OfAnotherStore(stranger).into(),
        failure => failure.into(),
    }
}

#[cfg(feature = "redis")]
mod in_redis {
    use std::sync::Arc;

    use im_store::redis::{RedisBus, RedisError, RedisOptions, RedisRoutes};
    use im_transport::ServerBuilder;

    use super::{RoutesError, Wrong};
    use crate::settings::Settings;

    /// Whether routes can be kept where the settings say.
    pub(crate) fn check(settings: &Settings) -> Result<(), Wrong> {
        let Some(options) = options(settings) else { return Ok(()) };
        options.check().map_err(|failure| match failure {
            RedisError::Prefix(_) => ("routes-prefix", failure.to_string()),
            _ => ("routes", failure.to_string()),
        })
    }

    fn options(settings: &Settings) -> Option<RedisOptions> {
        settings.routes.as_ref().map(|url| RedisOptions::new(url).prefix(&settings.routes_prefix))
    }

    /// Lets a server keep its routes where the settings say, if that is not in its process.
    pub(crate) async fn join(
        builder: ServerBuilder,
        settings: &Settings,
    ) -> Result<ServerBuilder, RoutesError> {
        let Some(options) = options(settings) else { return Ok(builder) };
        if settings.is_nameless() {
            tracing::warn!(
                node = settings.node(),
                "has the name of every server that is given none, of which only one can run: give each its --node"
            );
        }
        let redis = options.open().await.map_err(|failure| RoutesError(failure.into()))?;
        Ok(builder.routes(Arc::new(RedisRoutes::new(redis.clone()))).bus(Arc::new(RedisBus::new(redis))))
    }
}

#[cfg(not(feature = "redis"))]
mod nowhere {
    use im_transport::ServerBuilder;

    use super::{RoutesError, Wrong};
    use crate::built::NotBuilt;
    use crate::settings::Settings;

    /// No URL can be used.
    pub(crate) fn check(settings: &Settings) -> Result<(), Wrong> {
        match settings.routes {
            Some(_) => Err(("routes", NotBuilt("redis").to_string())),
            None => Ok(()),
        }
    }

    /// The settings name no routes: they would have been refused.
    pub(crate) async fn join(
        builder: ServerBuilder,
        _settings: &Settings,
    ) -> Result<ServerBuilder, RoutesError> {
        Ok(builder)
    }
}
