//! The program as a script sees it.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use im_core::id::{DeviceId, DeviceType, Uid};
use im_core::ports::{Authenticator as _, Credentials};
use im_core::time::Timestamp;
use im_transport::jwt::{JwtAuthenticator, JwtSecret};

fn program(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_im-standalone"));
    for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("IM_")) {
        command.env_remove(key);
    }
    command.env_remove("RUST_LOG").current_dir(data).stdin(Stdio::null());
    command
}

fn run(data: &Path, args: &[&str]) -> Output {
    program(data).args(args).output().unwrap()
}

/// A server that is killed if the test forgets it.
struct Running {
    child: Child,
    /// If that is a pipe to here.
    stdout: Option<BufReader<ChildStdout>>,
}

impl Running {
    fn start(data: &Path, args: &[&str]) -> Self {
        Self::spawn(program(data).args(args))
    }

    fn spawn(command: &mut Command) -> Self {
        Self::of(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn of(mut child: Child) -> Self {
        let stdout = child.stdout.take().map(BufReader::new);
        Self { child, stdout }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.as_mut().unwrap().read_line(&mut line).unwrap();
        line
    }

    /// What the ready line says.
    fn address(&mut self) -> String {
        self.line().strip_prefix("ready tcp=").unwrap().trim_end().to_owned()
    }

    /// The time it has worked, in and for the program, in hundredths of a second.
    fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    fn signal(&self, name: &str) {
        // The shell's own kill: a bare machine has no other.
        let kill = format!("kill -s {name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Its exit code and what else it printed.
    fn end(mut self) -> (Option<i32>, String) {
        let until = Instant::now() + Duration::from_secs(20);
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < until, "the server does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut rest = String::new();
        if let Some(stdout) = &mut self.stdout {
            stdout.read_to_string(&mut rest).unwrap();
        }
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_says_where_it_listens_and_ends_well_on_sigterm_and_sigint() {
    let dir = tempfile::tempdir().unwrap();
    for signal in ["TERM", "INT"] {
        let mut server = Running::start(dir.path(), &["--tcp", "127.0.0.1:0"]);
        let ready = server.line();
        let address = ready.strip_prefix("ready tcp=127.0.0.1:").unwrap().strip_suffix('\n').unwrap();
        assert_ne!(address.parse::<u16>().unwrap(), 0);
        server.signal(signal);
        assert_eq!(server.end(), (Some(0), String::new()));
    }
    assert!(dir.path().join("im-data/store/log").exists());
}

/// What a process writes to goes nowhere any more: a pipe that nobody reads, and a full disk.
fn gone() -> [Stdio; 2] {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    [writer.into(), std::fs::File::options().write(true).open("/dev/full").unwrap().into()]
}

#[test]
fn a_server_whose_log_goes_nowhere_serves_and_sends_its_clients_away() {
    for stderr in gone() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = program(dir.path());
        command.args(["--tcp", "127.0.0.1:0", "--log", "trace"]).stdout(Stdio::piped()).stderr(stderr);
        let mut server = Running::of(command.spawn().unwrap());
        let address = server.address();
        assert!(is_served(&address));
        let mut link = TcpStream::connect(&address).unwrap();
        link.write_all(&NOOP).unwrap();
        link.read_exact(&mut [0; 20]).unwrap();
        server.signal("TERM");
        let mut rest = Vec::new();
        link.read_to_end(&mut rest).unwrap();
        let command = rest.get(8..12).map(|bytes| u32::from_be_bytes(bytes.try_into().unwrap()));
        assert_eq!(command, Some(im_proto::CmdId::KICKOUT.0));
        assert_eq!(server.end().0, Some(0));
    }
}

#[test]
fn a_server_whose_log_nobody_reads_serves_and_ends_when_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    let (mut unread, stderr) = std::io::pipe().unwrap();
    let mut command = program(dir.path());
    command.args(["--tcp", "127.0.0.1:0", "--log", "trace"]).stdout(Stdio::piped()).stderr(stderr);
    let mut server = Running::of(command.spawn().unwrap());
    drop(command);
    let address = server.address();
    assert!((0..2_000).all(|_| is_served(&address)));
    server.signal("TERM");
    assert_eq!(server.end().0, Some(0));
    let mut said = Vec::new();
    unread.read_to_end(&mut said).unwrap();
    assert!(said.len() >= 60_000, "the pipe was not full: {}", said.len());
}

#[test]
fn a_server_whose_ready_line_goes_nowhere_serves() {
    for stdout in gone() {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let mut command = program(dir.path());
        command.args(["--tcp", &address]).stdout(stdout).stderr(Stdio::null());
        let server = Running { child: command.spawn().unwrap(), stdout: None };
        expect_service_again(&address);
        server.signal("TERM");
        assert_eq!(server.end().0, Some(0));
    }
}

/// Below those that the system gives to clients.
fn free_port() -> u16 {
    let first = u16::try_from(std::process::id() % 8_000).unwrap();
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (10_000 + first..20_000).find(free).unwrap()
}

#[test]
fn a_command_whose_output_goes_nowhere_fails() {
    for stdout in gone() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = program(dir.path());
        command.args(["token", "alice"]).stdout(stdout).stderr(Stdio::piped());
        let output = command.spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(!String::from_utf8(output.stderr).unwrap().contains("panicked"));
    }
    for stderr in gone() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = program(dir.path());
        assert_eq!(child.arg("--no-such-flag").stderr(stderr).status().unwrap().code(), Some(2));
    }
}

#[test]
fn a_store_that_is_named_is_used_and_a_database_alone_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let database = "im-data/im.db";
    for args in [&["--tcp", "127.0.0.1:0", "--store", "sqlite:im-data/im.db"][..], &["--tcp", "127.0.0.1:0"]]
    {
        let mut server = Running::start(dir.path(), args);
        assert!(server.line().starts_with("ready"));
        server.signal("TERM");
        assert_eq!(server.end().0, Some(0));
        assert!(dir.path().join(database).exists());
        assert!(!dir.path().join("im-data/store").exists(), "the database that is there goes on");
    }
}

#[test]
fn who_has_a_database_is_told_how_to_change_to_a_log_and_then_that_it_is_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let serve = |args: &[&str]| {
        let mut command = program(dir.path());
        let mut child = command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = child.stderr.take().unwrap();
        let mut server = Running::of(child);
        assert!(server.line().starts_with("ready"));
        server.signal("TERM");
        assert_eq!(server.end().0, Some(0));
        let mut text = String::new();
        said.read_to_string(&mut text).unwrap();
        text
    };
    let port = ["--tcp", "127.0.0.1:0"];
    serve(&[port[0], port[1], "--store", "sqlite:im-data/im.db"]);
    // A directory is no log yet: what the database holds must not seem to be gone.
    std::fs::create_dir(dir.path().join("im-data/store")).unwrap();
    let copy = ["store", "copy", "sqlite:im-data/im.db", "log:im-data/store"];
    let told = serve(&port);
    assert!(told.contains(&format!("run `im-standalone {}`", copy.join(" "))), "{told}");
    assert!(run(dir.path(), &copy).status.success());
    let told = serve(&port);
    assert!(told.contains("leaves sqlite:im-data/im.db alone"), "{told}");
    assert!(told.contains("opens store=log:im-data/store"), "{told}");
}

#[test]
fn a_store_of_no_known_kind_is_a_wrong_setting() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), &["--store", "tape:5"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("expected log:DIR, sqlite:FILE, mysql:"));
}

#[test]
fn a_second_server_on_the_same_data_fails_and_leaves_the_first_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Running::start(dir.path(), &["--tcp", "127.0.0.1:0"]);
    assert!(first.line().starts_with("ready"));
    let second = run(dir.path(), &["--tcp", "127.0.0.1:0"]);
    assert_eq!((second.status.code(), second.stdout), (Some(1), Vec::new()));
    first.signal("TERM");
    assert_eq!(first.end().0, Some(0));
}

#[test]
fn an_address_that_is_taken_fails() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let output = run(dir.path(), &["--tcp", &taken.local_addr().unwrap().to_string()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot listen on 127.0.0.1:"));
}

#[test]
fn tokens_are_printed_one_a_line_also_while_the_server_runs() {
    let dir = tempfile::tempdir().unwrap();
    let before = run(dir.path(), &["token", "--data", "d", "--ttl", "60", "alice", "bob"]);
    assert_eq!(before.status.code(), Some(0));
    let text = String::from_utf8(before.stdout).unwrap();
    assert_eq!(text.lines().map(|token| token.split('.').count()).collect::<Vec<_>>(), [3, 3]);
    let secret = std::fs::read(dir.path().join("d/token.secret")).unwrap();
    let mut server = Running::start(dir.path(), &["--data", "d", "--tcp", "127.0.0.1:0"]);
    assert!(server.line().starts_with("ready"));
    assert_eq!(run(dir.path(), &["--data", "d", "token", "carol"]).status.code(), Some(0));
    assert_eq!(std::fs::read(dir.path().join("d/token.secret")).unwrap(), secret);
}

fn secret_in(path: &Path) -> JwtSecret {
    let digits = std::fs::read_to_string(path).unwrap();
    let digits = digits.trim_end();
    let bytes: Vec<u8> =
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect();
    JwtSecret::new(bytes).unwrap()
}

#[test]
fn racing_processes_make_one_secret() {
    let dir = tempfile::tempdir().unwrap();
    let racers: Vec<Child> = (0..8)
        .map(|_| {
            let args = ["token", "--ttl", "3600", "alice"];
            program(dir.path()).args(args).stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let outputs: Vec<Output> = racers.into_iter().map(|racer| racer.wait_with_output().unwrap()).collect();
    let authenticator = JwtAuthenticator::new(&secret_in(&dir.path().join("im-data/token.secret")));
    for output in outputs {
        let token = String::from_utf8(output.stdout).unwrap().trim_end().to_owned();
        let credentials = Credentials {
            uid: Uid::new("alice").unwrap(),
            token,
            device: DeviceId::default(),
            device_type: DeviceType::UNSPECIFIED,
        };
        let identity = futures::executor::block_on(authenticator.authenticate(&credentials, Timestamp(0)));
        assert_eq!(identity.unwrap().uid, credentials.uid);
    }
    let names: Vec<String> = std::fs::read_dir(dir.path().join("im-data"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names, ["token.secret"]);
}

#[test]
fn wrong_usage_exits_2_and_names_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("unknown.toml"), "tpc = \"127.0.0.1:0\"\n").unwrap();
    std::fs::write(dir.path().join("type.toml"), "idle-seconds = \"long\"\n").unwrap();
    std::fs::write(dir.path().join("policy.toml"), "kick = \"sometimes\"\n").unwrap();
    std::fs::write(dir.path().join("broken.toml"), "= 3\n").unwrap();
    let cases: [(&[&str], &str); 12] = [
        (&["--no-such-flag"], "--no-such-flag"),
        (&["--tcp", "nowhere"], "tcp"),
        (&["--idle-seconds", "soon"], "--idle-seconds"),
        (&["--idle-seconds", "0"], "idle-seconds"),
        (&["--max-connections", "0"], "max-connections"),
        (&["--kick", "sometimes"], "--kick"),
        (&["--config", "unknown.toml"], "tpc"),
        (&["--config", "type.toml"], "idle-seconds"),
        (&["--config", "policy.toml"], "kick"),
        (&["--config", "broken.toml"], "broken.toml"),
        (&["--config", "missing.toml"], "missing.toml"),
        (&["token"], "USER"),
    ];
    for (args, named) in cases {
        let output = run(dir.path(), args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout), (Some(2), Vec::new()), "{args:?}: {said}");
        assert!(said.contains(named), "{args:?}: {said}");
    }
    assert!(!dir.path().join("im-data").exists());
}

#[test]
fn flags_win_over_the_environment_which_wins_over_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let config = "data = \"of-file\"\ntcp = \"127.0.0.1:0\"\n";
    std::fs::write(dir.path().join("im.toml"), config).unwrap();
    let token = |flags: &[&str], env: Option<&str>| {
        let mut command = program(dir.path());
        command.args(["token", "--config", "im.toml"]).args(flags).arg("alice");
        command.envs(env.map(|data| ("IM_DATA", data)));
        assert!(command.output().unwrap().status.success());
    };
    let made = |name: &str| dir.path().join(name).join("token.secret").exists();
    token(&[], None);
    assert!(made("of-file"));
    token(&[], Some("of-env"));
    assert!(made("of-env") && !made("of-flag"));
    token(&["--data", "of-flag"], Some("of-env-2"));
    assert!(made("of-flag") && !made("of-env-2"));
}

/// Version 200, cmd 6, the noop's own sequence number, no body.
const NOOP: [u8; 20] = [0, 0, 0, 20, 0, 0, 0, 200, 0, 0, 0, 6, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0];

/// Whether a new link is served.
fn is_served(address: &str) -> bool {
    let Ok(mut link) = TcpStream::connect(address) else { return false };
    link.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut echo = [0; 20];
    link.write_all(&NOOP).is_ok() && link.read_exact(&mut echo).is_ok() && echo == NOOP
}

fn expect_service_again(address: &str) {
    let until = Instant::now() + Duration::from_secs(20);
    while !is_served(address) {
        assert!(Instant::now() < until, "it never serves again");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn links_beyond_the_limit_of_open_files_are_refused_until_others_go() {
    let dir = tempfile::tempdir().unwrap();
    let shell = "ulimit -n 100 && exec \"$0\" --tcp 127.0.0.1:0";
    let mut command = Command::new("sh");
    command.args(["-c", shell, env!("CARGO_BIN_EXE_im-standalone")]).current_dir(dir.path());
    let mut server = Running::spawn(&mut command);
    let address = server.address();
    let links: Vec<_> = (0..150).map(|_| TcpStream::connect(&address).unwrap()).collect();
    std::thread::sleep(Duration::from_millis(300));
    assert!(!is_served(&address));
    drop(links);
    expect_service_again(&address);
    server.signal("TERM");
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn a_server_that_runs_out_of_descriptors_waits_for_some_without_spinning() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Running::start(dir.path(), &["--tcp", "127.0.0.1:0"]);
    let address = server.address();
    let limit = ["--pid", &server.child.id().to_string(), "--nofile=64:64"];
    assert!(Command::new("prlimit").args(limit).status().unwrap().success());
    let links: Vec<_> = (0..150).map(|_| TcpStream::connect(&address).unwrap()).collect();
    std::thread::sleep(Duration::from_millis(500));
    let before = server.cpu_ticks();
    std::thread::sleep(Duration::from_secs(1));
    let spent = server.cpu_ticks() - before;
    assert!(spent < 20, "{spent} hundredths of a second of work in a second of waiting");
    drop(links);
    expect_service_again(&address);
    server.signal("TERM");
    assert_eq!(server.end().0, Some(0));
}
