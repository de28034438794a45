use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Accounts, Target};
use crate::fault::Fault;
use crate::proc::{Pid, child_command};
use crate::store::StoreSpec;
use crate::wire::Dialect;

/// The file of `im-standalone`'s data directory that tokens are signed with.
const SECRET: &str = "token.secret";

/// How long a server that is asked to end gets for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The minimal servers that figures are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Floor {
    /// Sends every frame back.
    Echo,
    /// Hands messages to their receivers and acks them; keeps nothing.
    Relay,
    /// The same, but first appends each turn's messages to a log and waits for fdatasync.
    RelayLog,
    /// Hands a message to all other links.
    Broadcast,
    /// Takes links, and answers their first frame.
    Accept,
}

/// Starts servers, each on a fresh data directory.
#[derive(Clone, Debug)]
pub(crate) struct Spawner {
    /// The `im-standalone` program.
    pub(crate) standalone: PathBuf,
    /// More of its arguments.
    pub(crate) arguments: Vec<String>,
    /// The store that it is told to keep; its own choice, if `None`.
    pub(crate) store: Option<StoreSpec>,
    /// Under which directory the data directories are made.
    pub(crate) data_root: PathBuf,
    /// The core that servers run on; all, if `None`.
    pub(crate) cpu: Option<usize>,
}

/// A server that ends, and whose data goes, with this value.
pub(crate) struct Spawned {
    child: Process,
    address: SocketAddr,
    data: TempDir,
}

/// A process that ends with this value.
struct Process(Child);

impl Spawner {
    /// Whether there is an `im-standalone` to start.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        if self.standalone.exists() {
            return Ok(());
        }
        let wanted = self.standalone.display();
        Err(Fault::Environment(format!("{wanted} is not there; build im-standalone first")))
    }

    /// Starts `im-standalone`.
    pub(crate) fn standalone(&self) -> Result<Spawned, Fault> {
        self.standalone_over(self.data_directory()?)
    }

    /// Starts `im-standalone` over the data of one that was stopped.
    pub(crate) fn again(&self, stopped: Spawned) -> Result<Spawned, Fault> {
        self.standalone_over(stopped.into_data())
    }

    fn standalone_over(&self, data: TempDir) -> Result<Spawned, Fault> {
        let mut arguments = vec!["--tcp".to_owned(), "127.0.0.1:0".to_owned(), "--data".to_owned()];
        arguments.push(data.path().display().to_string());
        arguments.extend(["--log".to_owned(), "warn".to_owned()]);
        if let Some(store) = &self.store {
            arguments.extend(["--store".to_owned(), store.argument(data.path())]);
        }
        arguments.extend(self.arguments.iter().cloned());
        self.start(&self.standalone, &arguments, data)
    }

    /// Starts a floor, which is this program.
    pub(crate) fn floor(&self, floor: Floor) -> Result<Spawned, Fault> {
        let program =
            std::env::current_exe().map_err(|error| Fault::system("where is this program", &error))?;
        let data = self.data_directory()?;
        let name = clap::ValueEnum::to_possible_value(&floor).map(|value| value.get_name().to_owned());
        let mut arguments = vec!["floor".to_owned(), name.unwrap_or_default()];
        arguments.extend(["--listen", "127.0.0.1:0", "--data"].map(str::to_owned));
        arguments.push(data.path().display().to_string());
        self.start(&program, &arguments, data)
    }

    fn data_directory(&self) -> Result<TempDir, Fault> {
        TempDir::with_prefix_in("im-loadgen-", &self.data_root)
            .map_err(|error| Fault::system("cannot make a data directory", &error))
    }

    fn start(&self, program: &Path, arguments: &[String], data: TempDir) -> Result<Spawned, Fault> {
        let mut command = child_command(program, self.cpu);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let doing = format!("cannot start {}", program.display());
        let mut child = Process(command.spawn().map_err(|error| Fault::system(&doing, &error))?);
        match ready(&mut child.0) {
            Some(address) => Ok(Spawned { child, address, data }),
            None => {
                let program = program.display();
                Err(Fault::Environment(format!("{program} did not get ready; see its own words above")))
            }
        }
    }
}

/// The address of the contract line `ready tcp=HOST:PORT …`.
fn ready(child: &mut Child) -> Option<SocketAddr> {
    let mut line = String::new();
    BufReader::new(child.stdout.take()?).read_line(&mut line).ok()?;
    address_of(&line)
}

fn address_of(line: &str) -> Option<SocketAddr> {
    let words = line.trim_end().strip_prefix("ready ")?;
    words.split(' ').find_map(|word| word.strip_prefix("tcp="))?.parse().ok()
}

impl Spawned {
    /// Where its data is.
    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    pub(crate) fn target(&self, dialect: Dialect, label: String) -> Result<Target, Fault> {
        let accounts = match dialect {
            Dialect::Im => Accounts::with_secret(&self.data.path().join(SECRET))?,
            Dialect::Floor => Accounts::of_floor(),
        };
        let (address, pid) = (self.address, Some(Pid(self.child.0.id())));
        let data = Some(self.data.path().to_owned());
        Ok(Target { address, pid, dialect, accounts, label, data })
    }

    /// Asks the server to end and waits until it has; one that takes longer than [`PATIENCE`] is killed.
    pub(crate) fn end(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child.0);
        // One that cannot be asked is killed.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let begin = Instant::now();
        while matches!(self.child.0.try_wait(), Ok(None)) && begin.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.child.stop();
    }

    fn into_data(self) -> TempDir {
        self.data
    }
}

impl Process {
    /// One that cannot be killed has ended.
    fn stop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_tells_the_address_among_other_things() {
        let address = "127.0.0.1:4000".parse().unwrap();
        assert_eq!(address_of("ready tcp=127.0.0.1:4000\n"), Some(address));
        assert_eq!(address_of("ready http=127.0.0.1:1 tcp=127.0.0.1:4000 x=y\n"), Some(address));
        assert_eq!(address_of("error: no\n"), None);
    }
}
