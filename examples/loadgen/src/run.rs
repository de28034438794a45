//! From the command line to what it asks for.

use std::time::Duration;

use crate::args::{
    C2cArgs, Command, DiskArgs, EchoArgs, FanoutArgs, GrowthArgs, PullArgs, RateArgs, RunArgs, SlowArgs,
    StormArgs,
};
use crate::catch_up::CatchUp;
use crate::fault::Fault;
use crate::floor;
use crate::highest::Highest;
use crate::proc::Pid;
use crate::rounds::{Contender, Side};
use crate::scenario::{C2c, Disk, Echo, FanOut, Growth, Idle, Pull, Scenario, Seed, SlowReader, Storm};
use crate::stage::Stage;
use crate::suite;
use crate::window::Times;

/// Does what the command line says.
pub(crate) fn run(command: Command) -> Result<(), Fault> {
    match command {
        Command::Floor(args) => floor::serve(args.floor, args.listen, &args.data),
        Command::Idle(args) => measure(&Idle { links: args.links, seconds: args.run.seconds }, &args.run),
        Command::Storm(args) => measure(&storm(&args), &args.run),
        Command::Fanout(args) => measure(&fan_out(&args), &args.run),
        Command::Slow(args) => slow(&args),
        Command::Echo(args) => rated(&args.rate, &args.run, |rate| echo(&args, rate)),
        Command::C2c(args) => rated(&args.rate, &args.run, |rate| c2c(&args, rate)),
        Command::Pull(args) => pull(&args),
        Command::Disk(args) => disk(&args),
        Command::Growth(args) => measure(&growth(&args), &args.run),
        Command::Suite(args) => suite::run(&args),
    }
}

fn storm(args: &StormArgs) -> Storm {
    let all = size(args.links);
    let at_once = args.at_once.unwrap_or(all).clamp(1, all);
    Storm { links: args.links, waves: args.waves, at_once }
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
        most: None,
        stride: 1,
        series: 0,
        floor: args.floor,
    }
}

fn growth(args: &GrowthArgs) -> Growth {
    Growth {
        from: args.min_messages,
        to: args.max_messages,
        per_user: args.per_user,
        pairs: args.pairs,
        window: args.window,
        measured: args.measured,
        size: size(args.size),
        settle: args.settle,
    }
}

fn times(run: &RunArgs) -> Times {
    Times { warmup: run.warmup, measure: run.seconds }
}

fn size(number: u32) -> usize {
    usize::try_from(number).expect("this runs on Linux, where a usize has 32 bits at least")
}

fn measure(scenario: &dyn Scenario, run: &RunArgs) -> Result<(), Fault> {
    Stage::set(run)?.measure(scenario)
}

fn fan_out(args: &FanoutArgs) -> FanOut {
    let (members, window) = (args.members, args.window);
    let (size, times) = (size(args.size), times(&args.run));
    FanOut { members, window, rate: None, size, flood: 0, slow: None, times }
}

fn slow(args: &SlowArgs) -> Result<(), Fault> {
    let run = &args.run;
    if run.floor_only {
        return Err(Fault::Usage("slow is compared with itself: say --spawn or --server".to_owned()));
    }
    let room = |slow| {
        let (size, times) = (size(args.size), times(run));
        let room = FanOut {
            members: args.members,
            window: 1,
            rate: Some(args.rate),
            size,
            flood: args.flood,
            slow,
            times,
        };
        SlowReader { room, reads: args.reads }
    };
    let (with, without) = (room(Some(args.reads)), room(None));
    let stage = Stage::set(run)?;
    let mut contenders = vec![stage.contender(Side::Ours, &with)];
    if !run.no_floor {
        contenders.push(stage.contender(Side::Without, &without));
    }
    stage.report(with.name(), with.params(), contenders)
}

fn disk(args: &DiskArgs) -> Result<(), Fault> {
    if args.run.server.is_some() {
        return Err(Fault::Usage("disk needs a server whose directory it knows: say --spawn".to_owned()));
    }
    let users = args.users.min(args.messages);
    let messages = (args.messages / users).into();
    let seed = Seed { first: 0, users, messages, size: size(args.size), senders: users };
    measure(&Disk { seed }, &args.run)
}

/// Measures at the given rate or window, or looks for the highest rate.
fn rated<S: Scenario>(rate: &RateArgs, run: &RunArgs, at: impl Fn(Option<f64>) -> S) -> Result<(), Fault> {
    let Some(bound) = rate.search else { return measure(&at(rate.rate), run) };
    let stage = Stage::set(run)?;
    let from = rate.rate.unwrap_or(1_000.0);
    let search = |side| Highest { stage: &stage, side, from, bound, at: &at };
    let contenders = stage.sides().into_iter().map(|side| Contender::new(side, search(side))).collect();
    let scenario = at(Some(from));
    let mut params = scenario.params();
    params["search_p99_us"] = bound.into();
    stage.report(scenario.name(), params, contenders)
}

fn pull(args: &PullArgs) -> Result<(), Fault> {
    let run = &args.run;
    if run.floor_only {
        return Err(Fault::Usage("pull needs a server to send to: say --spawn or --server".to_owned()));
    }
    let stage = Stage::set(run)?;
    let (users, messages) = (args.users, args.messages.into());
    let seed = Seed { first: 0, users, messages, size: size(args.size), senders: users };
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
