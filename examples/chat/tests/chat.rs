//! The program as a script meets it, without a server. (Tests of im-standalone and im-loadgen ask cargo for this test, since
//! that builds the program with the features that the workspace's tests have, which costs nothing more.)
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn chat(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_im-chat"));
    for variable in ["IM_SERVER", "IM_USER", "IM_TOKEN", "IM_LOG"] {
        command.env_remove(variable);
    }
    command.args(arguments).output().unwrap()
}

fn ends(arguments: &[&str], code: i32, words: &str) {
    let output = chat(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(said.contains(words), "{arguments:?}: {said}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
}

#[test]
fn wrong_usage_ends_with_code_2_and_says_what_is_missing() {
    ends(&["recv"], 2, "--user");
    ends(&["send", "--user", "alice", "--token", "t"], 2, "--to");
    ends(&["send", "--user", "", "--token", "t"], 2, "must not be empty");
    ends(&["sing", "--user", "alice", "--token", "t"], 2, "sing");
}

#[test]
fn a_server_that_is_not_there_ends_it_with_code_5_after_the_time_that_it_was_given() {
    // Port 1 is reserved, and nobody listens there.
    let account = ["--server", "127.0.0.1:1", "--user", "alice", "--token", "t", "--connect-timeout", "1"];
    ends(&[&["recv"], &account[..]].concat(), 5, "127.0.0.1:1");
}
