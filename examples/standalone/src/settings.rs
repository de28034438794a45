use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use figment::Figment;
use figment::providers::{Format as _, Serialized, Toml};
use im_core::router::KickPolicy;
use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::{ParseError, Targets};

use crate::cli::Flags;
use crate::store::Location;
use crate::{elsewhere, output, routes};

/// Bytes of a server's name: every store takes as many.
const MAX_NODE: usize = 64;

/// What a server is called that was given no name.
const NAMELESS: &str = "standalone";

/// What the server runs with.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) data: PathBuf,
    /// If one was named.
    pub(crate) store: Option<Location>,
    /// If routes are not kept in this process.
    pub(crate) routes: Option<String>,
    pub(crate) routes_prefix: String,
    /// If one was named.
    node: Option<String>,
    pub(crate) tcp: String,
    pub(crate) kick: Kick,
    pub(crate) max_connections: usize,
    pub(crate) max_connections_per_address: usize,
    idle_seconds: u32,
    auth_seconds: u32,
    drain_seconds: u32,
    pub(crate) log: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data: "im-data".into(),
            store: None,
            routes: None,
            routes_prefix: "im".to_owned(),
            node: None,
            tcp: "127.0.0.1:9000".to_owned(),
            kick: Kick(KickPolicy::SameDeviceType),
            max_connections: 100_000,
            max_connections_per_address: 10_000,
            idle_seconds: 630,
            auth_seconds: 10,
            drain_seconds: 10,
            log: "info".to_owned(),
        }
    }
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("cannot read the configuration file {}", .0.display())]
    Unreadable(PathBuf, #[source] std::io::Error),
    #[error("{key}: {what}{origin}")]
    Invalid { key: String, what: String, origin: String },
}

impl Settings {
    /// Flags and environment over the file over the defaults.
    pub(crate) fn load(flags: &Flags) -> Result<Self, SettingsError> {
        let mut layers = Figment::from(Serialized::defaults(Self::default()));
        if let Some(path) = &flags.config {
            layers = layers.merge(Toml::string(&read(path)?));
        }
        let settings: Self = layers
            .merge(Serialized::defaults(flags))
            .extract()
            .map_err(|wrong| invalid(wrong, flags.config.as_deref()))?;
        settings.check()
    }

    fn check(mut self) -> Result<Self, SettingsError> {
        if let Some(url) = &mut self.routes {
            let found =
                elsewhere::find(url).map_err(|failure| wrong("routes", output::with_causes(&failure)))?;
            let found = found.into_owned();
            *url = found;
        }
        routes::check(&self).map_err(|(setting, why)| wrong(setting, why))?;
        let port = self.tcp.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
        if !matches!(port, Some((host, Ok(_))) if !host.is_empty()) {
            return Err(wrong("tcp", format!("{:?} is not HOST:PORT", self.tcp)));
        }
        if self.node().is_empty() || self.node().len() > MAX_NODE {
            return Err(wrong("node", format!("a name has 1 to {MAX_NODE} bytes")));
        }
        for (key, is_zero) in [
            ("idle-seconds", self.idle_seconds == 0),
            ("auth-seconds", self.auth_seconds == 0),
            ("max-connections", self.max_connections == 0),
            ("max-connections-per-address", self.max_connections_per_address == 0),
        ] {
            if is_zero {
                return Err(wrong(key, "must be at least 1".to_owned()));
            }
        }
        self.log_filter()?;
        Ok(self)
    }

    /// What to log.
    pub(crate) fn log_filter(&self) -> Result<Targets, SettingsError> {
        self.log.parse().map_err(|failure: ParseError| wrong("log", failure.to_string()))
    }

    /// The store that was named, or the one in the data directory.
    pub(crate) fn location(&self) -> Location {
        self.store.clone().unwrap_or_else(|| Location::found_in(&self.data))
    }

    /// A store for the routes: several servers have to be able to open it.
    ///
    /// # Errors
    /// Routes that servers share, over a store that one process keeps for itself.
    pub(crate) fn check_store(&self, store: &Location) -> Result<(), SettingsError> {
        if self.routes.is_none() || !store.is_private() {
            return Ok(());
        }
        let what = format!(
            "only one process opens {store}, and routes in Redis are for several servers, which would each have messages that the others lack: \
             name a database server that they share with --store mysql://… or postgres://…, or leave the routes out"
        );
        Err(wrong("routes", what))
    }

    /// What this server is called among those that share its store.
    pub(crate) fn node(&self) -> &str {
        self.node.as_deref().unwrap_or(NAMELESS)
    }

    /// Whether the name is that of every server which was given none.
    #[cfg(feature = "redis")]
    pub(crate) fn is_nameless(&self) -> bool {
        self.node.is_none()
    }

    pub(crate) fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_seconds.into())
    }

    pub(crate) fn auth(&self) -> Duration {
        Duration::from_secs(self.auth_seconds.into())
    }

    pub(crate) fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds.into())
    }
}

fn read(path: &Path) -> Result<String, SettingsError> {
    std::fs::read_to_string(path).map_err(|failure| SettingsError::Unreadable(path.to_owned(), failure))
}

fn wrong(key: &str, what: String) -> SettingsError {
    SettingsError::Invalid { key: key.to_owned(), what, origin: String::new() }
}

/// The first thing that is wrong, with the key that it is about.
fn invalid(wrong: figment::Error, file: Option<&Path>) -> SettingsError {
    let in_file = wrong.metadata.as_ref().is_some_and(|origin| origin.name.contains("TOML"));
    let origin = file.filter(|_| in_file).map_or(String::new(), |path| format!(" (in {})", path.display()));
    let key = match (&wrong.kind, wrong.path.is_empty()) {
        (figment::error::Kind::UnknownField(name, _), _) => name.clone(),
        (_, false) => wrong.path.join("."),
        _ => "configuration".to_owned(),
    };
    SettingsError::Invalid { key, what: wrong.kind.to_string(), origin }
}

/// A [`KickPolicy`] as words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Kick(pub(crate) KickPolicy);

/// What no policy is called.
#[derive(Debug, thiserror::Error)]
#[error("expected same-device-type, same-device, one-per-user, never, or how many logins may remain")]
pub(crate) struct NoSuchPolicy;

impl FromStr for Kick {
    type Err = NoSuchPolicy;

    fn from_str(text: &str) -> Result<Self, NoSuchPolicy> {
        Ok(Self(match text {
            "same-device-type" => KickPolicy::SameDeviceType,
            "same-device" => KickPolicy::SameDevice,
            "one-per-user" => KickPolicy::OnePerUser,
            "never" => KickPolicy::Never,
            number => match number.parse() {
                Ok(remain) if remain > 0 => KickPolicy::AtMost(remain),
                _ => return Err(NoSuchPolicy),
            },
        }))
    }
}

impl fmt::Display for Kick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            KickPolicy::SameDeviceType => "same-device-type",
            KickPolicy::SameDevice => "same-device",
            KickPolicy::OnePerUser => "one-per-user",
            KickPolicy::Never => "never",
            KickPolicy::AtMost(remain) => return remain.fmt(f),
        })
    }
}

impl From<Kick> for String {
    fn from(kick: Kick) -> Self {
        kick.to_string()
    }
}

impl TryFrom<String> for Kick {
    type Error = NoSuchPolicy;

    fn try_from(text: String) -> Result<Self, NoSuchPolicy> {
        text.parse()
    }
}
