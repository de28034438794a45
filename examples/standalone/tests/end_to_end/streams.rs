//! `im-chat` whose standard output or standard error goes nowhere any more.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::kill::text;
use super::programs::{Server, chat, free_port, token};

/// Sends lines to bob, and waits for their acks.
fn send(data: &Path, server: &str, lines: &str) {
    let input = data.join("lines");
    std::fs::write(&input, lines).unwrap();
    let mut command = Command::new(chat());
    command.args(["send", "--to", "bob", "--server", server, "--user", "alice"]);
    command.env("IM_TOKEN", token(data, "alice")).stdin(File::open(input).unwrap());
    assert!(command.status().unwrap().success());
}

/// `im-chat recv` of bob's phone, which knows what its state directory holds.
fn recv(data: &Path, server: &str, streams: impl FnOnce(&mut Command)) -> Output {
    let mut command = Command::new(chat());
    command.args(["recv", "--count", "2", "--timeout", "60", "--server", server, "--user", "bob"]);
    command.arg("--state").arg(data.join("state"));
    command.env("IM_TOKEN", token(data, "bob")).env("IM_LOG", "trace");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    streams(&mut command);
    command.spawn().unwrap().wait_with_output().unwrap()
}

/// A full disk.
fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// A pipe that nobody reads.
fn unread() -> Stdio {
    std::io::pipe().unwrap().1.into()
}

#[test]
fn what_recv_cannot_print_is_not_acknowledged_and_comes_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let server = Server::start(data, "127.0.0.1:0", "log");
    send(data, &server.address, "one\ntwo\n");
    for stdout in [full(), unread()] {
        let ended = recv(data, &server.address, |command| {
            command.stdout(stdout);
        });
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains("im-chat: cannot write to standard output"), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    for stderr in [full(), unread()] {
        std::fs::remove_dir_all(data.join("state")).unwrap();
        let ended = recv(data, &server.address, |command| {
            command.stderr(stderr);
        });
        let lines = String::from_utf8(ended.stdout).unwrap();
        let texts: Vec<String> = lines.lines().map(|line| text(line, "text")).collect();
        assert_eq!((ended.status.code(), texts), (Some(0), vec!["one".to_owned(), "two".to_owned()]));
    }
}

#[test]
fn a_client_whose_log_goes_nowhere_tries_on_until_its_time_is_up() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = format!("127.0.0.1:{}", free_port());
    for stderr in [full(), unread()] {
        let mut command = Command::new(chat());
        command.args(["recv", "--connect-timeout", "1", "--server", &nobody, "--user", "bob"]);
        command.env("IM_TOKEN", "none").env("IM_LOG", "trace").current_dir(folder.path());
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).status().unwrap();
        assert_eq!(status.code(), Some(5));
    }
}
