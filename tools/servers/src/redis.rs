use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::process::Signal;

use crate::directory::Directory;
use crate::process::Process;
use crate::program::Program;
use crate::url;

mod cluster;
mod sentinel;
mod wire;

pub use cluster::RedisCluster;
pub use sentinel::RedisSentinel;

const VARIABLE: &str = "IM_TEST_REDIS_URL";
const SERVER: Program = Program { name: "redis-server", package: "redis-server", variable: Some(VARIABLE) };

/// Nothing is written to disk: what is in Redis may be lost.
const ARGUMENTS: &[&str] =
    &["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--loglevel", "notice"];

/// A Redis server, or the one that `IM_TEST_REDIS_URL` names.
#[derive(Debug)]
pub struct Redis {
    url: String,
    own: Option<Own>,
}

/// A server that this process has started.
#[derive(Debug)]
struct Own {
    process: Mutex<Option<Process>>,
    arguments: Vec<String>,
    directory: Directory,
}

impl Redis {
    /// One server for all tests of a process: the one that `IM_TEST_REDIS_URL` names, or else one of its own. For tests that do it no harm and use keys of
    /// their own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Redis> = OnceLock::new();
        SHARED.get_or_init(|| url::named(VARIABLE).map_or_else(Self::start, |url| Self { url, own: None }))
    }

    /// A server of the caller's own. It ends when this is dropped.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// [`start`](Self::start), with more arguments for `redis-server`.
    pub fn start_with(arguments: &[&str]) -> Self {
        let directory = Directory::claim();
        let url = format!("redis://127.0.0.1:{}", directory.port());
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let server = Self { url, own: Some(Own { process: Mutex::new(None), arguments, directory }) };
        server.restart();
        server
    }

    /// The server's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The port on 127.0.0.1.
    ///
    /// # Panics
    ///
    /// As [`kill`](Self::kill).
    pub fn port(&self) -> u16 {
        self.own().directory.port()
    }

    /// Runs one command of plain words, and gives the answer as Redis writes it.
    ///
    /// # Panics
    ///
    /// If it fails, and as [`kill`](Self::kill).
    pub fn run(&self, command: &str) -> String {
        wire::run(self.port(), command).unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// Everything is lost.
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    pub fn flush(&self) {
        self.run("FLUSHALL");
    }

    /// SIGKILL: everything is lost. Returns when the server is gone; does nothing if it is not running.
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

    /// Starts the server again, empty and at its port; one that is running is killed first. Returns when the server takes connections.
    ///
    /// # Panics
    ///
    /// As [`kill`](Self::kill).
    pub fn restart(&self) {
        self.kill();
        let own = self.own();
        let log = own.directory.path().join("log");
        let mut process = Process::start(&own.command(), None, "KILL", &log);
        process.wait_until(|| wire::run(self.port(), "PING").is_ok());
        *own.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
    }

    fn own(&self) -> &Own {
        self.own
            .as_ref()
            .unwrap_or_else(|| panic!("{VARIABLE} names a server that is not this test's: use Redis::start"))
    }
}

impl Own {
    fn take(&self) -> Option<Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn command(&self) -> Command {
        let mut command = SERVER.command();
        command
            .args(arguments(self.directory.port(), self.directory.path()))
            .args(ARGUMENTS)
            .args(&self.arguments);
        command
    }
}

fn arguments(port: u16, directory: &Path) -> Vec<String> {
    ["--port", &port.to_string(), "--dir", &directory.display().to_string()].map(str::to_owned).to_vec()
}
