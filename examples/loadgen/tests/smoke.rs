//! Small runs of everything. Nothing here depends on how fast the machine is: a run fails when something is lost, doubled,
//! reordered or refused, and a floor's run that cannot happen shows that the load generator notices.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;

/// Short, and without a word about the machine: neither pinned nor raised, and other tests may be as loud as they are.
const SHORT: &str = "--json --no-raise --no-pin --rounds 1 --seconds 0.5 --warmup 0.1 \
    --max-others 1000000 --max-drift 1000000";

fn loadgen(scenario: &[&str], more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_im-loadgen"));
    command.args(scenario).args(SHORT.split_whitespace()).args(more).output().unwrap()
}

/// Runs a scenario that must end well.
fn report(scenario: &[&str], more: &[&str]) -> Value {
    let output = loadgen(scenario, more);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{scenario:?}: {said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["schema"], 1);
    assert_eq!(report["scenario"], scenario[0]);
    for fault in ["lost", "duplicated", "reordered"] {
        assert_eq!(report[fault], 0, "{scenario:?}: {fault}");
    }
    report
}

fn of_the_floor(scenario: &[&str]) -> Value {
    report(scenario, &["--floor-only"])
}

fn of_both(scenario: &[&str]) -> Value {
    let standalone = standalone().display().to_string();
    report(scenario, &["--spawn", "--standalone", &standalone])
}

/// The server, built if nothing has built it yet.
fn standalone() -> &'static PathBuf {
    static STANDALONE: OnceLock<PathBuf> = OnceLock::new();
    STANDALONE.get_or_init(|| {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_im-loadgen")).with_file_name("im-standalone");
        if !program.exists() {
            let mut build = Command::new(env!("CARGO"));
            build.args(["build", "--package", "im-standalone"]);
            if !cfg!(debug_assertions) {
                build.arg("--release");
            }
            assert!(build.status().unwrap().success());
        }
        program
    })
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

#[test]
fn every_floor_carries_its_scenario() {
    for scenario in [
        &["echo", "--links", "10", "--window", "4"][..],
        &["c2c", "--pairs", "10", "--window", "4"],
        &["c2c", "--pairs", "10", "--floor", "relay"],
        &["fanout", "--members", "20", "--window", "2"],
        &["storm", "--links", "50"],
    ] {
        let report = of_the_floor(scenario);
        assert!(number(&report["delivered"]) > 0.0, "{scenario:?}");
        assert!(number(&report["per_s"]) > 0.0, "{scenario:?}");
    }
    assert!(of_the_floor(&["idle", "--links", "50"])["rss_bytes_per_link"].is_number());
}

#[test]
fn direct_messages_arrive_once_and_in_order() {
    let report = of_both(&["c2c", "--pairs", "10", "--window", "8"]);
    assert!(number(&report["delivered"]) > 0.0 && number(&report["acked"]) > 0.0);
    assert!(number(&report["latency_us"]["p50"]) > 0.0 && number(&report["ack_us"]["p50"]) > 0.0);
    assert!(number(&report["floor"]["delivered"]) > 0.0);
    assert!(number(&report["ratio"]["per_s"]) > 0.0);
}

#[test]
fn keep_alives_are_echoed() {
    assert!(number(&of_both(&["echo", "--links", "10", "--window", "4"])["delivered"]) > 0.0);
}

#[test]
fn everybody_gets_in_at_once_and_again() {
    assert_eq!(of_both(&["storm", "--links", "100", "--waves", "2"])["delivered"], 200);
}

#[test]
fn those_who_were_away_catch_up() {
    let report = of_both(&["pull", "--users", "10", "--messages", "25", "--page", "10"]);
    assert_eq!(report["delivered"], 250);
    assert_eq!(report["floor"]["delivered"], 250);
}

#[test]
fn a_missing_program_is_the_environments_fault_and_a_wrong_word_is_the_users() {
    let code = |scenario: &[&str], more: &[&str]| loadgen(scenario, more).status.code();
    assert_eq!(code(&["echo"], &["--spawn", "--standalone", "/nonexistent/im-standalone"]), Some(4));
    assert_eq!(code(&["echo"], &["--spawn", "--nonsense"]), Some(2));
    assert_eq!(code(&["echo"], &["--spawn", "--floor-only"]), Some(2));
    assert_eq!(code(&["echo"], &[]), Some(2));
}

#[test]
fn a_server_that_takes_no_logins_is_at_fault() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "00".repeat(32)).unwrap();
    // It listens and closes what it takes.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || for_each_link(&listener));
    let secret = secret.display().to_string();
    let output =
        loadgen(&["echo", "--links", "3"], &["--server", &address, "--token-secret", &secret, "--no-floor"]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Answers each login as the protocol says a refusal.
fn for_each_link(listener: &std::net::TcpListener) {
    use std::io::{Read as _, Write as _};
    for link in listener.incoming() {
        let mut link = link.unwrap();
        let mut request = [0; 1_024];
        let _ = link.read(&mut request).unwrap();
        let body = [0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01, 0x10, 0x02];
        let header = [20, 1, 1001, 1, 13_u32].map(u32::to_be_bytes).concat();
        let _ = link.write_all(&[&header[..], &body[..]].concat());
    }
}
