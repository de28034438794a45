//! What every run needs, whatever it measures: a shielded and pinned process, servers to start, rounds, a report.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::args::RunArgs;
use crate::bench::{Fresh, Running};
use crate::fault::Fault;
use crate::proc::{self, Pid, Shield};
use crate::progress::Progress;
use crate::report::Report;
use crate::rounds::{Contender, Limits, Side, interleave};
use crate::scenario::Scenario;
use crate::target::{Accounts, Floor, Spawner};

/// How long a server that runs already may take to take a link.
const PATIENCE: Duration = Duration::from_secs(5);

/// Everything but the scenario.
pub(crate) struct Stage<'a> {
    run: &'a RunArgs,
    pub(crate) spawner: Spawner,
    pub(crate) limits: Limits,
    _shield: Option<Shield>,
}

impl<'a> Stage<'a> {
    /// Raises and pins this process, and finds what is to be started.
    pub(crate) fn set(run: &'a RunArgs) -> Result<Self, Fault> {
        if !run.spawn && !run.floor_only && run.server.is_none() {
            return Err(Fault::Usage("say what to measure: --spawn, --server or --floor-only".to_owned()));
        }
        if let (Some(address), Some(secret)) = (run.server, &run.token_secret) {
            reach(address, secret, run.server_pid.map(Pid))?;
        }
        let progress = Progress::new("set-up".to_owned());
        let shield = (!run.no_raise).then(Shield::raise);
        if shield.as_ref().is_some_and(|shield| !shield.is_up()) {
            progress.note("the session's scheduling group could not be raised; neighbours may be felt");
        }
        let pinned = !run.no_pin && proc::cpus() > run.server_cpu.max(run.loader_cpu);
        if !(pinned && proc::pin(Pid::own(), run.loader_cpu)) {
            progress.note("nothing is pinned: --no-pin, too few cores, or no taskset program");
        }
        let spawner = Spawner {
            standalone: run.standalone.clone().unwrap_or_else(beside_this_program),
            arguments: run.standalone_arg.clone(),
            store: run.store.clone(),
            data_root: run.data_root.clone().unwrap_or_else(std::env::temp_dir),
            cpu: pinned.then_some(run.server_cpu),
        };
        if run.spawn {
            spawner.check()?;
        }
        let (drift, actual) = (run.max_drift / 100.0, run.min_sent / 100.0);
        let limits = Limits { others: run.max_others, drift, actual };
        Ok(Stage { run, spawner, limits, _shield: shield })
    }

    /// What is compared.
    pub(crate) fn sides(&self) -> Vec<Side> {
        let ours = (!self.run.floor_only).then_some(Side::Ours);
        let floor = (!self.run.no_floor).then_some(Side::Floor);
        ours.into_iter().chain(floor).collect()
    }

    /// One side of a scenario.
    pub(crate) fn contender<'b>(&'b self, side: Side, scenario: &'b dyn Scenario) -> Contender<'b> {
        match (side, self.run.server, &self.run.token_secret) {
            (Side::Ours | Side::Without, Some(address), Some(secret)) => {
                let (secret, pid) = (secret.clone(), self.run.server_pid.map(Pid));
                Contender::new(side, Running { scenario, address, secret, pid })
            }
            (Side::Ours | Side::Without, ..) => self.fresh(side, scenario, None),
            (Side::Floor, ..) => self.fresh(side, scenario, Some(scenario.floor())),
        }
    }

    fn fresh<'b>(&'b self, side: Side, scenario: &'b dyn Scenario, floor: Option<Floor>) -> Contender<'b> {
        Contender::new(side, Fresh { scenario, spawner: &self.spawner, floor })
    }

    /// Runs a scenario's rounds and prints what they say.
    pub(crate) fn measure(&self, scenario: &dyn Scenario) -> Result<(), Fault> {
        let contenders = self.sides().into_iter().map(|side| self.contender(side, scenario)).collect();
        self.report(scenario.name(), scenario.params(), contenders)
    }

    /// Runs the rounds and prints what they say; what is at fault, if not enough of them count.
    pub(crate) fn report(
        &self,
        name: &'static str,
        params: serde_json::Value,
        mut contenders: Vec<Contender<'_>>,
    ) -> Result<(), Fault> {
        let wanted = usize::try_from(self.run.rounds).unwrap_or(usize::MAX);
        let (void, fault) = interleave(&mut contenders, name, wanted, self.limits)?;
        let report = Report::new(name, params, &contenders, void);
        let text = if self.run.json { report.json() + "\n" } else { report.text() };
        let mut out = std::io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        written.map_err(|error| Fault::system("standard output", &error))?;
        fault.map_or(Ok(()), Err)
    }
}

/// Finds out before anything is measured whether there is a server to measure.
fn reach(address: SocketAddr, secret: &Path, pid: Option<Pid>) -> Result<(), Fault> {
    Accounts::with_secret(secret)?;
    if let Some(Pid(pid)) = pid.filter(|pid| pid.cpu_seconds().is_none()) {
        return Err(Fault::Environment(format!("there is no process {pid}")));
    }
    let link = TcpStream::connect_timeout(&address, PATIENCE);
    link.map(drop).map_err(|error| Fault::system(&format!("no server answers at {address}"), &error))
}

fn beside_this_program() -> PathBuf {
    let directory = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.to_owned()));
    directory.unwrap_or_default().join("im-standalone")
}
