//! The pull scenario's rounds: the messages are sent once, then read again and again, by devices that have nothing yet, and
//! straight from a copy of the store, which is the floor.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;

use crate::bench::{Bench, Round, watched};
use crate::fault::Fault;
use crate::floor::Scanner;
use crate::meter::Meter;
use crate::outcome::Outcome;
use crate::proc::Pid;
use crate::scenario::Pull;
use crate::store::StoreSpec;
use crate::target::{Accounts, Spawned, Spawner, Target};
use crate::wire::Dialect;

/// A server whose users have messages to catch up on.
pub(crate) struct CatchUp {
    pull: Pull,
    target: Target,
    rounds: u32,
    /// Keeps a server of our own running.
    _server: Option<Spawned>,
}

impl CatchUp {
    /// Sends the messages to a server that runs already.
    pub(crate) fn running(
        pull: Pull,
        address: SocketAddr,
        secret: &Path,
        pid: Option<Pid>,
    ) -> Result<Self, Fault> {
        let accounts = Accounts::with_secret(secret)?;
        let label = "pull, sending".to_owned();
        let target = Target { address, pid, dialect: Dialect::Im, accounts, label, data: None };
        pull.seed.run(&target)?;
        Ok(CatchUp { pull, target, rounds: 0, _server: None })
    }

    /// Starts a server, sends the messages, and starts it again, so that what it read and wrote meanwhile is not in its memory. The copy
    /// of its store is made in between.
    pub(crate) fn fresh(pull: Pull, spawner: &Spawner) -> Result<(Self, Scan), Fault> {
        let mut server = spawner.standalone()?;
        let target = server.target(Dialect::Im, "pull, sending".to_owned())?;
        pull.seed.run(&target)?;
        server.end();
        let scan = Scan::of(pull, server.data(), &target.accounts, spawner)?;
        let server = spawner.again(server)?;
        let again = server.target(Dialect::Im, String::new())?;
        let target = Target { accounts: target.accounts, ..again };
        Ok((CatchUp { pull, target, rounds: 0, _server: Some(server) }, scan))
    }
}

impl Bench for CatchUp {
    fn round(&mut self, label: String) -> Result<Round, Fault> {
        self.rounds += 1;
        self.target.label = label;
        let device = format!("load-{}", self.rounds);
        watched(self.target.pid, || self.pull.run(&self.target, &device))
    }
}

/// The floor of catching up: reading the same timelines from the store and doing nothing with them.
pub(crate) struct Scan {
    pull: Pull,
    users: Vec<String>,
    scanner: Scanner,
    _copy: TempDir,
}

impl Scan {
    fn of(pull: Pull, data: &Path, accounts: &Accounts, spawner: &Spawner) -> Result<Self, Fault> {
        let fault = |error: std::io::Error| Fault::system("cannot copy the store", &error);
        let copy = TempDir::with_prefix_in("im-loadgen-", &spawner.data_root).map_err(fault)?;
        copy_all(data, copy.path()).map_err(fault)?;
        let users = (0..pull.seed.users).map(|user| accounts.uid(user)).collect();
        let spec = spawner.store.clone().map_or_else(|| StoreSpec::found_in(data), Ok)?;
        let scanner = Scanner::open(&spec, copy.path())?;
        Ok(Scan { pull, users, scanner, _copy: copy })
    }
}

fn copy_all(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            fs::create_dir(&to)?;
            copy_all(&from, &to)?;
        } else {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}

impl Bench for Scan {
    fn round(&mut self, _: String) -> Result<Round, Fault> {
        let sent = self.pull.seed.all();
        watched(None, || {
            // The scan is this process's own work.
            let span = Meter::new(Some(Pid::own())).start();
            let delivered = self.scanner.scan(&self.users)?;
            let lost = sent.saturating_sub(delivered);
            Ok(Outcome { sent, delivered, lost, usage: span.end(), ..Outcome::default() })
        })
    }
}
