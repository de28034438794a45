use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::store::StoreSpec;
use crate::target::Floor;

/// Puts load on an instant-messaging server and says what it costs, beside what the barest server costs that only moves the frames.
///
/// One of --spawn, --server and --floor-only says what is measured. Rounds of the server and of the floor alternate; figures are
/// medians. Progress goes to standard error, the result to standard output.
///
/// Exit codes: 0 done; 1 the server is at fault (something lost, doubled, reordered or refused, a link cut); 2 wrong command line; 3
/// the load generator is at fault (it could not offer the load); 4 the environment is at fault (no such program or server, no
/// descriptors, too much other work on the machine for enough rounds to count).
#[derive(Debug, Parser)]
#[command(name = "im-loadgen", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Links that do nothing: the server's resident memory for each.
    Idle(IdleArgs),
    /// Round trips of keep-alives.
    Echo(EchoArgs),
    /// Direct messages between pairs: sent → arrived, sent → acked.
    C2c(C2cArgs),
    /// One says something to a room of many.
    Fanout(FanoutArgs),
    /// One of a room reads next to nothing: what the others and the server feel of it, beside the same room without that one.
    Slow(SlowArgs),
    /// All users log in at once, are cut off, and come back at once.
    Storm(StormArgs),
    /// Users who were away catch up.
    Pull(PullArgs),
    /// Direct messages to users who are away: what each takes on the server's disk, by kind of file.
    Disk(DiskArgs),
    /// A store that grows by tens: what a message costs, and how much memory the server takes, at each size.
    Growth(GrowthArgs),
    /// All of these, as the targets are set, into one table.
    Suite(SuiteArgs),
    /// Runs a floor's server until it is killed; prints `ready tcp=HOST:PORT`.
    Floor(FloorArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Start im-standalone and the floor for each round, pinned to a core, over fresh directories.
    #[arg(long, conflicts_with_all = ["server", "floor_only"])]
    pub(crate) spawn: bool,
    /// Measure the server that runs here.
    #[arg(long, value_name = "ADDR", requires = "token_secret", conflicts_with = "floor_only")]
    pub(crate) server: Option<SocketAddr>,
    /// The file with the secret that the server's tokens are signed with, as im-standalone keeps it.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_secret: Option<PathBuf>,
    /// The server's process, whose CPU time and memory are read.
    #[arg(long, value_name = "N")]
    pub(crate) server_pid: Option<u32>,
    /// Measure the floor alone.
    #[arg(long)]
    pub(crate) floor_only: bool,
    /// Leave the floor out.
    #[arg(long, conflicts_with = "floor_only")]
    pub(crate) no_floor: bool,
    /// Rounds that must count, of each side.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Seconds that a round measures.
    #[arg(long, value_name = "S", default_value = "5", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Seconds of load before that.
    #[arg(long, value_name = "S", default_value = "1", value_parser = seconds)]
    pub(crate) warmup: Duration,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
    /// The im-standalone program [default: the one beside this program].
    #[arg(long, value_name = "FILE")]
    pub(crate) standalone: Option<PathBuf>,
    /// The store that im-standalone keeps, by kind and name in its fresh data directory: log:DIR or sqlite:FILE [default: its own choice].
    #[arg(long, value_name = "STORE")]
    pub(crate) store: Option<StoreSpec>,
    /// One more argument for im-standalone; may be repeated.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub(crate) standalone_arg: Vec<String>,
    /// Where fresh data directories are made [default: the system's directory for temporary files].
    #[arg(long, value_name = "DIR")]
    pub(crate) data_root: Option<PathBuf>,
    /// The core that started servers run on.
    #[arg(long, value_name = "CPU", default_value_t = 0)]
    pub(crate) server_cpu: usize,
    /// The core that the load comes from.
    #[arg(long, value_name = "CPU", default_value_t = 1)]
    pub(crate) loader_cpu: usize,
    /// Pin nothing.
    #[arg(long)]
    pub(crate) no_pin: bool,
    /// Leave the session's scheduling group as it is.
    #[arg(long)]
    pub(crate) no_raise: bool,
    /// A round in which others used more than this, in per cent of one core, does not count.
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0)]
    pub(crate) max_others: f64,
    /// A round whose halves differ by more than this, in per cent, does not count.
    #[arg(long, value_name = "PERCENT", default_value_t = 30.0)]
    pub(crate) max_drift: f64,
    /// A round in which less than this of the offered rate was sent, in per cent, does not count.
    #[arg(long, value_name = "PERCENT", default_value_t = 99.0)]
    pub(crate) min_sent: f64,
}

/// What has a rate.
#[derive(Debug, Args)]
pub(crate) struct RateArgs {
    /// In flight for each link or sender, without --rate. A server may bound what one link may have unanswered.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) window: u32,
    /// So many a second over all, at even times, whatever is answered.
    #[arg(long, value_name = "R", value_parser = rate, conflicts_with = "window")]
    pub(crate) rate: Option<f64>,
    /// Look for the highest rate whose 99th percentile stays within this, beginning at --rate or 1,000; in every round anew, and of both
    /// sides. The figures are those at the highest rate, so `per_s` is about that rate.
    #[arg(long, value_name = "P99_US", conflicts_with = "window")]
    pub(crate) search: Option<f64>,
}

#[derive(Debug, Args)]
pub(crate) struct IdleArgs {
    /// Links; each takes a descriptor here and one in the server.
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) links: u32,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Args)]
pub(crate) struct EchoArgs {
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) links: u32,
    #[command(flatten)]
    pub(crate) rate: RateArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Args)]
pub(crate) struct C2cArgs {
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pairs: u32,
    /// Bytes of a message's content, at least 24.
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(24..=65_536))]
    pub(crate) size: u32,
    /// The shortest time between two acks of one receiver; the client library's is 50.
    #[arg(long, value_name = "MS", default_value_t = 50)]
    pub(crate) push_ack_ms: u64,
    /// What it is compared with.
    #[arg(long, value_name = "FLOOR", default_value = "relay-log")]
    pub(crate) floor: Floor,
    #[command(flatten)]
    pub(crate) rate: RateArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Args)]
pub(crate) struct FanoutArgs {
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) members: u32,
    /// Messages that not every member has.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) window: u32,
    /// Bytes of a message's content, at least 24.
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(24..=65_536))]
    pub(crate) size: u32,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SlowArgs {
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) members: u32,
    /// Messages a second, at even times.
    #[arg(long, value_name = "R", default_value = "50", value_parser = rate)]
    pub(crate) rate: f64,
    /// Bytes a second that the slow one reads; 0 for none at all.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub(crate) reads: u32,
    /// Messages before, as fast as the others have them, to fill all that may wait for the slow one.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(crate) flood: u64,
    /// Bytes of a message's content, at least 24.
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(24..=65_536))]
    pub(crate) size: u32,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StormArgs {
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) links: u32,
    /// How many times they all log in: the first is a login storm, the others are reconnects.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) waves: u32,
    /// Logins begun and not answered at one time [default: all].
    #[arg(long, value_name = "N")]
    pub(crate) at_once: Option<usize>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) users: u32,
    /// Messages for each user.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) messages: u32,
    /// Messages that one pull asks for.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(i32).range(1..))]
    pub(crate) page: i32,
    /// Bytes of a message's content, at least 24.
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(24..=65_536))]
    pub(crate) size: u32,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DiskArgs {
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) messages: u32,
    /// Receivers; each gets the same number of messages, and the rest of the division is not sent.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) users: u32,
    /// Bytes of a message's content, at least 24.
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(24..=65_536))]
    pub(crate) size: u32,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Args)]
pub(crate) struct GrowthArgs {
    /// Stored messages at the first size; each next one is ten times as large.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) min_messages: u64,
    /// Stored messages at the last size. Ten million take minutes and gigabytes.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) max_messages: u64,
    /// Stored messages for each user: ten times the messages are ten times the users.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) per_user: u64,
    /// Pairs that send and receive while a size is measured, taken evenly from all users; at most half the users of the first size.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pairs: u32,
    /// Messages in flight of each sender while a size is measured.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) window: u32,
    /// Messages that are measured at each size, on top of those stored: enough to take some hundredths of a CPU second.
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) measured: u64,
    /// Bytes of a message's content, at least 24.
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(24..=65_536))]
    pub(crate) size: u32,
    /// Seconds for which the server is left alone before a size is measured; it reminds receivers who are away after 5.
    #[arg(long, value_name = "S", default_value = "6", value_parser = seconds)]
    pub(crate) settle: Duration,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SuiteArgs {
    /// Small sizes and one round: shows that everything works, and says nothing about speed.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only these rows of the table, such as 1,2,8.
    #[arg(long, value_name = "ROWS", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Take what is finished in --json-out from there, also rows that --only leaves out, and run only the rest.
    #[arg(long, requires = "json_out")]
    pub(crate) resume: bool,
    /// Where each scenario's JSON object goes, as ROW.json, with all of them in suite.jsonl and the table in suite.md.
    #[arg(long, value_name = "DIR")]
    pub(crate) json_out: Option<PathBuf>,
    /// A Markdown file whose lines between the suite's two marks are replaced by the table.
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
    /// Rounds that must count, of each side, of each scenario [default: 5; with --quick 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: Option<u32>,
    /// The most messages that the store of the growth scenario holds.
    #[arg(long, value_name = "N", default_value_t = crate::suite::GROWN, value_parser = clap::value_parser!(u64).range(10_000..))]
    pub(crate) growth: u64,
    /// How many times a scenario that the environment spoilt is run at most.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) tries: u32,
    /// What every scenario is told besides, after `--`, such as `-- --store sqlite:im.db --max-others 10`.
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) more: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct FloorArgs {
    /// Which server.
    pub(crate) floor: Floor,
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Where relay-log keeps its log.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) data: PathBuf,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if (1.0..=1e8).contains(&rate) { Ok(rate) } else { Err("not from 1 to 100,000,000".to_owned()) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }
}
