//! A load generator for the instant-messaging servers of this workspace. It opens many links, logs users in, runs a scenario and
//! checks what arrived; beside it run floors, servers that do nothing but move the same frames.

mod args;
mod bench;
mod catch_up;
mod check;
mod clock;
mod fault;
mod figures;
mod floor;
mod growth;
mod highest;
mod latency;
mod meter;
mod net;
mod outcome;
mod pace;
mod proc;
mod progress;
mod report;
mod rounds;
mod run;
mod scenario;
mod search;
mod stage;
mod store;
mod stored;
mod suite;
mod target;
mod window;
mod wire;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match run::run(args::Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            // Nobody is left to tell.
            let _ = writeln!(std::io::stderr().lock(), "im-loadgen: {fault}");
            fault.exit_code()
        }
    }
}
