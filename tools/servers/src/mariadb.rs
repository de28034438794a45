use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::process::Signal;
use sqlx::MySqlConnection;

use crate::directory::Directory;
use crate::process::Process;
use crate::program::{Program, output};
use crate::{SmallDisk, data, sql, url};

const VARIABLE: &str = "IM_TEST_MYSQL_URL";
const SERVER: Program =
    Program { name: "mariadbd", package: "mariadb-server-core", variable: Some(VARIABLE) };
const INSTALL: Program =
    Program { name: "mariadb-install-db", package: "mariadb-server-core", variable: Some(VARIABLE) };
const INSTALL_ARGUMENTS: &[&str] = &[
    "--no-defaults",
    "--auth-root-authentication-method=normal",
    "--skip-test-db",
    "--innodb-log-file-size=48M",
];

/// What is durable before it is acked stays so; memory is kept small.
const ARGUMENTS: &[&str] = &[
    "--bind-address=127.0.0.1",
    "--socket=mariadb.sock",
    "--skip-name-resolve",
    "--character-set-server=utf8mb4",
    "--innodb-flush-log-at-trx-commit=1",
    "--log-bin=binlog",
    "--sync-binlog=1",
    "--binlog-format=ROW",
    "--innodb-log-file-size=48M",
    "--innodb-buffer-pool-size=64M",
    "--performance-schema=OFF",
    "--max-connections=400",
];

/// A MariaDB server, or the MySQL server that `IM_TEST_MYSQL_URL` names.
#[derive(Debug)]
pub struct MariaDb {
    url: String,
    own: Option<Own>,
}

/// A server that this process has started.
#[derive(Debug)]
struct Own {
    process: Mutex<Option<Process>>,
    arguments: Vec<String>,
    data: PathBuf,
    directory: Directory,
}

impl MariaDb {
    /// One server for all tests of a process: the one that `IM_TEST_MYSQL_URL` names, or else one of its own. For tests that do it no harm.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<MariaDb> = OnceLock::new();
        SHARED.get_or_init(|| url::named(VARIABLE).map_or_else(Self::start, |url| Self { url, own: None }))
    }

    /// A server of the caller's own. It ends when this is dropped, and its data goes.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// [`start`](Self::start), with more arguments for `mariadbd`.
    pub fn start_with(arguments: &[&str]) -> Self {
        let directory = Directory::claim();
        let data = directory.path().join("data");
        Self::start_in(directory, data, arguments)
    }

    /// [`start_with`](Self::start_with), with its data on a disk that can be filled. It takes some 80 MiB.
    pub fn start_on(disk: &SmallDisk, arguments: &[&str]) -> Self {
        Self::start_in(Directory::claim(), disk.path().join("data"), arguments)
    }

    fn start_in(directory: Directory, data: PathBuf, arguments: &[&str]) -> Self {
        data::fill(&data, "mariadb", (SERVER.version(), INSTALL_ARGUMENTS), install);
        let url = format!("mysql://root@127.0.0.1:{}/mysql", directory.port());
        // Servers that replicate each other need numbers of their own.
        let number = format!("--server-id={}", directory.port());
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).chain([number]).collect();
        let server = Self { url, own: Some(Own { process: Mutex::new(None), arguments, data, directory }) };
        server.restart();
        server
    }

    /// A replica of this server: a server of the caller's own, which takes over everything from this one's binary log, from its beginning. It is there at
    /// once, what it shows follows. Replication goes on by itself after either of them was restarted.
    ///
    /// # Panics
    ///
    /// If this server was not started by this process.
    pub fn replica(&self) -> Self {
        let replica = Self::start_with(&["--read-only", "--log-slave-updates"]);
        replica.execute(&format!(
            "CHANGE MASTER TO master_host = '127.0.0.1', master_port = {}, master_user = 'root', \
             master_use_gtid = slave_pos, master_connect_retry = 1, master_heartbeat_period = 1",
            self.port()
        ));
        replica.execute("START SLAVE");
        replica
    }

    /// A replica goes on receiving, but shows nothing new.
    pub fn pause_replay(&self) {
        self.execute("STOP SLAVE SQL_THREAD");
    }

    /// A replica shows what came while it was paused, and goes on.
    pub fn resume_replay(&self) {
        self.execute("START SLAVE SQL_THREAD");
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
        if self.own.is_some() { "MariaDB" } else { VARIABLE }
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
        self.execute(&format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"));
        url::with_path(&self.url, &name)
    }

    /// Runs one statement as the user who may do everything.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub fn execute(&self, statement: &str) {
        let done = sql::execute::<MySqlConnection>(&self.url, statement.to_owned());
        done.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }

    /// SIGKILL: what was committed is on disk, the rest is lost. Returns when the server is gone; does nothing if it is not running.
    ///
    /// # Panics
    ///
    /// If the server was not started by this process.
    pub fn kill(&self) {
        if let Some(process) = self.own().take() {
            process.kill();
        }
    }

    /// Lets the server shut down in its own way. Returns when it is gone; does nothing if it is not running.
    ///
    /// # Panics
    ///
    /// As [`kill`](Self::kill).
    pub fn stop(&self) {
        if let Some(process) = self.own().take() {
            process.stop(Signal::TERM);
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
        let mut process = Process::start(&own.command(), None, "KILL", &log);
        process.wait_until(|| sql::execute::<MySqlConnection>(&self.url, "DO 0".to_owned()).is_ok());
        *own.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
    }

    fn own(&self) -> &Own {
        self.own.as_ref().unwrap_or_else(|| {
            panic!("{VARIABLE} names a server that is not this test's: use MariaDb::start")
        })
    }
}

impl Own {
    fn take(&self) -> Option<Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn command(&self) -> Command {
        let mut command = SERVER.command();
        command.args(["--no-defaults", &format!("--port={}", self.directory.port())]);
        command.arg(option("--datadir", &self.data));
        // A server that starts removes the temporary tables that it finds, other servers' too.
        command.arg(option("--tmpdir", self.directory.path()));
        command.args(as_root()).args(ARGUMENTS).args(&self.arguments);
        command
    }
}

fn install(target: &Path) {
    output(INSTALL.command().args(INSTALL_ARGUMENTS).args(as_root()).arg(option("--datadir", target)));
}

/// Without this, the server refuses to run as root.
fn as_root() -> &'static [&'static str] {
    if rustix::process::geteuid().is_root() { &["--user=root"] } else { &[] }
}

fn option(name: &str, path: &Path) -> String {
    format!("{name}={}", path.display())
}
