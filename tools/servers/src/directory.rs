use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::{disk, refusing};

/// Below the ports that a kernel gives to outgoing connections: while a server is down, none of them takes its port.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// Tests may take what they need of a file system in memory that has at least this size. How much of it is free does not count: all processes have to agree.
const ROOMY: u64 = 8 << 30;

/// A port and a directory named after it. They are this process's as long as it holds the lock; the directory goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    port: u16,
    lock: File,
}

/// Where the locks of ports lie, and where the directories.
#[derive(Debug)]
struct Roots {
    locks: PathBuf,
    directories: PathBuf,
}

impl Directory {
    pub(crate) fn claim() -> Self {
        let roots = Roots { locks: root(), directories: fast_root() };
        roots.sweep();
        let first = u16::try_from(std::process::id() % 100).expect("less than 100") * 100;
        let ports = (PORTS.start + first..PORTS.end).chain(PORTS.start..PORTS.start + first);
        let claimed = ports.into_iter().find_map(|port| Self::of(&roots, port));
        claimed.unwrap_or_else(|| panic!("no port of {PORTS:?} is free"))
    }

    fn of(roots: &Roots, port: u16) -> Option<Self> {
        let lock = locked(&roots.lock_of(port))?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
        let path = roots.directories.join(port.to_string());
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

impl Roots {
    fn lock_of(&self, port: u16) -> PathBuf {
        self.locks.join(format!("{port}.lock"))
    }

    /// Removes what processes left that are no more. A lock's file stays: were it removed, two processes could hold locks on two files of one name.
    fn sweep(&self) {
        for entry in fs::read_dir(&self.directories).into_iter().flatten().flatten() {
            let port = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let Some(lock) = port.and_then(|port| locked(&self.lock_of(port))) {
                let _ = remove(&entry.path());
                let _ = lock.unlock();
            }
        }
    }
}

/// Where locks and templates lie.
pub(crate) fn root() -> PathBuf {
    root_in(&named_base().unwrap_or_else(std::env::temp_dir))
}

/// Where servers have their data: in memory, if there is room. Servers that sync every commit take half the time there. A kill loses no more than on a disk.
fn fast_root() -> PathBuf {
    let memory = || memory().filter(|_| named_base().is_none());
    memory().map_or_else(root, |memory| root_in(&memory))
}

fn named_base() -> Option<PathBuf> {
    std::env::var_os("IM_TEST_DIR").map(PathBuf::from)
}

/// Linux's file system in memory, where it is large.
fn memory() -> Option<PathBuf> {
    const TMPFS: i64 = 0x0102_1994;
    let path = PathBuf::from("/dev/shm");
    let found = rustix::fs::statfs(&path).ok()?;
    let size = found.f_blocks.checked_mul(u64::try_from(found.f_bsize).ok()?)?;
    (found.f_type == TMPFS && size >= ROOMY).then_some(path)
}

/// One for each user, which other users may pass through, since PostgreSQL runs as another one under root.
fn root_in(base: &Path) -> PathBuf {
    let uid = rustix::process::getuid().as_raw();
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

    /// Roots of its own, which no other test sweeps.
    fn roots(outer: &Directory) -> Roots {
        let [locks, directories] = ["locks", "directories"].map(|name| outer.path().join(name));
        fs::create_dir(&locks).and_then(|()| fs::create_dir(&directories)).expect("a directory to write to");
        Roots { locks, directories }
    }

    #[test]
    fn what_a_dead_process_left_is_swept_and_what_is_in_use_stays() {
        let outer = Directory::claim();
        let roots = roots(&outer);
        let used =
            Directory::of(&roots, outer.port() + 1).or_else(|| Directory::of(&roots, outer.port() + 2));
        let used = used.expect("a free port");
        let left = roots.directories.join("19999");
        fs::create_dir_all(left.join("data")).expect("a directory to write to");
        roots.sweep();
        assert!(!left.exists() && used.path().exists());
    }

    #[test]
    fn a_disk_that_a_dead_process_left_is_unmounted() {
        let outer = Directory::claim();
        let roots = roots(&outer);
        let left = roots.directories.join("19999");
        fs::create_dir(&left).expect("a directory to write to");
        disk::mount(&left.join("disk"), 1);
        fs::write(left.join("disk/file"), "text").expect("a disk to write to");
        roots.sweep();
        assert!(!left.exists());
    }
}
