//! `--routes URL`: where users are, and how servers reach each other.

#[cfg(feature = "redis")]
pub(crate) use in_redis::{check, join};
#[cfg(not(feature = "redis"))]
pub(crate) use nowhere::{check, join};

#[cfg(feature = "redis")]
mod in_redis {
    use std::sync::Arc;

    use im_store::redis::{RedisBus, RedisError, RedisOptions, RedisRoutes};
    use im_transport::ServerBuilder;

    use crate::settings::Settings;

    /// The library's error does not know what it is about here.
    #[derive(Debug, thiserror::Error)]
    #[error("cannot use what --routes or IM_ROUTES names")]
    pub(crate) struct RoutesError(#[source] RedisError);

    /// Whether this can be the URL of a Redis; if not, why.
    pub(crate) fn check(url: &str) -> Result<(), String> {
        RedisOptions::new(url).check().map_err(|wrong| wrong.to_string())
    }

    /// Lets a server keep its routes where the settings say, if that is not in its process.
    pub(crate) async fn join(
        builder: ServerBuilder,
        settings: &Settings,
    ) -> Result<ServerBuilder, RoutesError> {
        let Some(url) = &settings.routes else { return Ok(builder) };
        if settings.is_nameless() {
            tracing::warn!(
                node = settings.node(),
                "has the name of every server that is given none, of which only one can run: give each its --node"
            );
        }
        let redis = RedisOptions::new(url).open().await.map_err(RoutesError)?;
        Ok(builder.routes(Arc::new(RedisRoutes::new(redis.clone()))).bus(Arc::new(RedisBus::new(redis))))
    }
}

#[cfg(not(feature = "redis"))]
mod nowhere {
    use im_transport::ServerBuilder;

    use crate::built::NotBuilt;
    use crate::settings::Settings;

    /// No URL can be used.
    pub(crate) fn check(_url: &str) -> Result<(), String> {
        Err(NotBuilt("redis").to_string())
    }

    /// The settings name no routes: they would have been refused.

    pub(crate) async fn join(
        builder: ServerBuilder,
        _settings: &Settings,
    ) -> Result<ServerBuilder, NotBuilt> {
        Ok(builder)
    }
}
