//! Values that have a password in them and are kept elsewhere than on the command line, where others on the machine see it: `env:NAME` is what an
//! environment variable holds, `file:PATH` the first line of a file. OpenSSL's commands take passwords by the same words.

use std::borrow::Cow;
use std::io::{BufRead as _, BufReader, Read as _};

/// A URL is not longer.
const MOST: u64 = 65_536;

/// Why a value could not be had from where it is. Never says what is there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ElsewhereError {
    #[error("the environment variable {0} is not set")]
    NotSet(String),
    #[error("the environment variable {0} is not text")]
    NotText(String),
    #[error("cannot read the file {0}")]
    Unreadable(String, #[source] std::io::Error),
    #[error("the file {0} has nothing in its first line")]
    Empty(String),
}

/// The value itself, if it is here, else what it is elsewhere.
pub(crate) fn find(text: &str) -> Result<Cow<'_, str>, ElsewhereError> {
    match text.split_once(':') {
        Some(("env", name)) => variable(name).map(Cow::Owned),
        Some(("file", path)) => first_line(path).map(Cow::Owned),
        _ => Ok(Cow::Borrowed(text)),
    }
}

fn variable(name: &str) -> Result<String, ElsewhereError> {
    std::env::var(name).map_err(|wrong| match wrong {
        std::env::VarError::NotPresent => ElsewhereError::NotSet(name.to_owned()),
        std::env::VarError::NotUnicode(_) => ElsewhereError::NotText(name.to_owned()),
    })
}

fn first_line(path: &str) -> Result<String, ElsewhereError> {
    let unreadable = |failure| ElsewhereError::Unreadable(path.to_owned(), failure);
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut line = String::new();
    BufReader::new(file.take(MOST)).read_line(&mut line).map_err(unreadable)?;
    match line.trim() {
        "" => Err(ElsewhereError::Empty(path.to_owned())),
        line => Ok(line.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_here_is_left_and_what_is_elsewhere_is_found() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("url").display().to_string();
        std::fs::write(&path, " mysql://im:secret@db/im \nmore\n").expect("a file");
        assert_eq!(find("sqlite:im.db").expect("itself"), "sqlite:im.db");
        assert_eq!(find(&format!("file:{path}")).expect("a line"), "mysql://im:secret@db/im");
        let folder = find("env:CARGO_MANIFEST_DIR").expect("a variable of all tests");
        assert_eq!(folder, env!("CARGO_MANIFEST_DIR"));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let empty = dir.path().join("empty").display().to_string();
        std::fs::write(&empty, "\nsecret").expect("a file");
        for (text, told) in [
            (
                "env:IM_NO_SUCH_VARIABLE".to_owned(),
                "the environment variable IM_NO_SUCH_VARIABLE is not set".to_owned(),
            ),
            ("file:no/such".to_owned(), "cannot read the file no/such".to_owned()),
            (format!("file:{empty}"), format!("the file {empty} has nothing in its first line")),
        ] {
            let wrong = find(&text).expect_err("nothing is there");
            assert_eq!(wrong.to_string(), told);
        }
    }
}
