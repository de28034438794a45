//! A server that is restored from a backup: after its epoch was raised, a client that keeps its state prints nothing twice, and nothing is missing but
//! what the backup lacks. Senders that give their messages no ids are among those who write: only the server's ids tell their messages apart.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use im_proto::CmdId;
use im_proto::v1::{C2cRequest, C2cResponse};
use im_test_servers::{MariaDb, Postgres};
use prost::Message as _;

use super::links::Link;
use super::programs::{STANDALONE, Server, chat, free_port, token};

#[test]
fn a_restored_log_gives_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    gives_nothing_twice(
        folder.path(),
        |from, to| copy(&folder.path().join(from), &folder.path().join(to)),
        |place| format!("log:{}", folder.path().join(place).display()),
    );
}

#[test]
fn a_restored_sqlite_database_gives_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    gives_nothing_twice(
        folder.path(),
        |from, to| copy(&folder.path().join(from), &folder.path().join(to)),
        |place| format!("sqlite:{}/im.db", folder.path().join(place).display()),
    );
}

#[test]
fn databases_of_servers_that_are_restored_give_nothing_twice() {
    for databases in [
        [MariaDb::shared().database("live"), MariaDb::shared().database("backup")],
        [Postgres::shared().database("live"), Postgres::shared().database("backup")],
    ] {
        let folder = tempfile::tempdir().unwrap();
        // The copy is served from in the place of what was lost.
        let name = |place: &str| databases[usize::from(place != "live")].clone();
        let copy = |from: &str, to: &str| {
            if to == "backup" {
                run(&["store", "copy", &name(from), &name(to)]);
            }
        };
        gives_nothing_twice(folder.path(), copy, name);
    }
}

/// `copies` one place to another; `store` is the name of the store in a place.
fn gives_nothing_twice(folder: &Path, copies: impl Fn(&str, &str), store: impl Fn(&str) -> String) {
    std::fs::create_dir(folder.join("live")).unwrap();
    let data = folder.join("data");
    let address = format!("127.0.0.1:{}", free_port());
    let serve = |place: &str| Server::start(&data, &address, &store(place));

    let server = serve("live");
    send(&data, &address, &["one", "two"]);
    assert_eq!(receive(&data, &address, 2), ["one", "two"]);
    server.kill();
    copies("live", "backup");
    let server = serve("live");
    let lost = send_nameless(&data, &address, &["lost", "gone"]);
    send(&data, &address, &["three", "four"]);
    assert_eq!(receive(&data, &address, 4), ["lost", "gone", "three", "four"]);
    server.kill();

    copies("backup", "restored");
    let said = run(&["store", "bump-epoch", &store("restored")]);
    assert!(said.starts_with("epoch 0 -> "), "{said}");
    let _server = serve("restored");
    // They have the versions that lost ones had, and are not taken for those.
    let new = send_nameless(&data, &address, &["new", "newer"]);
    assert!(lost.iter().max() < new.iter().min(), "ids are given twice: {lost:?}, {new:?}");
    send(&data, &address, &["five", "six", "seven"]);
    assert_eq!(receive(&data, &address, 5), ["new", "newer", "five", "six", "seven"]);
    let all = ["one", "two", "new", "newer", "five", "six", "seven"];
    assert_eq!(receive_anew(&data, &address, all.len()), all);
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
}

fn run(args: &[&str]) -> String {
    let Output { status, stdout, stderr } = Command::new(STANDALONE).args(args).output().unwrap();
    assert!(status.success(), "{args:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// Alice sends lines, and keeps her state.
fn send(data: &Path, server: &str, lines: &[&str]) {
    let mut input = tempfile::tempfile().unwrap();
    input.write_all(lines.join("\n").as_bytes()).unwrap();
    input.rewind().unwrap();
    let sent = client(data, server, "alice", Some(&data.join("alice")), &["send", "--to", "bob"], input);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
}

/// Carol sends lines without ids of her own. The ids that the server gave.
fn send_nameless(data: &Path, server: &str, lines: &[&str]) -> Vec<i64> {
    let mut link = Link::ask(server, "carol", &token(data, "carol"));
    assert!(link.is_granted());
    let send = |(seq, line): (u32, &&str)| {
        let content = line.as_bytes().to_vec().into();
        let request = C2cRequest { to: "bob".to_owned(), content, ..C2cRequest::default() };
        link.say(CmdId::C2C_SEND, seq, &request);
        let answer = C2cResponse::decode(&link.answer(seq).unwrap()[..]).unwrap();
        assert_eq!(answer.err_code, 0);
        answer.msgid
    };
    (2..).zip(lines).map(send).collect()
}

/// What bob's phone, which keeps its state, has not printed yet.
fn receive(data: &Path, server: &str, count: usize) -> Vec<String> {
    received(data, server, Some(&data.join("bob")), count)
}

/// What a device of bob's that knows nothing prints.
fn receive_anew(data: &Path, server: &str, count: usize) -> Vec<String> {
    received(data, server, None, count)
}

fn received(data: &Path, server: &str, state: Option<&Path>, count: usize) -> Vec<String> {
    let args = ["recv", "--timeout", "60", "--count", &count.to_string()];
    let output = client(data, server, "bob", state, &args, File::open("/dev/null").unwrap());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let text = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["text"].as_str().unwrap().to_owned()
    };
    lines.lines().map(text).collect()
}

fn client(data: &Path, server: &str, user: &str, state: Option<&Path>, args: &[&str], input: File) -> Output {
    let mut command = Command::new(chat());
    command.args(args).args(["--server", server, "--user", user]);
    if let Some(state) = state {
        command.arg("--state").arg(state);
    }
    command.env("IM_TOKEN", token(data, user)).stdin(Stdio::from(input)).output().unwrap()
}
