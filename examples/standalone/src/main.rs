//! A standalone instant-messaging server: one process, one data directory, nothing to install.

mod built;
mod cli;
mod descriptors;
mod elsewhere;
mod logging;
mod output;
mod routes;
mod runtime;
mod secret;
mod serve;
mod settings;
mod start_error;
mod store;
mod token;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};
use crate::settings::{Settings, SettingsError};
use crate::store::Location;

/// Something failed; the log says what.
const FAILED: u8 = 1;

/// The command line, the environment or the configuration file is wrong. clap uses the same number.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let code = run(&Cli::parse());
    logging::flush();
    code
}

fn run(cli: &Cli) -> ExitCode {
    let settings = match Settings::load(&cli.flags) {
        Ok(settings) => settings,
        Err(wrong) => return output::complain(&wrong, USAGE),
    };
    let filter = match settings.log_filter() {
        Ok(filter) => filter,
        Err(wrong) => return output::complain(&wrong, USAGE),
    };
    if let Err(failure) = logging::start(filter) {
        return output::complain(&failure, FAILED);
    }
    descriptors::raise_limit();
    let outcome = match &cli.command {
        None => match served(&settings) {
            Ok(location) => serve::run(&settings, &location),
            Err(wrong) => return output::complain(&wrong, USAGE),
        },
        Some(Command::Token(args)) => token::run(&settings, args),
        Some(Command::Store(args)) => return store::run(&settings, args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => output::complain(failure.as_ref(), FAILED),
    }
}

/// The store to serve, if the settings go together with it.
fn served(settings: &Settings) -> Result<Location, SettingsError> {
    let location = settings.location();
    settings.check_store(&location).map(|()| location)
}
