use std::time::{Duration, Instant};

use super::{ARGUMENTS, Redis, SERVER, arguments, wire};
use crate::directory::Directory;
use crate::process::{PATIENCE, Process};

const SERVICE: &str = "im";

/// A master and a replica, watched by one Sentinel.
#[derive(Debug)]
pub struct RedisSentinel {
    // Ends before the servers and their directories: once their ports are another's, it would reconfigure what it finds there.
    _process: Process,
    servers: [Redis; 2],
    directory: Directory,
}

impl RedisSentinel {
    /// Starts the three; they end when this is dropped. Returns when the replica follows.
    pub fn start() -> Self {
        let master = Redis::start();
        let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &master.port().to_string()]);
        let directory = Directory::claim();
        let configuration = directory.path().join("sentinel.conf");
        let port = master.port();
        let text = format!(
            "sentinel monitor {SERVICE} 127.0.0.1 {port} 1\n\
             sentinel down-after-milliseconds {SERVICE} 500\n\
             sentinel failover-timeout {SERVICE} 3000\n"
        );
        std::fs::write(&configuration, text).unwrap_or_else(|error| panic!("a Sentinel's file: {error}"));
        let mut command = SERVER.command();
        command.arg(&configuration).arg("--sentinel").args(arguments(directory.port(), directory.path()));
        command.args(&ARGUMENTS[..2]);
        let mut process = Process::start(&command, None, "KILL", &directory.path().join("log"));
        process.wait_until(|| wire::run(directory.port(), "PING").is_ok());
        let group = Self { _process: process, servers: [master, replica], directory };
        group.wait("the replica follows", || {
            let replication = group.servers[1].run("INFO replication");
            let known = wire::run(group.directory.port(), &format!("SENTINEL REPLICAS {SERVICE}"));
            let masters = wire::run(group.directory.port(), "SENTINEL MASTERS");
            // To whoever asks for a master that seems to be down there is none.
            let is_up = masters.is_ok_and(|masters| !masters.contains("s_down"));
            is_up
                && replication.contains("master_link_status:up")
                && known.is_ok_and(|known| !known.is_empty())
        });
        group
    }

    /// The URL, which names the Sentinel.
    pub fn url(&self) -> String {
        format!("redis+sentinel://127.0.0.1:{}/{SERVICE}", self.directory.port())
    }

    /// The server that is the master now, as the Sentinel sees it.
    pub fn master(&self) -> &Redis {
        let port = self.master_port();
        let found = self.servers.iter().find(|server| server.port() == port);
        found.unwrap_or_else(|| panic!("the Sentinel names a master at port {port}"))
    }

    /// The other one.
    pub fn replica(&self) -> &Redis {
        let port = self.master_port();
        let found = self.servers.iter().find(|server| server.port() != port);
        found.unwrap_or_else(|| panic!("the Sentinel names a master at port {port}"))
    }

    /// Waits until the replica has what the master wrote.
    ///
    /// # Panics
    ///
    /// If that takes too long.
    pub fn catch_up(&self) {
        let written = offset(self.master(), "master_repl_offset");
        self.wait("the replica has what the master wrote", || {
            offset(self.replica(), "slave_repl_offset") >= written
        });
    }

    /// The replica gets no more of what the master writes, as when their network fails.
    pub fn part(&self) {
        // From a master where none is.
        self.replica().run("REPLICAOF 127.0.0.1 1");
    }

    /// Kills the master. Returns when the replica is master in its place.
    pub fn fail_over(&self) {
        let before = self.master_port();
        self.master().kill();
        self.wait("the replica is promoted", || {
            self.master_port() != before && self.master().run("ROLE").starts_with("master")
        });
    }

    fn master_port(&self) -> u16 {
        let address =
            wire::run(self.directory.port(), &format!("SENTINEL GET-MASTER-ADDR-BY-NAME {SERVICE}"));
        let address = address.unwrap_or_else(|error| panic!("the Sentinel: {error}"));
        let port = address.lines().nth(1).and_then(|port| port.parse().ok());
        port.unwrap_or_else(|| panic!("the Sentinel names no master: {address}"))
    }

    fn wait(&self, what: &str, is_so: impl Fn() -> bool) {
        let started = Instant::now();
        while !is_so() {
            assert!(started.elapsed() < PATIENCE, "it takes too long until {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A position in the stream of writes, by its name in `INFO`; `None` before there is one.
fn offset(server: &Redis, name: &str) -> Option<u64> {
    let info = server.run("INFO replication");
    let line =
        info.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':').map(str::to_owned));
    line?.parse().ok()
}
