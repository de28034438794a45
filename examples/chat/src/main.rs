//! A terminal chat client: `im-chat` to talk, `im-chat send` and `im-chat recv` for scripts.
//!
//! Standard output has only what scripts may rely on; logs and progress go to standard error. See [`args`] for the command line and
//! [`exit`] for the exit codes.

mod args;
mod exit;
mod interactive;
mod lines;
mod output;
mod progress;
mod recv;
mod send;
mod session;
mod state;

use std::io::Write;
use std::process::ExitCode;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use args::{Args, Command};
use exit::{Exit, Failure};
use session::Session;

#[tokio::main]
async fn main() -> ExitCode {
    log_to_stderr();
    let args = Args::read();
    let exit = run(args).await.unwrap_or_else(|failure| {
        let _ = writeln!(std::io::stderr(), "im-chat: {}", failure.in_full());
        failure.exit()
    });
    exit.into()
}

async fn run(args: Args) -> Result<Exit, Failure> {
    let Args { command, account } = args;
    match command {
        Some(Command::Send(options)) => {
            let session = Session::open(&account, |config| {
                config.window = options.window.get();
                // What others write is for `recv`: it would only be thrown away here.
                config.max_unapplied = 0;
            });
            send::run(session.await?, options).await
        }
        Some(Command::Recv(options)) => recv::run(Session::open(&account, |_| {}).await?, options).await,
        None => interactive::run(Session::open(&account, |_| {}).await?).await,
    }
}

/// What `IM_LOG` asks for, by default warnings. A line that cannot be written is dropped.
fn log_to_stderr() {
    let asked = std::env::var("IM_LOG").ok().and_then(|filter| filter.parse().ok());
    let filter = asked.unwrap_or_else(|| Targets::new().with_default(LevelFilter::WARN));
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        // Else it is complained of on standard error too, which panics where that is gone.
        .log_internal_errors(false);
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
}
