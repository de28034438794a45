use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::directory::Directory;
use crate::disk::{self, UMOUNT};
use crate::program::Program;

const MKFS: Program = Program { name: "mkfs.ext4", package: "e2fsprogs", variable: None };

const CONTROL: &str = "/sys/class/zram-control";

/// In the claimed directory: a file for each device, so that whoever finds the directory left behind removes them too.
const PREFIX: &str = "zram";

/// A disk whose device refuses writes when it is told to: ext4 on compressed memory. It goes when this is dropped, at the latest with the
/// next server after this process has ended, however that was.
///
/// The file system's journal is on a device of its own, which goes on: what is refused is what files hold.
#[derive(Debug)]
pub struct RefusingDisk {
    // Unmounts it, and removes the devices.
    directory: Directory,
    device: Device,
}

impl RefusingDisk {
    /// An empty disk of 400 MiB, or why this machine cannot have one. It takes root, the kernel's module zram, and the program mkfs.ext4.
    ///
    /// # Errors
    ///
    /// Text for whoever reads the test's output.
    pub fn new() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root may have a disk that refuses writes".to_owned());
        }
        let mkfs = MKFS.find().ok_or("there is no program mkfs.ext4")?;
        let directory = Directory::claim();
        let device = Device::add(directory.path(), "400M")?;
        let journal = Device::add(directory.path(), "64M")?;
        let format = |args: &[&str]| run(Command::new(&mkfs).args(["-q", "-b", "4096"]).args(args));
        format(&["-O", "journal_dev", &journal.path()])?;
        let on_journal = format!("device={}", journal.path());
        format(&["-J", &on_journal, "-E", "lazy_itable_init=0", &device.path()])?;
        let disk = Self { directory, device };
        fs::create_dir(disk.path()).map_err(|error| format!("{}: {error}", disk.path().display()))?;
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join(disk::NAME)
    }

    /// From now on the device refuses every page that is not all the same, until [`take_writes`](Self::take_writes).
    ///
    /// # Panics
    ///
    /// If the device does not take the setting.
    pub fn refuse_writes(&self) {
        self.device.set("mem_limit", "4096").unwrap_or_else(|error| panic!("{error}"));
    }

    /// The device is well again.
    ///
    /// # Panics
    ///
    /// If the device does not take the setting.
    pub fn take_writes(&self) {
        self.device.set("mem_limit", "0").unwrap_or_else(|error| panic!("{error}"));
    }

    /// The page cache loses all that it has of this disk. No file on it may be open.
    ///
    /// # Panics
    ///
    /// If the disk cannot be unmounted and mounted again.
    pub fn drop_cache(&self) {
        run(UMOUNT.command().arg(self.path())).unwrap_or_else(|error| panic!("{error}"));
        self.mount().unwrap_or_else(|error| panic!("{error}"));
    }

    fn mount(&self) -> Result<(), String> {
        let mut mount = disk::MOUNT.command();
        run(mount.args(["-o", "errors=continue", &self.device.path()]).arg(self.path()))
    }
}

/// A device of compressed memory.
#[derive(Debug)]
struct Device {
    number: u32,
}

impl Device {
    fn add(claimed: &Path, size: &str) -> Result<Self, String> {
        let control = Path::new(CONTROL).join("hot_add");
        // Reading makes a device, and gives its number.
        let number =
            fs::read_to_string(&control).map_err(|error| format!("{}: {error}", control.display()))?;
        let number = number.trim();
        let device =
            Self { number: number.parse().map_err(|_| format!("a device of the number {number:?}"))? };
        let note = claimed.join(format!("{PREFIX}{number}"));
        fs::write(&note, "").map_err(|error| format!("{}: {error}", note.display()))?;
        device.set("disksize", size)?;
        Ok(device)
    }

    fn path(&self) -> String {
        format!("/dev/zram{}", self.number)
    }

    fn set(&self, name: &str, value: &str) -> Result<(), String> {
        let path = format!("/sys/block/zram{}/{name}", self.number);
        fs::write(&path, value).map_err(|error| format!("{path}: {error}"))
    }
}

/// Removes the devices under a claimed directory, after what was mounted there is gone.
pub(crate) fn remove_devices(claimed: &Path) {
    for entry in fs::read_dir(claimed).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse().ok());
        if let Some(number) = number {
            // One that is still in use stays, as the directory's other remains do.
            let _ = Device { number }.set("reset", "1");
            let _ = fs::write(Path::new(CONTROL).join("hot_remove"), number.to_string());
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?} does not start: {error}"))?;
    let complained = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {complained}")) }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;

    use super::*;

    #[test]
    fn it_refuses_what_is_written_until_it_is_well_and_is_gone_when_it_was_dropped() {
        let disk = match RefusingDisk::new() {
            Ok(disk) => disk,
            Err(why) => return print(&format!("not tried: {why}")),
        };
        let write = |name: &str| {
            let mut file = File::create(disk.path().join(name))?;
            file.write_all(name.repeat(1_000).as_bytes())?;
            file.sync_all()
        };
        write("first file").expect("a disk that is well");
        disk.refuse_writes();
        write("second file").expect_err("a disk that refuses");
        disk.take_writes();
        write("third file").expect("a disk that is well again");
        disk.drop_cache();
        let read = |name: &str| fs::read_to_string(disk.path().join(name)).unwrap_or_default();
        let kept = |name: &str| read(name) == name.repeat(1_000);
        assert!(kept("first file") && !kept("second file") && kept("third file"));
        let device = format!("/sys/block/zram{}", disk.device.number);
        assert!(Path::new(&device).exists());
        drop(disk);
        assert!(!Path::new(&device).exists());
    }

    fn print(line: &str) {
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}
