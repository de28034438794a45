use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::{disk, refusing};

/// Below the ports that a kernel gives to outgoing connections: while a server is down, none of them takes its port.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// A port and a directory named after it. They are this process's as long as it holds the lock; the directory goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    port: u16,
    lock: File,
}

impl Directory {
    pub(crate) fn claim() -> Self {
        let root = root();
        sweep(&root);
        let first = u16::try_from(std::process::id() % 100).expect("less than 100") * 100;
        let ports = (PORTS.start + first..PORTS.end).chain(PORTS.start..PORTS.start + first);
        let claimed = ports.into_iter().find_map(|port| Self::of(&root, port));
        claimed.unwrap_or_else(|| panic!("no port of {PORTS:?} is free"))
    }

    fn of(root: &Path, port: u16) -> Option<Self> {
        let lock = locked(&root.join(format!("{port}.lock")))?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
        let path = root.join(port.to_string());
        match remove(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return None,
            _ => {}
        }
        fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Some(Self { path, port, lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What stays is removed by the next sweep.
        let _ = remove(&self.path);
        // Not by closing alone: a process that is being started has a copy until it executes its program.
        let _ = self.lock.unlock();
    }
}

/// Where all directories lie: one for each user, which other users may pass through, since PostgreSQL runs as another one under root.
pub(crate) fn root() -> PathBuf {
    let uid = rustix::process::getuid().as_raw();
    let base = std::env::var_os("IM_TEST_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let root = base.join(format!("im-test-servers-{uid}"));
    fs::create_dir_all(&root)
        .unwrap_or_else(|error| panic!("{}: {error}; IM_TEST_DIR names another place", root.display()));
    let owner = fs::symlink_metadata(&root).map(|metadata| metadata.uid());
    assert_eq!(
        owner.ok(),
        Some(uid),
        "{} belongs to somebody else; IM_TEST_DIR names another place",
        root.display()
    );
    let _ = fs::set_permissions(&root, fs::Permissions::from_mode(0o755));
    root
}

/// Removes what processes left that are no more. A lock's file stays: were it removed, two processes could hold locks on two files of one name.
fn sweep(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let is_claimed = entry.file_name().to_str().is_some_and(|name| name.parse::<u16>().is_ok());
        if is_claimed && let Some(lock) = locked(&entry.path().with_extension("lock")) {
            let _ = remove(&entry.path());
            let _ = lock.unlock();
        }
    }
}

/// A claimed directory with all that is in it, a disk and its devices too.
fn remove(path: &Path) -> std::io::Result<()> {
    disk::unmount(path);
    refusing::remove_devices(path);
    fs::remove_dir_all(path)
}

fn locked(path: &Path) -> Option<File> {
    let file = open_lock(path);
    file.try_lock().ok().map(|()| file)
}

pub(crate) fn open_lock(path: &Path) -> File {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    file.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_have_one_port_and_what_is_dropped_is_gone() {
        let (one, other) = (Directory::claim(), Directory::claim());
        assert_ne!(one.port(), other.port());
        fs::write(one.path().join("file"), "text").expect("a directory to write to");
        let path = one.path().to_owned();
        drop(one);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_dead_process_left_is_swept_and_what_is_in_use_stays() {
        // A root of its own, which no other test sweeps.
        let outer = Directory::claim();
        let used = Directory::of(outer.path(), outer.port() + 1)
            .or_else(|| Directory::of(outer.path(), outer.port() + 2));
        let used = used.expect("a free port");
        let left = outer.path().join("19999");
        fs::create_dir_all(left.join("data")).expect("a directory to write to");
        sweep(outer.path());
        assert!(!left.exists() && used.path().exists());
    }

    #[test]
    fn a_disk_that_a_dead_process_left_is_unmounted() {
        let outer = Directory::claim();
        let left = outer.path().join("19999");
        fs::create_dir(&left).expect("a directory to write to");
        disk::mount(&left.join("disk"), 1);
        fs::write(left.join("disk/file"), "text").expect("a disk to write to");
        sweep(outer.path());
        assert!(!left.exists());
    }
}
