//! From the command line to a report.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::args::{C2cArgs, Command, EchoArgs, PullArgs, RateArgs, RunArgs};
use crate::bench::{Fresh, Running};
use crate::catch_up::CatchUp;
use crate::fault::Fault;
use crate::floor;
use crate::proc::{self, Pid, Shield};
use crate::progress::Progress;
use crate::report::Report;
use crate::rounds::{Contender, Limits, Side, interleave};
use crate::scenario::{C2c, Echo, FanOut, Idle, Pull, Scenario, Seed, Storm};
use crate::search::Search;
use crate::target::{Floor, Spawner};
use crate::window::Times;

/// Does what the command line says.
pub(crate) fn run(command: Command) -> Result<(), Fault> {
    match command {
        Command::Floor(args) => floor::serve(args.floor, args.listen, &args.data),
        Command::Idle(args) => {
            let idle = Idle { links: args.links, seconds: args.run.seconds };
            measure(&idle, &args.run)
        }
        Command::Storm(args) => {
            let all = size(args.links);
            let at_once = args.at_once.unwrap_or(all).clamp(1, all);
            measure(&Storm { links: args.links, waves: args.waves, at_once }, &args.run)
        }
        Command::Fanout(args) => fan_out(
            &FanOut {
                members: args.members,
                window: args.window,
                size: size(args.size),
                times: times(&args.run),
            },
            &args.run,
        ),
        Command::Echo(args) => rated(&args.rate, &args.run, |rate| echo(&args, rate)),
        Command::C2c(args) => rated(&args.rate, &args.run, |rate| c2c(&args, rate)),
        Command::Pull(args) => pull(&args),
    }
}

fn echo(args: &EchoArgs, rate: Option<f64>) -> Echo {
    Echo { links: args.links, window: args.rate.window, rate, times: times(&args.run) }
}

fn c2c(args: &C2cArgs, rate: Option<f64>) -> C2c {
    C2c {
        pairs: args.pairs,
        window: args.rate.window,
        rate,
        size: size(args.size),
        confirm_every: Duration::from_millis(args.push_ack_ms),
        times: times(&args.run),
        floor: args.floor,
    }
}

fn times(run: &RunArgs) -> Times {
    Times { warmup: run.warmup, measure: run.seconds }
}

fn size(number: u32) -> usize {
    usize::try_from(number).expect("this runs on Linux, where a usize has 32 bits at least")
}

fn fan_out(scenario: &FanOut, run: &RunArgs) -> Result<(), Fault> {
    if !run.floor_only {
        return Err(Fault::Usage("fanout measures the floor only: say --floor-only".to_owned()));
    }
    measure(scenario, run)
}

/// Measures at the given rate or window, or looks for a rate first.
fn rated<S: Scenario>(rate: &RateArgs, run: &RunArgs, at: impl Fn(Option<f64>) -> S) -> Result<(), Fault> {
    let Some(bound) = rate.search else { return measure(&at(rate.rate), run) };
    let stage = Stage::set(run)?;
    let mut found = Vec::new();
    for side in stage.sides() {
        let from = rate.rate.unwrap_or(1_000.0);
        found.push((side, at(Some(highest(&stage, side, from, bound, &at)?))));
    }
    let contenders = found.iter().map(|(side, scenario)| stage.contender(*side, scenario)).collect();
    let params = found.first().map(|(_, scenario)| scenario.params()).unwrap_or_default();
    let params = with_search(params, bound, found.iter().map(|(side, scenario)| (*side, scenario.params())));
    stage.report(found.first().map_or("", |(_, scenario)| scenario.name()), params, contenders)
}

fn with_search(
    mut params: serde_json::Value,
    bound: f64,
    found: impl Iterator<Item = (Side, serde_json::Value)>,
) -> serde_json::Value {
    params["search_p99_us"] = bound.into();
    for (side, of_side) in found {
        params[format!("rate_{}", side.name())] = of_side["rate"].clone();
    }
    params
}

/// The highest rate of one side at which the 99th percentile stays within `bound` µs.
fn highest<S: Scenario>(
    stage: &Stage<'_>,
    side: Side,
    from: f64,
    bound: f64,
    at: &impl Fn(Option<f64>) -> S,
) -> Result<f64, Fault> {
    let mut search = Search::from(from);
    while let Some(rate) = search.next() {
        let label = format!("search, {}, {rate:.0} a second", side.name());
        let progress = Progress::new(label.clone());
        let scenario = at(Some(rate));
        let outcome = stage.contender(side, &scenario).bench.round(label)?.outcome;
        if let Some(why) = outcome.broken() {
            return Err(Fault::Product(why));
        }
        let p99 =
            outcome.latency.as_ref().and_then(|latency| latency.quantiles()).map_or(f64::MAX, |of| of.p99);
        let held = p99 <= bound && outcome.actual().is_some_and(|actual| actual >= stage.limits.actual);
        progress.note(&format!("p99 {p99:.0} µs {}", if held { "holds" } else { "does not hold" }));
        search.tell(held);
    }
    search
        .found()
        .ok_or_else(|| Fault::Product(format!("no rate keeps the 99th percentile within {bound} µs")))
}

fn measure(scenario: &dyn Scenario, run: &RunArgs) -> Result<(), Fault> {
    let stage = Stage::set(run)?;
    let contenders = stage.sides().into_iter().map(|side| stage.contender(side, scenario)).collect();
    stage.report(scenario.name(), scenario.params(), contenders)
}

fn pull(args: &PullArgs) -> Result<(), Fault> {
    let run = &args.run;
    if run.floor_only {
        return Err(Fault::Usage("pull needs a server to send to: say --spawn or --server".to_owned()));
    }
    let stage = Stage::set(run)?;
    let seed = Seed { users: args.users, messages: args.messages.into(), size: size(args.size) };
    let pull = Pull { seed, page: args.page };
    let contenders = match (run.server, &run.token_secret) {
        (Some(address), Some(secret)) => {
            let pid = run.server_pid.map(Pid);
            vec![Contender::new(Side::Ours, CatchUp::running(pull, address, secret, pid)?)]
        }
        _ => {
            let (ours, scan) = CatchUp::fresh(pull, &stage.spawner)?;
            let scan = (!run.no_floor).then(|| Contender::new(Side::Floor, scan));
            [Some(Contender::new(Side::Ours, ours)), scan].into_iter().flatten().collect()
        }
    };
    let params = serde_json::json!({
        "users": args.users, "messages": args.messages, "page": args.page, "size": args.size,
    });
    stage.report("pull", params, contenders)
}

/// Everything but the scenario.
struct Stage<'a> {
    run: &'a RunArgs,
    spawner: Spawner,
    limits: Limits,
    _shield: Option<Shield>,
}

impl<'a> Stage<'a> {
    /// Raises and pins this process, and finds what is to be started.
    fn set(run: &'a RunArgs) -> Result<Self, Fault> {
        if !run.spawn && !run.floor_only && run.server.is_none() {
            return Err(Fault::Usage("say what to measure: --spawn, --server or --floor-only".to_owned()));
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
            data_root: run.data_root.clone().unwrap_or_else(std::env::temp_dir),
            cpu: pinned.then_some(run.server_cpu),
        };
        let limits = Limits { others: run.max_others, drift: run.max_drift / 100.0, actual: 0.99 };
        Ok(Stage { run, spawner, limits, _shield: shield })
    }

    fn sides(&self) -> Vec<Side> {
        let ours = (!self.run.floor_only).then_some(Side::Ours);
        let floor = (!self.run.no_floor).then_some(Side::Floor);
        ours.into_iter().chain(floor).collect()
    }

    fn contender<'b>(&'b self, side: Side, scenario: &'b dyn Scenario) -> Contender<'b> {
        match (side, self.run.server, &self.run.token_secret) {
            (Side::Ours, Some(address), Some(secret)) => {
                let (secret, pid) = (secret.clone(), self.run.server_pid.map(Pid));
                Contender::new(side, Running { scenario, address, secret, pid })
            }
            (Side::Ours, ..) => self.fresh(side, scenario, None),
            (Side::Floor, ..) => self.fresh(side, scenario, Some(scenario.floor())),
        }
    }

    fn fresh<'b>(&'b self, side: Side, scenario: &'b dyn Scenario, floor: Option<Floor>) -> Contender<'b> {
        Contender::new(side, Fresh { scenario, spawner: &self.spawner, floor })
    }

    /// Runs the rounds and prints what they say; what is at fault, if not enough of them count.
    fn report(
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

fn beside_this_program() -> PathBuf {
    let directory = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.to_owned()));
    directory.unwrap_or_default().join("im-standalone")
}
