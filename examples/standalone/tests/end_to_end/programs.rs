//! The programs under test, as processes.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// The server that Cargo built for this test.
pub(crate) const STANDALONE: &str = env!("CARGO_BIN_EXE_im-standalone");

/// How long a server that was asked to end may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The folder of the programs, with `im-standalone` and `im-chat` in it. Cargo builds another package's program for its own tests
/// only. So this one has those built, with the features that all tests have: if they are there already, nothing is done.
pub(crate) fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(STANDALONE).parent().expect("a program lies in a folder").to_owned();
        if std::env::var_os("IM_TEST_BUILT").is_some() {
            return folder;
        }
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["test", "--quiet", "--workspace", "--all-features", "--no-run", "--test", "chat"]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        // Crates that look at it would be built anew.
        cargo.env_remove("RUSTC_BOOTSTRAP");
        let target = folder.parent().expect("a profile's folder lies in the target folder");
        let built = cargo.arg("--target-dir").arg(target).status().expect("cargo runs");
        assert!(built.success(), "im-chat does not build");
        folder
    })
}

/// The path of `im-chat`.
pub(crate) fn chat() -> PathBuf {
    folder().join("im-chat")
}

/// A free port below those that the system gives to clients: no client takes it while a server is down, not even one that tries to
/// reach that server.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 8_000).expect("less than 8,000");
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A server process with a data directory.
pub(crate) struct Server {
    process: Child,
    /// Where it listens: `127.0.0.1:PORT`.
    pub(crate) address: String,
    // Kept open, because a server whose output nobody takes could stop.
    _output: BufReader<ChildStdout>,
}

impl Server {
    /// Starts a server, and waits until it is ready. Its store is named as for `--store`, or is one of a kind (`log`, `sqlite`) in its data directory.
    pub(crate) fn start(data: &Path, address: &str, store: &str) -> Self {
        Self::start_with(data, address, store, &[])
    }

    /// [`start`](Self::start), with more settings from the environment.
    pub(crate) fn start_with(data: &Path, address: &str, store: &str, settings: &[(&str, &str)]) -> Self {
        let store = match store.contains(':') {
            true => store.to_owned(),
            false => format!("{store}:{}", data.join("kept").display()),
        };
        let mut process = Command::new(STANDALONE)
            .arg("--data")
            .arg(data)
            .args(["--tcp", address])
            .env("IM_STORE", store)
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let mut output = BufReader::new(process.stdout.take().expect("its output is piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("its output can be read");
        let address = line.strip_prefix("ready tcp=").unwrap_or_else(|| panic!("it said {line:?}"));
        let address = address.split_whitespace().next().expect("an address follows").to_owned();
        Self { process, address, _output: output }
    }

    /// SIGKILL: no goodbye, no flush.
    pub(crate) fn kill(self) {}

    /// SIGTERM: waits for the end; the exit code, and how long it took.
    pub(crate) fn terminate(mut self) -> (Option<i32>, Duration) {
        // The shell's own kill: a bare machine has no other.
        let kill = format!("kill -s TERM {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success());
        let asked = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().expect("its own child") {
                return (status.code(), asked.elapsed());
            }
            assert!(asked.elapsed() < PATIENCE, "the server does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A test that fails kills its servers, too.
impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A token for `user` of the server with this data directory.
pub(crate) fn token(data: &Path, user: &str) -> String {
    tokens(data, &[user.to_owned()]).remove(0)
}

/// A token for each of `users`.
pub(crate) fn tokens(data: &Path, users: &[String]) -> Vec<String> {
    let output = Command::new(STANDALONE)
        .args(["token", "--data"])
        .arg(data)
        .args(users)
        .stderr(Stdio::inherit())
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "no tokens for {users:?}");
    String::from_utf8(output.stdout).expect("a token is text").lines().map(str::to_owned).collect()
}
