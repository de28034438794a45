use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use im_core::id::Uid;
use serde::Serialize;

use crate::settings::Kick;
use crate::store::{Location, Locations, StoreArgs};

/// An instant-messaging server in one process, with its data in one directory.
///
/// Prints `ready tcp=HOST:PORT` when it serves. SIGTERM or SIGINT sends clients away and ends it with exit code 0; a second one ends it
/// at once. Logs go to standard error.
///
/// A setting is taken from the command line, else from the environment, else from the configuration file (TOML, keys named like the
/// flags), else from its default.
#[derive(Debug, Parser)]
#[command(name = "im-standalone", version, args_conflicts_with_subcommands = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) flags: Flags,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Prints a token for each user, one a line, for the server's own authenticator; also while the server runs.
    Token(TokenArgs),
    /// Works on stores: copies, compares, counts and changes those on which no server is running, and moves buckets while servers run.
    ///
    /// A store is named by its kind and its place: log:DIR, sqlite:FILE, mysql://USER:PASSWORD@HOST:PORT/DATABASE, postgres://… or
    /// sharded:FILE. A command about one store takes the server's own if none is named: that of IM_STORE, of the configuration file, or
    /// in the data directory. Name no password on the command line, where others see it: env:NAME stands for what an environment variable
    /// says, file:FILE for the first line of a file.
    Store(StoreArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// How long the tokens are good for, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 2_592_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) ttl: u32,
    /// The users, 1 to 64 bytes each.
    #[arg(value_name = "USER", required = true, value_parser = |text: &str| Uid::new(text))]
    pub(crate) users: Vec<Uid>,
}

/// What the command line and the environment say; the keys are those of the configuration file.
#[derive(Debug, Default, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Flags {
    /// Configuration file.
    #[arg(long, env = "IM_CONFIG", value_name = "FILE", global = true)]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,

    /// Where everything is kept: the store and the secret that signs tokens [default: im-data].
    #[arg(long, env = "IM_DATA", value_name = "DIR", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<PathBuf>,

    /// Which store keeps the messages, and where: log:DIR, sqlite:FILE, mysql://USER:PASSWORD@HOST:PORT/DATABASE or postgres://…, or
    /// sharded:FILE, which names several databases; env:NAME or file:FILE for one that is written there, since others see a password on the command line [default: log:DATA/store, or sqlite:DATA/im.db if that is all there is].
    #[arg(long, env = "IM_STORE", value_name = "STORE", hide_env_values = true, value_parser = Locations)]
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<Location>,

    /// Where users are and how gates reach each other, for several servers over one database server: redis://HOST:PORT, redis+sentinel://HOST:PORT,…/SERVICE or
    /// redis+cluster://HOST:PORT,…; or env:NAME or file:FILE, where that is written [default: in this process].
    #[arg(long, env = "IM_ROUTES", value_name = "URL", hide_env_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    routes: Option<String>,

    /// What the names of everything in Redis begin with. Deployments that share a Redis and a number of its databases need different
    /// ones: letters, digits and -_.{} [default: im].
    #[arg(long, env = "IM_ROUTES_PREFIX", value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    routes_prefix: Option<String>,

    /// What this server is called among those that share its store: each needs a name of its own, and keeps it over restarts
    /// [default: standalone].
    #[arg(long, env = "IM_NODE", value_name = "ID")]
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,

    /// Where to listen for clients; port 0 takes a free one [default: 127.0.0.1:9000].
    #[arg(long, env = "IM_TCP", value_name = "HOST:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<String>,

    /// Which older logins of a user a new one removes: same-device-type, same-device, one-per-user, never, or the number that may
    /// remain [default: same-device-type].
    #[arg(long, env = "IM_KICK", value_name = "POLICY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    kick: Option<Kick>,

    /// Connections at one time [default: 100000].
    #[arg(long, env = "IM_MAX_CONNECTIONS", value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_connections: Option<usize>,

    /// Connections at one time from one address [default: 10000].
    #[arg(long, env = "IM_MAX_CONNECTIONS_PER_ADDRESS", value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_connections_per_address: Option<usize>,

    /// Seconds without a frame after which a client that announced no heartbeat is disconnected [default: 630].
    #[arg(long, env = "IM_IDLE_SECONDS", value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_seconds: Option<u32>,

    /// Seconds that a client gets to log in [default: 10].
    #[arg(long, env = "IM_AUTH_SECONDS", value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_seconds: Option<u32>,

    /// Seconds that clients get to leave when the server stops [default: 10].
    #[arg(long, env = "IM_DRAIN_SECONDS", value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    drain_seconds: Option<u32>,

    /// What to log, as RUST_LOG says it: info, im_transport=debug, … [default: info].
    #[arg(long, env = "RUST_LOG", value_name = "FILTER", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<String>,
}
