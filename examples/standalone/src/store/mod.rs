//! `im-standalone store …`: copies a stopped store into another, compares two, says what one holds, raises its epoch; and moves buckets while servers run.

mod buckets;
mod bump_epoch;
mod copy;
mod failure;
mod interrupts;
mod location;
mod progress;
mod sharded;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod sql;
#[cfg(not(any(feature = "mysql", feature = "postgres")))]
#[path = "no_sql.rs"]
mod sql;
mod stat;
mod verify;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::settings::Settings;
use crate::{FAILED, output, runtime};
use failure::Failure;
use interrupts::Interrupts;
pub(crate) use location::{Location, Locations, Opened};

#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Copies a store into a new one, of whatever kind, and compares the two.
    ///
    /// A copy that fails or is interrupted leaves TO unfinished: no server opens it. Copy again, which begins anew, or remove it.
    Copy {
        /// The store to copy: log:DIR, sqlite:FILE, mysql://… or postgres://…. It is not changed.
        #[arg(value_parser = Locations)]
        from: Location,
        /// Where the copy goes: there must be none yet, or an unfinished one.
        #[arg(value_parser = Locations)]
        to: Location,
        /// Do not compare the stores afterwards.
        #[arg(long)]
        no_verify: bool,
    },
    /// Compares two stores: exit code 0 if they answer alike, 3 if not, with the first differences.
    Verify {
        /// The one: log:DIR, sqlite:FILE, mysql://… or postgres://….
        #[arg(value_parser = Locations)]
        first: Location,
        /// The other.
        #[arg(value_parser = Locations)]
        second: Location,
    },
    /// Counts what a store holds, by reading all of it.
    Stat {
        /// The store: log:DIR, sqlite:FILE, mysql://… or postgres://… [default: the server's].
        #[arg(value_parser = Locations)]
        store: Option<Location>,
    },
    /// Makes or changes a store's tables for this version, and nothing else. A server does the same when it starts, if its database user may.
    Migrate {
        /// The store: log:DIR, sqlite:FILE, mysql://…, postgres://… or sharded:FILE [default: the server's].
        #[arg(value_parser = Locations)]
        store: Option<Location>,
    },
    /// Tells clients that a store lost messages which it had acknowledged: after it was restored from a backup, or failed over to a replica that lagged.
    ///
    /// Stop all its servers, bring the store back, raise the epoch, and only then start them. Every client then reads its timeline anew and
    /// keeps what it has. Without it, clients take new messages for those that the store lost, or end. To raise it in vain costs that reading and
    /// nothing else. Servers that run meanwhile stop within seconds, and until then go on under the old epoch.
    BumpEpoch {
        /// The store: log:DIR, sqlite:FILE, mysql://…, postgres://… or sharded:FILE, of which the first database keeps the epoch [default: the server's].
        #[arg(value_parser = Locations)]
        store: Option<Location>,
    },
    /// Says which of several databases keeps which buckets, a line each, also while servers run.
    Buckets {
        /// The store: sharded:FILE [default: the server's].
        #[arg(value_parser = Locations)]
        store: Option<Location>,
    },
    /// Moves buckets of users and groups to another of several databases, while servers run.
    ///
    /// To add a database, write it at the end of the file, restart the servers one by one, and then move buckets to it. Writes to a bucket
    /// wait for less than a second. If it fails or is interrupted, every bucket is where it was or where it is to be: run it again.
    Move {
        /// The store: sharded:FILE [default: the server's].
        #[arg(value_parser = Locations)]
        store: Option<Location>,
        /// The database, by its place in the file, from 0.
        #[arg(long, value_name = "PLACE")]
        to: usize,
        /// Which of the 4096 buckets, as numbers and ranges: 0-63,100.
        #[arg(long, value_name = "BUCKETS")]
        buckets: buckets::Buckets,
    },
}

/// Two stores answer differently.
const DIFFERENT: u8 = 3;

/// A signal ended it, SIGINT or SIGTERM: 128 and SIGINT's number, as a shell says it.
const INTERRUPTED: u8 = 130;

/// Does what was asked; how the process ends.
pub(crate) fn run(settings: &Settings, args: &StoreArgs) -> ExitCode {
    match runtime::block_on(serve(settings, &args.command))
        .unwrap_or_else(|error| Err(Failure::Runtime(error)))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Different) => ExitCode::from(DIFFERENT),
        Err(failure) => {
            let code = if failure.is_interruption() { INTERRUPTED } else { FAILED };
            output::complain(&failure, code)
        }
    }
}

async fn serve(settings: &Settings, command: &StoreCommand) -> Result<(), Failure> {
    let named = |store: &Option<Location>| store.clone().unwrap_or_else(|| settings.location());
    let mut interrupts = Interrupts::listen()?;
    match command {
        StoreCommand::Copy { from, to, no_verify } => copy::run(from, to, !no_verify, &mut interrupts).await,
        StoreCommand::Verify { first, second } => verify::run(first, second, &mut interrupts).await,
        StoreCommand::Stat { store } => interrupts.within(stat::run(&named(store))).await?,
        StoreCommand::Migrate { store } => interrupts.within(migrate(&named(store))).await?,
        StoreCommand::BumpEpoch { store } => interrupts.within(bump_epoch::run(&named(store))).await?,
        StoreCommand::Buckets { store } => interrupts.within(buckets::list(&named(store))).await?,
        StoreCommand::Move { store, to, buckets } => {
            buckets::relocate(&named(store), buckets, *to, &mut interrupts).await
        }
    }
}

async fn migrate(location: &Location) -> Result<(), Failure> {
    location.serve().await?.close().await;
    output::line(&format!("migrated store={location}"))?;
    Ok(())
}
