use std::net::SocketAddr;
use std::path::PathBuf;

use crate::fault::Fault;
use crate::outcome::Outcome;
use crate::proc::{Others, Pid};
use crate::scenario::Scenario;
use crate::target::{Accounts, Floor, Spawner, Target};
use crate::wire::Dialect;

/// One round, and how loud the machine was meanwhile.
pub(crate) struct Round {
    pub(crate) outcome: Outcome,
    /// What others used, in per cent of one core.
    pub(crate) others: f64,
}

/// What can be measured again and again.
pub(crate) trait Bench {
    /// One round; `label` is what progress calls it.
    fn round(&mut self, label: String) -> Result<Round, Fault>;
}

/// Runs something while others are watched.
pub(crate) fn watched(
    server: Option<Pid>,
    run: impl FnOnce() -> Result<Outcome, Fault>,
) -> Result<Round, Fault> {
    let others = Others::watch(server.into_iter().chain([Pid::own()]).collect());
    let outcome = run()?;
    Ok(Round { others: others.percent(), outcome })
}

/// A server that is started afresh for each round: ours, or a floor.
pub(crate) struct Fresh<'a> {
    pub(crate) scenario: &'a dyn Scenario,
    pub(crate) spawner: &'a Spawner,
    pub(crate) floor: Option<Floor>,
}

impl Bench for Fresh<'_> {
    fn round(&mut self, label: String) -> Result<Round, Fault> {
        let (server, dialect) = match self.floor {
            Some(floor) => (self.spawner.floor(floor)?, Dialect::Floor),
            None => (self.spawner.standalone()?, Dialect::Im),
        };
        let target = server.target(dialect, label)?;
        watched(target.pid, || self.scenario.run(&target))
    }
}

/// A server that runs already.
pub(crate) struct Running<'a> {
    pub(crate) scenario: &'a dyn Scenario,
    pub(crate) address: SocketAddr,
    pub(crate) secret: PathBuf,
    pub(crate) pid: Option<Pid>,
}

impl Running<'_> {
    fn target(&self, label: String) -> Result<Target, Fault> {
        let accounts = Accounts::with_secret(&self.secret)?;
        let (address, pid) = (self.address, self.pid);
        Ok(Target { address, pid, dialect: Dialect::Im, accounts, label, data: None })
    }
}

impl Bench for Running<'_> {
    fn round(&mut self, label: String) -> Result<Round, Fault> {
        let target = self.target(label)?;
        watched(target.pid, || self.scenario.run(&target))
    }
}
