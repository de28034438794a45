//! The program runs, serves, and ends when asked to.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

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

fn answers_and_ends_on(signal: &str) {
    let dir = tempfile::tempdir().unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_im-minimal"))
        .current_dir(dir.path())
        .env("SECRET", "thirty-two bytes or more, random")
        .env("ADDRESS", "127.0.0.1:0")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut server = Running(child);
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.strip_prefix("listens on ").unwrap().trim_end();
    let mut link = TcpStream::connect(address).unwrap();
    link.write_all(&NOOP).unwrap();
    let mut echo = [0; 20];
    link.read_exact(&mut echo).unwrap();
    assert_eq!(echo, NOOP);
    drop(link);
    // The shell's own kill: a bare machine has no other.
    let kill = format!("kill -s {signal} {}", server.0.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    assert!(server.0.wait().unwrap().success());
}
