//! A real text, line by line from alice to bob, who is offline, over a server that gets SIGKILL again and again: alice's client
//! finishes by itself, and two devices of bob's have every line once, in order.
//!
//! The moments of the kills come from a seed, which a failure names: `IM_SEED=… cargo test -p im-standalone --test end_to_end kill`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use im_test_servers::{MariaDb, Postgres};

use super::programs::{Server, chat, free_port, token};
use super::sharded::Databases;

/// The GNU General Public License, version 3: 674 lines, some of them empty.
pub(crate) const TEXT: &str = include_str!("gpl-3.txt");

const RUNS: u64 = 10;
const KILLS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_text_survives_kills_with_one_message_in_flight() {
    for run in 0..RUNS {
        survives("log", 1, seed() + run);
    }
}

#[test]
fn a_text_survives_kills_with_sixty_four_messages_in_flight() {
    for run in 0..RUNS {
        survives("log", 64, seed() + 1_000 + run);
    }
}

#[test]
fn a_text_survives_kills_in_a_database_too() {
    for run in 0..RUNS / 2 {
        survives("sqlite", 1, seed() + run);
        survives("sqlite", 64, seed() + 1_000 + run);
    }
}

#[test]
fn a_text_survives_kills_over_mariadb() {
    survives_over(|| MariaDb::shared().database("kills"));
}

#[test]
fn a_text_survives_kills_over_postgresql() {
    survives_over(|| Postgres::shared().database("kills"));
}

#[test]
fn a_text_survives_kills_over_two_databases() {
    for run in 0..RUNS / 5 {
        for (window, seed) in [(1, seed() + run), (64, seed() + 1_000 + run)] {
            let databases = Databases::start();
            // Every message is two halves.
            let there = databases.user_in(1 - databases.of("alice"), "bob");
            survives_to(&there, &databases.store(), window, seed);
        }
    }
}

/// Every run has a database of its own.
fn survives_over(database: impl Fn() -> String) {
    for run in 0..RUNS / 2 {
        survives(&database(), 1, seed() + run);
        survives(&database(), 64, seed() + 1_000 + run);
    }
}

pub(crate) fn seed() -> u64 {
    std::env::var("IM_SEED").map_or(20_261_121, |seed| seed.parse().expect("IM_SEED is a number"))
}

fn survives(store: &str, window: usize, seed: u64) {
    survives_to("bob", store, window, seed);
}

fn survives_to(to: &str, store: &str, window: usize, seed: u64) {
    println!("{store}, window {window}, seed {seed}");
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut chance = Chance(seed);
    let mut server = Server::start(&data, &format!("127.0.0.1:{}", free_port()), store);
    let mut alice = Sender::start(&data, &server.address, to, window);
    for acks in kill_points(&mut chance) {
        alice.wait_for(acks);
        thread::sleep(Duration::from_micros(chance.below(3_000)));
        let address = server.address.clone();
        server.kill();
        thread::sleep(Duration::from_millis(chance.below(100)));
        server = Server::start(&data, &address, store);
    }
    alice.finish();
    for device in [["phone", "1"], ["desk", "3"]] {
        assert_has_everything(&received(&data, &server.address, to, device));
    }
    server.kill();
}

/// Numbers of acks after which the server is killed, rising.
fn kill_points(chance: &mut Chance) -> BTreeSet<usize> {
    let lines = u64::try_from(TEXT.lines().count()).unwrap();
    (0..KILLS).map(|_| usize::try_from(chance.below(lines - 80)).unwrap()).collect()
}

/// A client, sending the text.
pub(crate) struct Sender {
    process: Child,
    acks: Receiver<String>,
    seen: Vec<String>,
}

impl Sender {
    /// Alice's client.
    pub(crate) fn start(data: &Path, server: &str, to: &str, window: usize) -> Self {
        Self::start_as("alice", data, server, to, window)
    }

    pub(crate) fn start_as(user: &str, data: &Path, server: &str, to: &str, window: usize) -> Self {
        let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/end_to_end/gpl-3.txt");
        let mut process = Command::new(chat())
            .args(["send", "--to", to, "--json", "--server", server, "--user", user])
            .args(["--window", &window.to_string()])
            .env("IM_TOKEN", token(data, user))
            .stdin(File::open(text).unwrap())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (line, acks) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).all(|ack| line.send(ack).is_ok()));
        Self { process, acks, seen: Vec::new() }
    }

    /// Waits until so many messages are acked.
    pub(crate) fn wait_for(&mut self, acks: usize) {
        while self.seen.len() < acks {
            let ack = self.acks.recv_timeout(PATIENCE).expect("the client goes on by itself");
            self.seen.push(ack);
        }
    }

    /// Whether messages are still to be acked.
    pub(crate) fn is_busy(&mut self) -> bool {
        self.seen.extend(self.acks.try_iter());
        self.seen.len() < TEXT.lines().count()
    }

    /// Waits for the end, and compares the acks with the text: each line was acked once.
    pub(crate) fn finish(mut self) {
        loop {
            match self.acks.recv_timeout(PATIENCE) {
                Ok(ack) => self.seen.push(ack),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("the client hangs after {} acks", self.seen.len()),
            }
        }
        assert_eq!(self.process.wait().unwrap().code(), Some(0), "the client is done");
        let lines = TEXT.lines().count();
        let versions: BTreeSet<i64> = self.seen.iter().map(|ack| number(ack, "version")).collect();
        assert_eq!(self.seen.len(), lines);
        assert!(versions.into_iter().eq(1..=i64::try_from(lines).unwrap()), "each version once");
    }
}

/// What a device of a user's that knows nothing yet receives: lines of JSON.
pub(crate) fn received(data: &Path, server: &str, user: &str, device: [&str; 2]) -> Vec<String> {
    received_of(1, data, server, user, device)
}

/// The same, from so many who send the text.
pub(crate) fn received_of(
    senders: usize,
    data: &Path,
    server: &str,
    user: &str,
    [device, kind]: [&str; 2],
) -> Vec<String> {
    let count = (senders * TEXT.lines().count()).to_string();
    let mut process = Command::new(chat())
        .args(["recv", "--count", &count, "--timeout", "60", "--server", server, "--user", user])
        .args(["--device", device, "--device-type", kind])
        .env("IM_TOKEN", token(data, user))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = String::new();
    process.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(0), "{device} got {} lines", output.lines().count());
    output.lines().map(str::to_owned).collect()
}

pub(crate) fn assert_has_everything(received: &[String]) {
    let texts: Vec<String> = received.iter().map(|line| text(line, "text")).collect();
    assert_eq!(texts, TEXT.lines().collect::<Vec<_>>());
    let versions: Vec<i64> = received.iter().map(|line| number(line, "version")).collect();
    assert!(versions.into_iter().eq(1..=i64::try_from(received.len()).unwrap()));
    let msgids: BTreeSet<String> = received.iter().map(|line| text(line, "msgid")).collect();
    assert_eq!(msgids.len(), received.len(), "no msgid comes twice");
}

fn field(line: &str, name: &str) -> serde_json::Value {
    let object: serde_json::Value = serde_json::from_str(line).unwrap();
    object.get(name).unwrap_or_else(|| panic!("no {name} in {line}")).clone()
}

pub(crate) fn number(line: &str, name: &str) -> i64 {
    field(line, name).as_i64().unwrap()
}

pub(crate) fn text(line: &str, name: &str) -> String {
    field(line, name).as_str().unwrap().to_owned()
}

/// SplitMix64.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}
