//! `--routes URL`: where users are, and how servers reach each other.

#[cfg(feature = "redis")]
pub(crate) use in_redis::{check, join};
#[cfg(not(feature = "redis"))]
pub(crate) use nowhere::{check, join};

/// A setting's name, and what is wrong with it.
type Wrong = (&'static str, String);

#[cfg(feature = "redis")]
mod in_redis {
    use std::sync::Arc;

    use im_store::redis::{RedisBus, RedisError, RedisOptions, RedisRoutes};
    use im_transport::ServerBuilder;

    use super::Wrong;
    use crate::settings::Settings;
    use crate::start_error::RoutesError;

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

    use super::Wrong;
    use crate::built::NotBuilt;
    use crate::settings::Settings;
    use crate::start_error::RoutesError;

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
