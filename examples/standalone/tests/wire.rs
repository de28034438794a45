//! The wire protocol, byte for byte, tried by a client that shares no code with the crates: `tests/wire/*.py`.
//!
//! Each test here runs one of those files against the server that Cargo built. To run one by hand:
//! `IM_STANDALONE=target/debug/im-standalone python3 examples/standalone/tests/wire/test_frames.py -v`.

use std::path::Path;
use std::process::Command;

/// Runs a file of Python tests over each store; its output is shown if one fails.
fn passes(file: &str) {
    for store in ["log", "sqlite"] {
        passes_over(store, file);
    }
}

fn passes_over(store: &str, file: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire");
    let output = Command::new("python3")
        .arg("-B")
        .arg(folder.join(file))
        .env("IM_STORE_KIND", store)
        .env("IM_STANDALONE", env!("CARGO_BIN_EXE_im-standalone"))
        .output()
        .expect("python3 runs; .ci/servers installs it");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{file} failed over {store}:\n{}{said}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert!(!said.contains("Ran 0 tests"), "{file} has no tests");
}

#[test]
fn frames_and_what_closes_a_link() {
    passes("test_frames.py");
}

#[test]
fn auth_logout_and_kickout() {
    passes("test_login.py");
}

#[test]
fn direct_messages_and_their_repeats() {
    passes("test_messages.py");
}

#[test]
fn pull_sync_acknowledgements_and_hints() {
    passes("test_timelines.py");
}

#[test]
fn wrong_input_in_bounded_memory() {
    passes("test_hostile.py");
}

#[test]
fn rooms() {
    passes("test_rooms.py");
}
