//! The state directory: a device name for all users of it, and a local store for each.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use im_core::client::{LocalStore, MemoryLocalStore};
use im_core::id::{DeviceId, Uid};
use im_store::sqlite_local::SqliteLocalStore;

use crate::exit::Failure;

/// What a run without a state directory keeps to look back at.
const HISTORY_IN_MEMORY: usize = 1_000;

/// The local store of `user`: in the state directory, or in memory.
pub(crate) async fn open(dir: Option<&Path>, user: &Uid) -> Result<Arc<dyn LocalStore>, Failure> {
    let Some(dir) = dir else { return Ok(Arc::new(MemoryLocalStore::keeping(HISTORY_IN_MEMORY))) };
    create(dir).map_err(Failure::State)?;
    let store = SqliteLocalStore::open(&dir.join(file_name(user)), user).await?;
    Ok(Arc::new(store))
}

/// The device's name: the one kept in the state directory, made at first use, or without a directory a new one.
pub(crate) fn device(dir: Option<&Path>) -> Result<DeviceId, Failure> {
    let fresh = format!("chat-{:016x}", getrandom::u64().map_err(Failure::Random)?);
    let name = match dir {
        Some(dir) => kept(dir, &fresh).map_err(Failure::State)?,
        None => fresh,
    };
    let invalid = |error| Failure::State(io::Error::new(io::ErrorKind::InvalidData, error));
    DeviceId::new(name.trim_end()).map_err(invalid)
}

/// The name in the file `device`, which is created with `fresh` if there is none. It is made whole before it gets its name, so
/// that a crash leaves none or a good one.
fn kept(dir: &Path, fresh: &str) -> io::Result<String> {
    create(dir)?;
    let path = dir.join("device");
    if !path.exists() {
        let made = dir.join("device.new");
        let mut file = fs::File::create(&made)?;
        writeln!(file, "{fresh}")?;
        file.sync_all()?;
        fs::rename(made, &path)?;
    }
    fs::read_to_string(path)
}

/// Creates the directory, readable by its owner alone: it holds messages.
fn create(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// `<user>.db`, where bytes other than letters, digits, `-` and `_` are written as `%` and two hexadecimal digits.
fn file_name(user: &Uid) -> PathBuf {
    let escaped = user.as_str().bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02x}"),
    });
    PathBuf::from(escaped.collect::<String>() + ".db")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_after_its_user_and_nothing_else() {
        let name = |user| file_name(&Uid::new(user).unwrap());
        assert_eq!(name("alice_1"), PathBuf::from("alice_1.db"));
        assert_eq!(name("../a b"), PathBuf::from("%2e%2e%2fa%20b.db"));
    }

    #[test]
    fn a_device_keeps_its_name_in_a_state_directory() {
        let dir = tempfile::tempdir().unwrap();
        let nested = dir.path().join("not/there/yet");
        let first = device(Some(&nested)).unwrap();
        assert_eq!(device(Some(&nested)).unwrap(), first);
        assert_ne!(device(None).unwrap(), first);
    }
}
