use std::sync::atomic::{AtomicU64, Ordering};

/// The same server's URL with another path.
pub(crate) fn with_path(url: &str, path: &str) -> String {
    let (server, query) =
        url.split_once('?').map_or((url, String::new()), |(server, query)| (server, format!("?{query}")));
    let authority = server.find("://").map_or(0, |at| at + 3);
    let end = server[authority..].find('/').map_or(server.len(), |at| authority + at);
    format!("{}/{path}{query}", &server[..end])
}

/// The path of a URL: the name of its database.
pub(crate) fn path(url: &str) -> &str {
    let url = url.split_once('?').map_or(url, |(url, _)| url);
    url.rsplit_once('/').map_or("", |(_, path)| path)
}

/// A database's name that nobody else uses, also where several processes test on one server.
pub(crate) fn fresh(name: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    assert!(
        !name.is_empty() && name.len() <= 30 && name.chars().all(is_plain),
        "a database's name is like a_name_2: {name}"
    );
    format!("im_test_{}_{}_{name}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The server that a variable names. An empty variable names none.
pub(crate) fn named(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|url| !url.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_replaced_and_the_rest_stays() {
        for url in ["mysql://u:p@h:1", "mysql://u:p@h:1/", "mysql://u:p@h:1/old"] {
            assert_eq!(with_path(url, "new"), "mysql://u:p@h:1/new");
        }
        assert_eq!(with_path("postgres://h/old?sslmode=disable", "new"), "postgres://h/new?sslmode=disable");
        assert_eq!((path("mysql://u:p@h:1/old"), path("postgres://h/old?a=b")), ("old", "old"));
    }
}
