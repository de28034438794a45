//! The secret that signs this server's tokens: made once, the same for the server and the `token` command.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use im_transport::jwt::{JwtError, JwtSecret};

/// In the data directory: 64 hexadecimal digits.
const NAME: &str = "token.secret";

#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("cannot use {}", .0.display())]
    File(PathBuf, #[source] io::Error),
    #[error("no random bytes are to be had: {0}")]
    Random(getrandom::Error),
    #[error("{} does not hold 32 bytes or more as hexadecimal digits", .0.display())]
    Malformed(PathBuf),
    #[error(transparent)]
    Refused(#[from] JwtError),
}

/// The secret under `data`, made if there is none. Of processes that race to make it, all get the same one.
pub(crate) fn load_or_create(data: &Path) -> Result<JwtSecret, SecretError> {
    let path = data.join(NAME);
    let text = match fs::read_to_string(&path) {
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
            create(data, &path)?;
            fs::read_to_string(&path).map_err(of(&path))?
        }
        text => text.map_err(of(&path))?,
    };
    // Not by its maker alone, who may have ended before: tokens are void if the name goes in a power cut.
    File::open(data).and_then(|dir| dir.sync_all()).map_err(of(data))?;
    warn_if_shared(&path);
    let bytes = decode(text.trim_end()).ok_or(SecretError::Malformed(path))?;
    Ok(JwtSecret::new(bytes)?)
}

/// Writes and syncs the whole file under another name first, and gives it its own only if nobody else has done so: it is never
/// seen half written, and never replaced.
fn create(data: &Path, path: &Path) -> Result<(), SecretError> {
    DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(of(data))?;
    let mut bytes = [0; JwtSecret::MIN_LEN];
    getrandom::fill(&mut bytes).map_err(SecretError::Random)?;
    let draft = data.join(format!("{NAME}.{}", std::process::id()));
    let outcome = write(&draft, &bytes).and_then(|()| match fs::hard_link(&draft, path) {
        Err(taken) if taken.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    // What is left of it is a file that nobody reads.
    let _ = fs::remove_file(&draft);
    outcome.map_err(of(path))
}

fn write(draft: &Path, bytes: &[u8]) -> io::Result<()> {
    // A crash may have left one of an earlier process with this number.
    if let Err(failure) = fs::remove_file(draft)
        && failure.kind() != io::ErrorKind::NotFound
    {
        return Err(failure);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    for byte in bytes {
        write!(file, "{byte:02x}")?;
    }
    writeln!(file)?;
    file.sync_all()
}

fn decode(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

fn warn_if_shared(path: &Path) {
    let shared = fs::metadata(path).is_ok_and(|about| about.permissions().mode() & 0o077 != 0);
    if shared {
        tracing::warn!(path = %path.display(), "others can read the secret that signs tokens");
    }
}

fn of(path: &Path) -> impl FnOnce(io::Error) -> SecretError {
    let path = path.to_owned();
    move |failure| SecretError::File(path, failure)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("deep/data");
        load_or_create(&data).unwrap();
        let first = fs::read_to_string(data.join(NAME)).unwrap();
        load_or_create(&data).unwrap();
        assert_eq!(fs::read_to_string(data.join(NAME)).unwrap(), first);
        assert_eq!(first.len(), 65);
        let mode = fs::metadata(data.join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_no_secret_is_refused_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        for text in ["", "abc", "zz", "00ff", "ü0"] {
            fs::write(&path, text).unwrap();
            assert!(load_or_create(dir.path()).is_err(), "{text:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
