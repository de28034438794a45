//! The command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use im_core::id::{DeviceId, DeviceType, IdError, Uid};

/// A whole command line, checked.
#[derive(Clone, Debug)]
pub(crate) struct Args {
    /// What to do; nothing for the interactive chat.
    pub(crate) command: Option<Command>,
    /// Who does it.
    pub(crate) account: Account,
}

/// Who talks to which server.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) server: String,
    pub(crate) user: Uid,
    pub(crate) token: String,
    pub(crate) device: Option<DeviceId>,
    pub(crate) device_type: DeviceType,
    pub(crate) state: Option<PathBuf>,
    pub(crate) connect_timeout: Duration,
}

/// Chat in the terminal.
///
/// Without a command: type lines, read lines, to users and in rooms; /help tells more. With a command, for scripts: standard output has only what is promised
/// below, logs go to standard error (IM_LOG chooses them, for example IM_LOG=debug).
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 timed out before the count, 4 the server refused or ended the login, 5 no login
/// within --connect-timeout.
#[derive(Clone, Debug, Parser)]
#[command(name = "im-chat", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,

    /// The server.
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "IM_SERVER",
        default_value = "127.0.0.1:9000",
        global = true
    )]
    server: String,

    /// Who you are.
    #[arg(long, value_name = "USER", env = "IM_USER", value_parser = user, global = true)]
    user: Option<Uid>,

    /// What the user centre gave you to show. Better in the environment, where other users of this machine do not see it.
    #[arg(long, env = "IM_TOKEN", hide_env_values = true, value_parser = NonEmptyStringValueParser::new(), global = true)]
    token: Option<String>,

    /// The name of this device among yours. Default: kept in the state directory, or a new one for each run.
    #[arg(long, value_name = "ID", value_parser = device, global = true)]
    device: Option<DeviceId>,

    /// The type of this device: android, ios, desktop, web, mini-program, tablet, or a number. Servers may allow one login for each type.
    #[arg(long, value_name = "TYPE", default_value = "desktop", value_parser = device_type, global = true)]
    device_type: DeviceType,

    /// Where this device keeps its messages, those still to be sent among them. Default: in memory, for one run.
    #[arg(long, value_name = "DIR", global = true)]
    state: Option<PathBuf>,

    /// How long to try for the first login. Later the server may be away for as long as it likes.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds, global = true)]
    connect_timeout: Duration,
}

/// The commands for scripts.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Send each line of standard input as one message, and wait until all are acknowledged.
    Send(SendOptions),
    /// Print the messages of your timeline, one JSON object a line.
    Recv(RecvOptions),
}

/// Send each line of standard input as one message.
///
/// Only the line feed is taken off; an empty line is a message, and so is a last line without a line feed. The bytes are sent as they
/// are, also where they are no UTF-8. Messages arrive in the order of the lines. The server may be restarted meanwhile.
///
/// Nothing is read before the first login. If the program is stopped before all messages are acknowledged, and --state was given, then the
/// next run with the same --state sends the rest before anything else.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SendOptions {
    /// Whom to.
    #[arg(long, value_name = "USER", value_parser = user)]
    pub(crate) to: Uid,
    /// How many messages may be on their way without an ack.
    #[arg(long, value_name = "N", default_value = "64")]
    pub(crate) window: NonZeroUsize,
    /// Print an object for each ack: client_msg_id, msgid, version, timestamp.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Print the messages of your timeline in order, your own too, one JSON object a line: version, msgid, from, to, text, timestamp.
///
/// It begins after the last message that --state holds, or with the first one. A message is acknowledged, and kept in --state, once its line
/// is flushed; a run that is killed between the two prints that line again the next time. Bytes of a text that are no UTF-8 are printed as
/// U+FFFD.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RecvOptions {
    /// Stop after this many messages.
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<NonZeroUsize>,
    /// Stop after this time: with code 3 if a count was given, else with 0.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Option<Duration>,
}

impl Args {
    /// The program's own command line. Where that is wrong, says so and exits with code 2.
    pub(crate) fn read() -> Self {
        Self::check(CommandLine::parse()).unwrap_or_else(|error| error.exit())
    }

    /// Arguments that every command needs cannot be declared so, since they may stand behind the command.
    fn check(line: CommandLine) -> Result<Self, clap::Error> {
        let missing = |what: &str| {
            let message = format!("{what} is needed; try --help");
            CommandLine::command().error(ErrorKind::MissingRequiredArgument, message)
        };
        let account = Account {
            server: line.server,
            user: line.user.ok_or_else(|| missing("--user (or IM_USER)"))?,
            token: line.token.ok_or_else(|| missing("--token (or IM_TOKEN)"))?,
            device: line.device,
            device_type: line.device_type,
            state: line.state,
            connect_timeout: line.connect_timeout,
        };
        Ok(Self { command: line.command, account })
    }
}

fn user(text: &str) -> Result<Uid, IdError> {
    Uid::new(text)
}

fn device(text: &str) -> Result<DeviceId, IdError> {
    DeviceId::new(text)
}

fn device_type(text: &str) -> Result<DeviceType, String> {
    match text {
        "android" => Ok(DeviceType::ANDROID),
        "ios" => Ok(DeviceType::IOS),
        "desktop" => Ok(DeviceType::DESKTOP),
        "web" => Ok(DeviceType::WEB),
        "mini-program" => Ok(DeviceType::MINI_PROGRAM),
        "tablet" => Ok(DeviceType::TABLET),
        number => number.parse().map(DeviceType).map_err(|_| "neither a known type nor a number".to_owned()),
    }
}

/// A time in seconds, with a fraction if wanted; at most a year, which no one waits for.
fn seconds(text: &str) -> Result<Duration, String> {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map(|time| time.min(YEAR)).map_err(|error| error.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        CommandLine::try_parse_from(line.split_whitespace()).and_then(Args::check)
    }

    #[test]
    fn the_declaration_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn accounts_may_stand_before_or_behind_the_command() {
        for line in [
            "im-chat send --to bob --user alice --token t --window 1 --json",
            "im-chat --user alice --token t send --json --to bob --window 1",
        ] {
            let args = parse(line).unwrap();
            let Some(Command::Send(send)) = args.command else { panic!("{line}") };
            assert_eq!((send.to.as_str(), send.window.get(), send.json), ("bob", 1, true));
            assert_eq!((args.account.user.as_str(), args.account.token.as_str()), ("alice", "t"));
        }
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let args = parse("im-chat send --to bob --user alice --token t").unwrap();
        let Some(Command::Send(send)) = args.command else { panic!() };
        assert_eq!((send.window.get(), send.json), (64, false));
        let account = args.account;
        assert_eq!((account.server.as_str(), account.device_type), ("127.0.0.1:9000", DeviceType::DESKTOP));
        assert_eq!((account.device, account.state), (None, None));
        assert_eq!(account.connect_timeout, Duration::from_secs(30));
    }

    #[test]
    fn recv_takes_a_count_and_a_time() {
        let args = parse("im-chat recv --count 3 --timeout 1.5 --user bob --token t").unwrap();
        let Some(Command::Recv(recv)) = args.command else { panic!() };
        assert_eq!(recv.count.map(NonZeroUsize::get), Some(3));
        assert_eq!(recv.timeout, Some(Duration::from_millis(1_500)));
    }

    #[test]
    fn wrong_usage_is_code_2() {
        let long = "x".repeat(65);
        for line in [
            "im-chat recv --token t",
            "im-chat send --user alice --token t",
            "im-chat recv --count 0 --user bob --token t",
            "im-chat recv --timeout -1 --user bob --token t",
            "im-chat recv --device-type toaster --user bob --token t",
            &format!("im-chat recv --user {long} --token t"),
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
