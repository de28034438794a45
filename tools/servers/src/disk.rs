use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::directory::Directory;
use crate::program::Program;

pub(crate) const MOUNT: Program = Program { name: "mount", package: "mount", variable: None };
pub(crate) const UMOUNT: Program = Program { name: "umount", package: "mount", variable: None };

/// Under a claimed directory, so that who finds that one left behind finds what is mounted there too.
pub(crate) const NAME: &str = "disk";

/// What is written at once while a disk is filled.
static PIECE: [u8; 64 << 10] = [0; 64 << 10];

/// A disk that a test may fill: a file system in memory. It goes when this is dropped, at the latest with the next server after this process has ended,
/// however that was.
#[derive(Debug)]
pub struct SmallDisk {
    // Unmounts it.
    directory: Directory,
}

impl SmallDisk {
    /// An empty disk of so many MiB.
    ///
    /// # Panics
    ///
    /// If this process may not mount one.
    pub fn new(mib: u32) -> Self {
        let disk = Self { directory: Directory::claim() };
        mount(&disk.path(), mib);
        disk
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join(NAME)
    }

    /// Takes all room that is left.
    ///
    /// # Panics
    ///
    /// If that is not to be had for another reason.
    pub fn fill(&self) {
        let path = self.filler();
        let mut file = File::options().create(true).append(true).open(&path);
        let full = loop {
            match file.as_mut().map(|file| file.write_all(&PIECE)) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => break error.kind(),
                Err(error) => break error.kind(),
            }
        };
        assert_eq!(full, std::io::ErrorKind::StorageFull, "{}", path.display());
    }

    /// Gives back what [`fill`](Self::fill) took.
    ///
    /// # Panics
    ///
    /// If the disk was not filled.
    pub fn make_room(&self) {
        let path = self.filler();
        std::fs::remove_file(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

pub(crate) fn mount(path: &Path, mib: u32) {
    assert!(
        rustix::process::geteuid().is_root(),
        "only root may mount a small disk: run the tests that fill a disk as root, with sudo or in a container"
    );
    std::fs::create_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut mount = MOUNT.command();
    mount.args(["-t", "tmpfs", "-o", &format!("size={mib}m,mode=755"), "im-test-disk"]).arg(path);
    let output = mount.output().unwrap_or_else(|error| panic!("{mount:?} does not start: {error}"));
    let complained = String::from_utf8_lossy(&output.stderr);
    // A container's root may be without the right to.
    assert!(
        output.status.success(),
        "a small disk cannot be mounted; a container has to have the capability SYS_ADMIN (docker run --cap-add SYS_ADMIN): {complained}"
    );
}

/// Takes away the disk under a claimed directory, if there is one, also while a process has files open on it.
pub(crate) fn unmount(claimed: &Path) {
    let path = claimed.join(NAME);
    if path.exists() {
        let _ = UMOUNT.command().arg("--lazy").arg(path).output();
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    fn is_mounted(path: &Path) -> bool {
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("the mounts");
        mounts.lines().any(|mount| mount.split(' ').nth(1) == path.to_str())
    }

    #[test]
    fn it_is_full_when_it_was_filled_and_gone_when_it_was_dropped() {
        let disk = SmallDisk::new(1);
        let write = || std::fs::write(disk.path().join("file"), "text").map_err(|error| error.kind());
        disk.fill();
        assert_eq!(write(), Err(ErrorKind::StorageFull));
        disk.make_room();
        assert_eq!(write(), Ok(()));
        let path = disk.path();
        let open = File::open(path.join("file"));
        assert!(is_mounted(&path) && open.is_ok());
        drop(disk);
        assert!(!is_mounted(&path) && !path.exists());
    }
}
