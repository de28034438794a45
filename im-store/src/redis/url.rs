use redis::cluster::ClusterClient;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{Client, ConnectionAddr, RedisResult};
use tokio::sync::Mutex;

use super::error::RedisError;

/// How often a call of a Cluster is tried again, and after how many milliseconds. All of them together take less than a
/// call's usual deadline: else it would end with that, and nobody would be told what the Cluster said.
const RETRIES: u32 = 6;
const MIN_RETRY_WAIT: u64 = 10;
const MAX_RETRY_WAIT: u64 = 250;

/// Where connections come from.
pub(super) enum Source {
    Single(Client),
    /// Asks for the master each time. With the number of the database.
    Sentinel(Mutex<SentinelClient>, i64),
    /// The nodes one by one, too, for subscriptions.
    Cluster(ClusterClient, Vec<Client>),
}

/// What a URL says.
struct Parts<'a> {
    user: Option<&'a str>,
    hosts: Vec<&'a str>,
    path: Vec<&'a str>,
}

impl Source {
    /// The number of the database. A Cluster has one, with the number 0.
    pub(super) fn database(&self) -> i64 {
        match self {
            Self::Single(client) => client.get_connection_info().redis_settings().db(),
            Self::Sentinel(_, database) => *database,
            Self::Cluster(..) => 0,
        }
    }

    pub(super) fn of(url: &str) -> Result<Self, RedisError> {
        let made = match url.split_once("://") {
            Some(("redis", _)) => Client::open(url).ok().map(Self::Single),
            Some(("redis+sentinel", rest)) => Parts::of(rest).and_then(|parts| sentinel(&parts)),
            Some(("redis+cluster", rest)) => Parts::of(rest).and_then(|parts| cluster(&parts).ok()),
            _ => None,
        };
        made.ok_or_else(|| RedisError::Url(shown(url)))
    }
}

/// Without what may be a password.
fn shown(url: &str) -> String {
    let host = |rest: &str| rest.rsplit_once('@').map_or(rest, |(_, host)| host).to_owned();
    match url.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", host(rest)),
        None => host(url),
    }
}

impl<'a> Parts<'a> {
    fn of(rest: &'a str) -> Option<Self> {
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) =
            authority.rsplit_once('@').map_or((None, authority), |(user, hosts)| (Some(user), hosts));
        let hosts: Vec<_> = hosts.split(',').filter(|host| !host.is_empty()).collect();
        let path = path.split('/').filter(|part| !part.is_empty()).collect();
        (!hosts.is_empty()).then_some(Self { user, hosts, path })
    }

    fn url(&self, host: &str) -> String {
        let user = self.user.map(|user| format!("{user}@")).unwrap_or_default();
        format!("redis://{user}{host}")
    }
}

fn sentinel(parts: &Parts<'_>) -> Option<Source> {
    let hosts: Option<Vec<ConnectionAddr>> = parts.hosts.iter().map(|host| address(host)).collect();
    let mut builder =
        SentinelClientBuilder::new(hosts?, *parts.path.first()?, SentinelServerType::Master).ok()?;
    let database = parts.path.get(1).map_or(Some(0), |database| database.parse().ok())?;
    builder = builder.set_client_to_redis_db(database);
    if let Some((name, password)) = parts.user.map(|user| user.split_once(':').unwrap_or(("", user))) {
        if !name.is_empty() {
            builder = builder.set_client_to_redis_username(name);
        }
        builder = builder.set_client_to_redis_password(password);
    }
    Some(Source::Sentinel(Mutex::new(builder.build().ok()?), database))
}

fn cluster(parts: &Parts<'_>) -> RedisResult<Source> {
    let urls = parts.hosts.iter().map(|host| parts.url(host));
    let nodes = urls.clone().map(Client::open).collect::<RedisResult<_>>()?;
    let client = ClusterClient::builder(urls)
        .retries(RETRIES)
        .min_retry_wait(MIN_RETRY_WAIT)
        .max_retry_wait(MAX_RETRY_WAIT)
        .build()?;
    Ok(Source::Cluster(client, nodes))
}

fn address(host: &str) -> Option<ConnectionAddr> {
    let (name, port) = host.rsplit_once(':').unwrap_or((host, "26379"));
    Some(ConnectionAddr::Tcp(name.to_owned(), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_kinds_are_told_apart() {
        let kind = |url| match Source::of(url) {
            Ok(Source::Single(_)) => "single",
            Ok(Source::Sentinel(..)) => "sentinel",
            Ok(Source::Cluster(..)) => "cluster",
            Err(_) => "wrong",
        };
        assert_eq!(kind("redis://127.0.0.1:6379"), "single");
        assert_eq!(kind("redis://:secret@127.0.0.1/3"), "single");
        assert_eq!(kind("redis+sentinel://127.0.0.1:26379,127.0.0.2/im"), "sentinel");
        assert_eq!(kind("redis+sentinel://user:secret@127.0.0.1:26379/im/2"), "sentinel");
        assert_eq!(kind("redis+cluster://:secret@127.0.0.1:7000,127.0.0.1:7001"), "cluster");
        for url in ["", "127.0.0.1", "http://127.0.0.1", "redis+sentinel://127.0.0.1", "redis+cluster://"] {
            assert_eq!(kind(url), "wrong", "{url}");
        }
    }

    #[test]
    fn the_number_of_the_database_is_that_of_the_url() {
        for (url, database) in [
            ("redis://127.0.0.1", 0),
            ("redis://127.0.0.1/0", 0),
            ("redis://:secret@127.0.0.1/3", 3),
            ("redis+sentinel://127.0.0.1/im", 0),
            ("redis+sentinel://127.0.0.1/im/2", 2),
            ("redis+cluster://127.0.0.1", 0),
        ] {
            assert_eq!(Source::of(url).ok().map(|source| source.database()), Some(database), "{url}");
        }
        assert!(Source::of("redis+sentinel://127.0.0.1/im/two").is_err());
    }

    #[test]
    fn a_wrong_url_is_shown_without_its_password() {
        for (url, start) in
            [("radis://user:secret@host", "radis://host: "), ("user:secret@host:1", "host:1: ")]
        {
            let Err(error) = Source::of(url) else { panic!("{url} is none") };
            assert!(
                error.to_string().starts_with(&format!("{start}a Redis URL is like redis://HOST:PORT")),
                "{error}"
            );
        }
    }
}
