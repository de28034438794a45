use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::process::Signal;
use sqlx::PgConnection;

use crate::directory::Directory;
use crate::process::{Process, User};
use crate::program::{Program, output};
use crate::{SmallDisk, data, sql, url};

mod family;

const VARIABLE: &str = "IM_TEST_POSTGRES_URL";
const SERVER: Program = Program { name: "postgres", package: "postgresql", variable: Some(VARIABLE) };
const INITDB: Program = Program { name: "initdb", package: "postgresql", variable: Some(VARIABLE) };
const BASEBACKUP: Program =
    Program { name: "pg_basebackup", package: "postgresql", variable: Some(VARIABLE) };
const SETPRIV: Program = Program { name: "setpriv", package: "util-linux", variable: None };
/// A template need not survive the machine, so it is not synced.
const INITDB_ARGUMENTS: &[&str] =
    &["--username=im", "--auth=trust", "--encoding=UTF8", "--locale=C", "--wal-segsize=4", "--no-sync"];

/// What is durable before it is acked stays so; memory is kept small, and none is left behind in /dev/shm.
const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "fsync=on",
    "synchronous_commit=on",
    "full_page_writes=on",
    "wal_level=replica",
    "shared_buffers=64MB",
    "dynamic_shared_memory_type=mmap",
    "min_wal_size=32MB",
    "max_wal_size=256MB",
    "max_connections=400",
];

/// A PostgreSQL server, or the one that `IM_TEST_POSTGRES_URL` names.
#[derive(Debug)]
pub struct Postgres {
    url: String,
    own: Option<Own>,
}

/// A server that this process has started.
#[derive(Debug)]
struct Own {
    process: Mutex<Option<Process>>,
    settings: Vec<String>,
    data: PathBuf,
    directory: Directory,
}

impl Postgres {
    /// One server for all tests of a process: the one that `IM_TEST_POSTGRES_URL` names, or else one of its own. For tests that do it no harm.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| url::named(VARIABLE).map_or_else(Self::start, |url| Self { url, own: None }))
    }

    /// A server of the caller's own. It ends when this is dropped, and its data goes.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// [`start`](Self::start), with more settings, as in `wal_level=logical`.
    pub fn start_with(settings: &[&str]) -> Self {
        let directory = Directory::claim();
        let data = directory.path().join("data");
        Self::start_in(directory, data, settings)
    }

    /// [`start_with`](Self::start_with), with its data on a disk that can be filled. It takes some 60 MiB.
    pub fn start_on(disk: &SmallDisk, settings: &[&str]) -> Self {
        Self::start_in(Directory::claim(), disk.path().join("data"), settings)
    }

    fn start_in(directory: Directory, data: PathBuf, settings: &[&str]) -> Self {
        data::fill(&data, "postgres", (SERVER.version(), INITDB_ARGUMENTS), initdb);
        Self::serve(directory, data, settings)
    }

    fn serve(directory: Directory, data: PathBuf, settings: &[&str]) -> Self {
        let url = format!("postgres://im@127.0.0.1:{}/postgres", directory.port());
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        let server = Self { url, own: Some(Own { process: Mutex::new(None), settings, data, directory }) };
        server.restart();
        server
    }

    /// A replica of this server: a server of the caller's own, which begins with a copy of this one and streams what comes. Replication goes on by itself after
    /// either of them was restarted; until the replica is dropped for good, this server keeps for it what it has not received.
    ///
    /// # Panics
    ///
    /// If this server was not started by this process.
    pub fn replica(&self) -> Self {
        let (port, directory) = (self.port(), Directory::claim());
        let data = directory.path().join("data");
        // A server refuses data that others could read.
        let made = fs::DirBuilder::new().mode(0o700).create(&data);
        made.unwrap_or_else(|error| panic!("{}: {error}", data.display()));
        let mut copy = as_user(BASEBACKUP, &data);
        copy.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "im", "--checkpoint=fast", "--no-sync"]);
        copy.args(["--write-recovery-conf", "--create-slot", "--slot", &format!("of_{}", directory.port())]);
        output(copy.arg("-D").arg(&data));
        Self::serve(directory, data, &[])
    }

    /// A replica goes on receiving, but shows nothing new.
    pub fn pause_replay(&self) {
        self.execute("SELECT pg_wal_replay_pause()");
    }

    /// A replica shows what came while it was paused, and goes on.
    pub fn resume_replay(&self) {
        self.execute("SELECT pg_wal_replay_resume()");
    }

    /// The URL of a database of another server, on this one.
    pub fn same_database(&self, url: &str) -> String {
        url::with_path(&self.url, url::path(url))
    }

    /// The server's URL. Its user may do everything.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What to call it in a report.
    pub fn name(&self) -> &'static str {
        if self.own.is_some() { "PostgreSQL" } else { VARIABLE }
    }

    /// The port on 127.0.0.1.
    ///
    /// # Panics
    ///
    /// As [`kill`](Self::kill).
    pub fn port(&self) -> u16 {
        self.own().directory.port()
    }

    /// The process, while the server runs.
    ///
    /// # Panics
    ///
    /// As [`kill`](Self::kill).
    pub fn pid(&self) -> Option<i32> {
        let process = self.own().process.lock().unwrap_or_else(PoisonError::into_inner);
        process.as_ref().map(|process| process.pid().as_raw_nonzero().get())
    }

    /// The URL of a new, empty database. `name` tells databases apart in logs, and may be used again.
    pub fn database(&self, name: &str) -> String {
        let name = url::fresh(name);
        self.execute(&format!("CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0"));
        url::with_path(&self.url, &name)
    }

    /// Runs one statement as the user who may do everything.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub fn execute(&self, statement: &str) {
        let done = sql::execute::<PgConnection>(&self.url, statement.to_owned());
        done.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }

    /// SIGKILL for all of the server's processes: what was committed is on disk, the rest is lost. Returns when they are gone; does nothing if
    /// it is not running.
    ///
    /// # Panics
    ///
    /// If the server was not started by this process.
    pub fn kill(&self) {
        if let Some(process) = self.own().take() {
            family::kill(process);
        }
    }

    /// Lets the server shut down in its own way, without waiting for its clients. Returns when it is gone; does nothing if it is not running.
    ///
    /// # Panics
    ///
    /// As [`kill`](Self::kill).
    pub fn stop(&self) {
        if let Some(process) = self.own().take() {
            process.stop(Signal::INT);
        }
    }

    /// Whether the server has ended by itself: one whose disk is full may.
    ///
    /// # Panics
    ///
    /// As [`kill`](Self::kill).
    pub fn has_ended(&self) -> bool {
        let mut process = self.own().process.lock().unwrap_or_else(PoisonError::into_inner);
        // What has ended is not to be killed: another process may have its number.
        process.take_if(|process| process.has_ended());
        process.is_none()
    }

    /// Starts the server again, with its data and at its port, after a [`kill`](Self::kill) or a [`stop`](Self::stop); one that is running is
    /// killed first. Returns when the server takes connections.
    ///
    /// # Panics
    ///
    /// As [`kill`](Self::kill).
    pub fn restart(&self) {
        self.kill();
        let own = self.own();
        let log = own.directory.path().join("log");
        // At SIGQUIT it ends at once, but gives its shared memory back.
        let mut process = Process::start(&own.command(), user(), "QUIT", &log);
        process.wait_until(|| sql::execute::<PgConnection>(&self.url, "SELECT 1".to_owned()).is_ok());
        *own.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
    }

    fn own(&self) -> &Own {
        self.own.as_ref().unwrap_or_else(|| {
            panic!("{VARIABLE} names a server that is not this test's: use Postgres::start")
        })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(process) = self.own.as_ref().and_then(Own::take) {
            process.stop(Signal::QUIT);
        }
    }
}

impl Own {
    fn take(&self) -> Option<Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn command(&self) -> Command {
        let mut command = SERVER.command();
        command.arg("-D").arg(&self.data);
        command.args(["-p", &self.directory.port().to_string()]);
        let more = self.settings.iter().map(String::as_str);
        command.args(SETTINGS.iter().copied().chain(more).flat_map(|setting| ["-c", setting]));
        command.current_dir(self.directory.path());
        command
    }
}

fn initdb(target: &Path) {
    output(as_user(INITDB, target).args(INITDB_ARGUMENTS).arg("-D").arg(target));
}

/// A program as the user that the server runs as, who gets the directory `target`.
fn as_user(program: Program, target: &Path) -> Command {
    let program = program.path();
    let mut command = match user() {
        None => Command::new(program),
        Some(User { uid, gid }) => {
            let given = std::os::unix::fs::chown(target, Some(uid), Some(gid));
            given.unwrap_or_else(|error| panic!("{}: {error}", target.display()));
            let mut command = SETPRIV.command();
            command
                .args(["--reuid", &uid.to_string(), "--regid", &gid.to_string(), "--clear-groups"])
                .arg(program);
            command
        }
    };
    command.current_dir("/");
    command
}

/// PostgreSQL refuses to run as root: then it runs as its package's user, or else as nobody.
fn user() -> Option<User> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let find = |name: &str| {
        let fields =
            users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == name)?;
        Some(User { uid: fields.get(2)?.parse().ok()?, gid: fields.get(3)?.parse().ok()? })
    };
    let user = find("postgres").or_else(|| find("nobody"));
    Some(user.unwrap_or_else(|| {
        panic!("PostgreSQL does not run as root, and there is no user postgres or nobody")
    }))
}
