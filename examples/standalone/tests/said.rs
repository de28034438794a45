//! What the program says when something around it is wrong: the cause, and what to do.

#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use im_proto::CmdId;
use im_proto::v1::{AuthRequest, C2cRequest, LogoutRequest};
use im_test_servers::{MariaDb, Redis};
use tempfile::TempDir;

/// How long anything may take on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a server says whose name has a lease that was not given back.
const KILLED: &str = "a server of this name was killed a moment ago, or still runs; if it runs, it stops now";

/// A process whose output goes to files, so that it can be read at any time.
struct Process {
    child: Child,
    folder: TempDir,
}

impl Process {
    fn start(data: &Path, args: &[&str], env: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name| std::fs::File::create(folder.path().join(name)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_im-standalone"));
        for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("IM_")) {
            command.env_remove(key);
        }
        command.env_remove("RUST_LOG").envs(env.iter().copied()).current_dir(data).args(args);
        let child = command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err")).spawn().unwrap();
        Self { child, folder }
    }

    /// A server over these, and with a port of its own.
    fn serve(data: &Path, args: &[&str], env: &[(&str, &str)]) -> Self {
        Self::start(data, &[&["--tcp", "127.0.0.1:0"], args].concat(), env)
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("err")).unwrap()
    }

    /// Where it listens: it has said so.
    fn address(&self) -> String {
        let out = std::fs::read_to_string(self.folder.path().join("out")).unwrap();
        out.trim_end().strip_prefix("ready tcp=").unwrap().to_owned()
    }

    /// Waits until it serves.
    fn ready(mut self) -> Self {
        let asked = Instant::now();
        while !std::fs::read_to_string(self.folder.path().join("out")).unwrap().starts_with("ready") {
            assert!(self.child.try_wait().unwrap().is_none(), "{}", self.said());
            assert!(asked.elapsed() < PATIENCE, "it does not serve: {}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
        self
    }

    fn signal(&self, name: &str) {
        // The shell's own kill: a bare machine has no other.
        let kill = format!("kill -s {name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits until it ends: its exit code, and what it said.
    fn end(&mut self) -> (Option<i32>, String) {
        let asked = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), self.said());
            }
            assert!(asked.elapsed() < PATIENCE, "it does not end: {}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn of_two_servers_of_one_name_the_older_says_which_name_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let (store, redis) = (MariaDb::shared().database("names"), Redis::start());
    let env = [("IM_STORE", &*store), ("IM_ROUTES", redis.url())];
    for (args, name, is_warned) in [(&[][..], "standalone", true), (&["--node", "a"], "a", false)] {
        let mut older = Process::serve(dir.path(), args, &env).ready();
        let warning = format!(
            "has the name of every server that is given none, of which only one can run: give each its --node node=\"{name}\""
        );
        assert_eq!(older.said().matches(&warning).count(), usize::from(is_warned), "{}", older.said());
        let newer = Process::serve(dir.path(), args, &env).ready();
        let (code, said) = older.end();
        assert_eq!(code, Some(1), "{said}");
        let error = said.lines().last().unwrap();
        assert!(error.contains(&format!("another server runs under this one's name, {name:?}")), "{error}");
        assert!(error.contains("--node"), "{error}");
        assert!(newer.said().contains(KILLED), "{}", newer.said());
    }
}

/// Takes connections, and says nothing.
fn silent() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

#[test]
fn what_is_wrong_with_redis_is_said_before_a_store_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let (open, guarded, silent) = (Redis::start(), Redis::start(), silent());
    guarded.run("CONFIG SET requirepass opensesame");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // A database that is not there: it would be told first, if it were opened first.
    let store = format!("mysql://im@127.0.0.1:{nobody}/im");
    let denied = "Redis does not let the user in";
    let foreign = "what answers at the address is not what the URL says: a Redis, a Sentinel";
    for (url, told, code) in [
        (format!("redis://:sesame@127.0.0.1:{}", guarded.port()), denied, 1),
        (format!("redis://127.0.0.1:{}", guarded.port()), denied, 1),
        (
            format!("redis://:sesame@127.0.0.1:{nobody}"),
            "is it running, and is the address right?: Connection refused",
            1,
        ),
        ("redis://:sesame@no-such-host.invalid".to_owned(), "failed to lookup address", 1),
        (format!("redis://{}", silent.local_addr().unwrap()), "nothing at the address answers as a Redis", 1),
        (format!("redis://:sesame@127.0.0.1:{}", MariaDb::shared().port()), foreign, 1),
        (format!("redis+sentinel://127.0.0.1:{}/im", open.port()), foreign, 1),
        (format!("redis+cluster://127.0.0.1:{}", open.port()), foreign, 1),
        ("http://user:sesame@127.0.0.1".to_owned(), "a Redis URL is like redis://HOST:PORT", 2),
    ] {
        let ended = Process::serve(dir.path(), &[], &[("IM_ROUTES", &*url), ("IM_STORE", &store)]).end();
        assert_eq!(ended.0, Some(code), "{url}: {}", ended.1);
        let error = ended.1.lines().last().unwrap();
        assert!(error.starts_with("error: ") && error.contains("outes"), "{url}: {error}");
        assert!(error.contains(told) && !error.contains("sesame"), "{url}: {error}");
    }
}

#[test]
fn routes_for_several_servers_over_a_store_for_one_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let redis = Redis::start();
    std::fs::write(dir.path().join("files.toml"), "databases = [\"mysql://im@db/im\", \"sqlite:a.db\"]")
        .unwrap();
    for (args, store) in [
        (&[][..], "log:im-data/store"),
        (&["--store", "sqlite:im.db"], "sqlite:im.db"),
        (&["--store", "sharded:files.toml"], "sharded:files.toml"),
    ] {
        let (code, said) = Process::serve(dir.path(), args, &[("IM_ROUTES", redis.url())]).end();
        assert_eq!(code, Some(2), "{said}");
        let error = said.lines().last().unwrap();
        assert!(error.starts_with("error: routes: ") && error.contains(store), "{error}");
        assert!(error.contains("--store mysql://") && error.contains("leave the routes out"), "{error}");
    }
    assert!(!dir.path().join("im-data").exists(), "nothing is made");
    // Tokens are made for whatever server.
    let made = Process::start(dir.path(), &["token", "alice"], &[("IM_ROUTES", redis.url())]).end();
    assert_eq!(made.0, Some(0), "{}", made.1);
}

#[test]
fn a_second_server_of_a_database_without_routes_is_told_beside_whom_it_would_serve() {
    let dir = tempfile::tempdir().unwrap();
    let store = MariaDb::shared().database("lonely");
    let first = Process::serve(dir.path(), &["--node", "a"], &[("IM_STORE", &*store)]).ready();
    let (code, said) = Process::serve(dir.path(), &["--node", "b"], &[("IM_STORE", &*store)]).end();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("waits to see whether it still runs"), "{said}");
    let error = said.lines().last().unwrap();
    assert!(
        error.contains("the server \"a\" serves the same store") && error.contains("--routes"),
        "{error}"
    );
    // The same server again takes its place at once, as it always did.
    let again = Process::serve(dir.path(), &["--node", "a"], &[("IM_STORE", &*store)]).ready();
    assert!(!again.said().contains("waits to see"), "{}", again.said());
    drop(first);
}

#[test]
fn two_deployments_share_a_redis_only_apart() {
    let dir = tempfile::tempdir().unwrap();
    let redis = Redis::start();
    let [one, other] = ["one", "other"].map(|name| MariaDb::shared().database(name));
    let serve = |store: &str, more: &[(&str, &str)]| {
        let env = [&[("IM_STORE", store), ("IM_ROUTES", redis.url())], more].concat();
        Process::serve(dir.path(), &["--node", "a"], &env)
    };
    let _one = serve(&one, &[]).ready();
    let (code, said) = serve(&other, &[]).end();
    assert_eq!(code, Some(1), "{said}");
    let error = said.lines().last().unwrap();
    assert!(error.contains("servers of another store use what --routes"), "{error}");
    assert!(error.contains("--routes-prefix"), "{error}");
    let in_next = format!("{}/1", redis.url());
    for apart in [("IM_ROUTES_PREFIX", "other"), ("IM_ROUTES", &in_next)] {
        let other = serve(&other, &[apart]).ready();
        assert!(!other.said().contains("WARN"), "{}", other.said());
    }
    for wrong in ["", "im:u"] {
        let (code, said) = serve(&other, &[("IM_ROUTES_PREFIX", wrong)]).end();
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("error: routes-prefix: ") && said.contains("a prefix has 1 to 64"), "{said}");
    }
}

#[test]
fn a_redis_that_would_refuse_every_login_is_told_instead_of_readiness() {
    let dir = tempfile::tempdir().unwrap();
    let redis = Redis::start();
    let store = MariaDb::shared().database("refused");
    let user = |rights: &str| {
        redis.run(&format!("ACL SETUSER im reset on >secret ~im:* &im:* +@read +@write +@pubsub +evalsha +script|load +time +ping {rights}"));
        format!("redis://im:secret@127.0.0.1:{}", redis.port())
    };
    let ends = |url: &str, told: &str| {
        let mut server = Process::serve(dir.path(), &[], &[("IM_STORE", &*store), ("IM_ROUTES", url)]);
        let (code, said) = server.end();
        assert_eq!(code, Some(1), "{said}");
        let error = said.lines().last().unwrap();
        assert!(error.starts_with("error: cannot use what --routes or IM_ROUTES names: "), "{error}");
        assert!(error.contains(told) && !error.contains("secret"), "{error}");
        assert_eq!(std::fs::read_to_string(server.folder.path().join("out")).unwrap(), "", "no readiness");
    };
    ends(&user("-evalsha"), "to run the 'evalsha' command");
    ends(&user("resetchannels"), "its ACL has to allow");
    redis.run("REPLICAOF 127.0.0.1 1");
    ends(redis.url(), "it is a replica: name the master");
    redis.run("REPLICAOF NO ONE");
    let url = user("");
    Process::serve(dir.path(), &[], &[("IM_STORE", &*store), ("IM_ROUTES", &url)]).ready();
}

#[test]
fn a_port_on_which_no_such_database_answers_is_told_by_what_was_expected_there() {
    let dir = tempfile::tempdir().unwrap();
    let redis = Redis::start();
    let asked = [
        (format!("mysql://im:sesame@127.0.0.1:{}/im", redis.port()), "answers as MySQL or MariaDB does"),
        ("postgres://im:sesame@127.0.0.1:1/im".to_owned(), "Connection refused"),
        (format!("postgres://im:sesame@127.0.0.1:{}/im", redis.port()), "answers as PostgreSQL does"),
        (format!("postgres://im:sesame@127.0.0.1:{}/im", MariaDb::shared().port()), "is not PostgreSQL"),
    ];
    let asked = asked.map(|(url, told)| (Process::serve(dir.path(), &[], &[("IM_STORE", &*url)]), told));
    for (mut process, told) in asked {
        let (code, said) = process.end();
        assert_eq!(code, Some(1), "{said}");
        let error = said.lines().last().unwrap();
        assert!(error.contains(told) && !error.contains("sesame"), "{error}");
    }
}

fn frame(cmd: CmdId, body: &impl prost::Message) -> Vec<u8> {
    let body = body.encode_to_vec();
    let header = [20, 200, cmd.0, 1, u32::try_from(body.len()).unwrap()].map(u32::to_be_bytes).concat();
    [header, body].concat()
}

/// Says one thing after the other, each but the last once there is an answer, and waits until the link is closed.
fn say(address: &str, frames: &[Vec<u8>]) {
    let mut link = TcpStream::connect(address).unwrap();
    link.set_read_timeout(Some(PATIENCE)).unwrap();
    for (at, frame) in (1..).zip(frames) {
        link.write_all(frame).unwrap();
        if at < frames.len() {
            let mut header = [0; 20];
            link.read_exact(&mut header).unwrap();
            let length = u32::from_be_bytes(header[16..].try_into().unwrap());
            link.read_exact(&mut vec![0; usize::try_from(length).unwrap()]).unwrap();
        }
    }
    let _ = link.read_to_end(&mut Vec::new());
}

/// Asks for a login that is refused.
fn log_in(address: &str, user: &str) {
    let (uid, token) = (user.to_owned(), "none".to_owned());
    say(address, &[frame(CmdId::AUTH, &AuthRequest { uid, token, ..AuthRequest::default() })]);
}

#[test]
fn logins_that_fail_while_redis_is_away_are_told_once_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let (store, redis) = (MariaDb::shared().database("away"), Redis::start());
    let env = [("IM_STORE", &*store), ("IM_ROUTES", redis.url())];
    let server = Process::serve(dir.path(), &["--node", "a"], &env).ready();
    redis.kill();
    let began = Instant::now();
    // Away for so long that logins are refused before anybody looks at their tokens.
    while !server.said().contains("cut off from the router") {
        assert!(began.elapsed() < PATIENCE, "{}", server.said());
        std::thread::sleep(Duration::from_millis(50));
    }
    let asked = Instant::now();
    for user in 0..40 {
        log_in(&server.address(), &format!("user-{user}"));
    }
    let most = 2 + usize::try_from(asked.elapsed().as_secs()).unwrap();
    let said = server.said();
    let told = said.matches("login failed user=\"user-").count();
    assert!((1..=most).contains(&told), "{said}");
    assert!(said.contains("cause=\"the router is out of reach\""), "{said}");
    assert_eq!(said.matches("routes of closed links stay").count(), 0, "{said}");
}

#[test]
fn a_server_that_is_asked_to_stop_says_so_and_when_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Process::serve(dir.path(), &[], &[]).ready();
    let link = TcpStream::connect(server.address()).unwrap();
    server.signal("TERM");
    let (code, said) = server.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("stops: sends clients away") && said.contains("signal=\"SIGTERM\""), "{said}");
    assert!(said.lines().last().unwrap().ends_with("stopped"), "{said}");
    drop(link);
}

#[test]
fn only_a_server_that_was_killed_is_told_of_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let started = |signal: &str| {
        let mut server = Process::serve(dir.path(), &[], &[]).ready();
        server.signal(signal);
        server.end().1
    };
    let said = ["TERM", "INT", "KILL", "TERM"].map(started);
    assert_eq!(said.each_ref().map(|said| said.contains(KILLED)), [false, false, false, true], "{said:?}");
}

/// Something that takes a connection, answers nothing, and tells when it has one.
struct Silent(TcpListener);

impl Silent {
    fn new() -> Self {
        Self(silent())
    }

    fn url(&self, scheme: &str, place: &str) -> String {
        format!("{scheme}://im:sesame@{}{place}", self.0.local_addr().unwrap())
    }

    /// Signals the process once it waits for an answer. How long it takes to end is told by how it ends: a wait that is not cut off
    /// ends in a failure.
    fn end(&self, mut process: Process, signal: &str) -> (Option<i32>, String) {
        let link = self.accept(&mut process);
        process.signal(signal);
        let ended = process.end();
        drop(link);
        ended
    }

    /// The connection of a process, which must not end before.
    fn accept(&self, process: &mut Process) -> TcpStream {
        self.0.set_nonblocking(true).unwrap();
        let asked = Instant::now();
        loop {
            match self.0.accept() {
                Ok((link, _)) => return link,
                Err(none) => assert_eq!(none.kind(), std::io::ErrorKind::WouldBlock),
            }
            assert!(process.child.try_wait().unwrap().is_none(), "{}", process.said());
            assert!(asked.elapsed() < PATIENCE, "it does not connect: {}", process.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_server_that_still_waits_for_its_database_or_redis_stops_when_it_is_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    let silent = Silent::new();
    let (mysql, postgres) = (silent.url("mysql", "/im"), silent.url("postgres", "/im"));
    let redis = silent.url("redis", "");
    for env in [
        &[("IM_STORE", &*mysql)][..],
        &[("IM_STORE", &postgres)],
        &[("IM_STORE", &mysql), ("IM_ROUTES", &redis)],
    ] {
        for signal in ["TERM", "INT"] {
            let server = Process::serve(dir.path(), &[], env);
            let (code, said) = silent.end(server, signal);
            assert_eq!(code, Some(0), "{env:?}: {said}");
            let last = said.lines().last().unwrap();
            assert!(last.contains("stops before it serves") && last.contains(signal), "{said}");
        }
    }
}

#[test]
fn commands_about_stores_stop_while_they_wait_for_a_database() {
    let dir = tempfile::tempdir().unwrap();
    let silent = Silent::new();
    let url = silent.url("mysql", "/im");
    std::fs::write(dir.path().join("several.toml"), format!("databases = [{url:?}]\n")).unwrap();
    let several = "sharded:several.toml";
    for words in [
        &["copy", &url, "log:copy"][..],
        &["verify", &url, "log:copy"],
        &["stat", &url],
        &["migrate", &url],
        &["bump-epoch", &url],
        &["buckets", several],
        &["move", several, "--to", "0", "--buckets", "1"],
    ] {
        let process = Process::start(dir.path(), &[&["store"], words].concat(), &[]);
        let (code, said) = silent.end(process, "TERM");
        assert_eq!(code, Some(130), "{words:?}: {said}");
        assert_eq!(said.lines().last(), Some("error: interrupted"), "{words:?}: {said}");
    }
}

#[test]
fn a_database_that_takes_no_writes_is_told_instead_of_readiness() {
    let dir = tempfile::tempdir().unwrap();
    let database = MariaDb::start();
    let store = database.database("reads");
    drop(Process::serve(dir.path(), &[], &[("IM_STORE", &*store)]).ready());
    let (place, name) = store.rsplit_once('/').unwrap();
    let place = place.rsplit_once('@').unwrap().1;
    let theirs = format!("mysql://guest:sesame@{place}/{name}");
    database.execute("CREATE USER guest IDENTIFIED BY 'sesame'");
    for (grant, state, told) in [
        (
            "SELECT",
            "SET GLOBAL read_only = 0",
            ["does not take the server's first write", "command denied to user 'guest'"],
        ),
        (
            "SELECT, INSERT, UPDATE, DELETE",
            "SET GLOBAL read_only = 1",
            ["cannot open", "the database is read-only"],
        ),
    ] {
        database.execute(&format!("GRANT {grant} ON {name}.* TO guest"));
        database.execute(state);
        let (code, said) = Process::serve(dir.path(), &[], &[("IM_STORE", &*theirs)]).end();
        assert_eq!(code, Some(1), "{said}");
        let error = said.lines().last().unwrap();
        assert!(told.iter().all(|told| error.contains(told)), "{error}");
        assert!(!error.contains("sesame"), "{error}");
    }
}

const OPERATIONS: &str = include_str!("../../../docs/operations.md");

/// The lines of the log that the manual shows; `…` stands for what differs each time.
fn documented() -> Vec<&'static str> {
    let section = OPERATIONS.split("## Who came and went").nth(1).unwrap();
    section.split("```").nth(1).unwrap().lines().skip(1).collect()
}

/// Whether a line is a pattern with something for each `…`.
fn fits(line: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap()) else { return false };
    for part in parts {
        match rest.find(part) {
            _ if part.is_empty() => return !rest.is_empty(),
            Some(at) if at > 0 => rest = &rest[at + part.len()..],
            _ => return false,
        }
    }
    rest.is_empty()
}

/// The token that the server with this data takes from the user.
fn token(data: &Path, user: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_im-standalone"));
    let output = command.args(["token", "--data"]).arg(data).arg(user).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

#[test]
fn the_log_tells_who_came_and_went_in_the_words_of_the_manual() {
    let dir = tempfile::tempdir().unwrap();
    let [ours, theirs] = ["im-data", "other"].map(|data| token(&dir.path().join(data), "alice"));
    let mut server = Process::serve(dir.path(), &[], &[]).ready();
    let auth = |token: &str| {
        let (uid, device_id, token) = ("alice".to_owned(), "phone".to_owned(), token.to_owned());
        let device_type = 1;
        frame(CmdId::AUTH, &AuthRequest { uid, device_id, device_type, token, ..AuthRequest::default() })
    };
    let logout = frame(CmdId::LOGOUT, &LogoutRequest::default());
    say(&server.address(), &[auth(&ours), logout]);
    say(&server.address(), &[auth(&theirs)]);
    say(&server.address(), &[frame(CmdId::C2C_SEND, &C2cRequest::default())]);
    server.signal("TERM");
    let said = server.end().1;
    let lines: Vec<&str> =
        said.lines().filter_map(|line| Some(line.split_once('Z')?.1.trim_start())).collect();
    let mut rest = lines.iter();
    for pattern in documented() {
        assert!(rest.any(|line| fits(line, pattern)), "{pattern}\nis not in its place in\n{said}");
    }
    assert!(!said.contains(&ours) && !said.contains(&theirs), "{said}");
}
