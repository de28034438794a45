//! The program runs, serves, and ends when asked to.

#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU16, Ordering};
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

fn answers_and_ends_on(signal: &str) {
    let dir = tempfile::tempdir().unwrap();
    let address = free_address();
    let child = Command::new(env!("CARGO_BIN_EXE_im-minimal"))
        .current_dir(dir.path())
        .env("SECRET", "thirty-two bytes or more, random")
        .env("ADDRESS", address.to_string())
        .spawn()
        .unwrap();
    let mut server = Running(child);
    let mut link = connect(address);
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

/// An address whose port lies below those that the system gives away by itself: nobody else takes it before the server does.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 8_000).unwrap();
    loop {
        let port = 12_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 8_000;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        match TcpStream::connect(address) {
            Ok(link) => return link,
            Err(failure) => assert!(Instant::now() < until, "{failure}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
