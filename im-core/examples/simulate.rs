//! Runs many seeds of the simulated cluster, or replays one with a log.
//!
//! ```text
//! cargo run --profile simulation -p im-core --features testing --example simulate -- --seeds 10000 [--first SEED]
//! cargo run --profile simulation -p im-core --features testing --example simulate -- --replay SEED
//! cargo run --profile simulation -p im-core --features testing --example simulate -- --mutants
//! ```
use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use im_core::testing::sim::{self, Mutant};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1)?.parse::<u64>().ok()
    };
    if arguments.iter().any(|argument| argument == "--mutants") {
        return mutants(number("--seeds").unwrap_or(200));
    }
    match (number("--replay"), number("--seeds")) {
        (Some(seed), _) => replay(seed),
        (None, Some(seeds)) => many(number("--first").unwrap_or(0), seeds),
        (None, None) => {
            let usage =
                "usage: simulate (--seeds COUNT [--first SEED] | --replay SEED | --mutants [--seeds COUNT])";
            let _ = writeln!(std::io::stderr(), "{usage}");
            ExitCode::from(2)
        }
    }
}

fn many(first: u64, seeds: u64) -> ExitCode {
    let mut done = 0;
    let summary = sim::run_all(first..first + seeds, |outcome| {
        done += 1;
        if let Some(broken) = &outcome.broken {
            say(broken);
        }
        if done % 500 == 0 {
            say(format_args!("{done} of {seeds} seeds"));
        }
    });
    say(format_args!("{} seeds met:\n{}", summary.seeds, summary.counts));
    match summary.verdict() {
        Ok(()) => {
            say("no promise was broken");
            ExitCode::SUCCESS
        }
        Err(what) => {
            say(what);
            ExitCode::FAILURE
        }
    }
}

fn replay(seed: u64) -> ExitCode {
    let outcome = sim::replay(seed, None, Box::new(|line| say(line)));
    say(format_args!("trace {:016x}", outcome.trace));
    match outcome.broken {
        None => ExitCode::SUCCESS,
        Some(broken) => {
            say(broken);
            ExitCode::FAILURE
        }
    }
}

fn mutants(seeds: u64) -> ExitCode {
    let mut all_caught = true;
    for mutant in Mutant::ALL {
        let caught = (0..seeds).find_map(|seed| sim::run(seed, Some(mutant)).broken);
        all_caught &= caught.is_some();
        match caught {
            Some(broken) => {
                say(format_args!("{mutant}: seed {}, {}: {}", broken.seed, broken.invariant, broken.what))
            }
            None => say(format_args!("{mutant}: not caught in {seeds} seeds")),
        }
    }
    if all_caught { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints a line. Where nobody reads any more, as behind `head`, there is nothing left to do.
fn say(words: impl Display) {
    if writeln!(std::io::stdout(), "{words}").is_err() {
        std::process::exit(1);
    }
}
