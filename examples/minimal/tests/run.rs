//! The program runs, serves, and ends when asked to.

#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Version 200, cmd 6, the noop's own sequence number, no body.
const NOOP: [u8; 20] = [0, 0, 0, 20, 0, 0, 0, 200, 0, 0, 0, 6, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0];

/// Killed if the test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn it_answers_a_noop_and_ends_on_ctrl_c() {
    answers_and_ends_on("INT");
}

#[test]
fn it_ends_in_good_order_when_a_service_manager_stops_it() {
    answers_and_ends_on("TERM");
}

#[test]
fn it_serves_where_nobody_reads_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", 20_000 + std::process::id() % 10_000);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut server = start(dir.path(), &address, full.into());
    let started = Instant::now();
    let link = loop {
        match TcpStream::connect(&address) {
            Ok(link) => break link,
            Err(failure) => assert!(started.elapsed() < Duration::from_secs(20), "{failure}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    answers(link);
    server.ends_on("TERM");
}

fn answers_and_ends_on(signal: &str) {
    let dir = tempfile::tempdir().unwrap();
    let mut server = start(dir.path(), "127.0.0.1:0", Stdio::piped());
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.strip_prefix("listens on ").unwrap().trim_end();
    answers(TcpStream::connect(address).unwrap());
    server.ends_on(signal);
}

fn start(dir: &Path, address: &str, stdout: Stdio) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_im-minimal"));
    command.current_dir(dir).env("SECRET", "thirty-two bytes or more, random").env("ADDRESS", address);
    Running(command.stdout(stdout).spawn().unwrap())
}

fn answers(mut link: TcpStream) {
    link.write_all(&NOOP).unwrap();
    let mut echo = [0; 20];
    link.read_exact(&mut echo).unwrap();
    assert_eq!(echo, NOOP);
}

impl Running {
    fn ends_on(&mut self, signal: &str) {
        // The shell's own kill: a bare machine has no other.
        let kill = format!("kill -s {signal} {}", self.0.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        assert!(self.0.wait().unwrap().success());
    }
}
