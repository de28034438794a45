//! Small runs of everything. Nothing here depends on how fast the machine is: a run fails when something is lost, doubled,
//! reordered or refused, and a floor's run that cannot happen shows that the load generator notices.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;

/// Short, and without a word about the machine: neither pinned nor raised, and other tests may be as loud as they are.
const SHORT: &str = "--json --no-raise --no-pin --rounds 1 --seconds 0.5 --warmup 0.1 \
    --max-others 1000000 --max-drift 1000000 --min-sent 0";

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

/// The server. Its own tests are built, with the features that all tests have, and it with them: if it is there already, nothing is done.
fn standalone() -> &'static PathBuf {
    static STANDALONE: OnceLock<PathBuf> = OnceLock::new();
    STANDALONE.get_or_init(|| {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_im-loadgen")).with_file_name("im-standalone");
        if std::env::var_os("IM_TEST_BUILT").is_some() {
            return program;
        }
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["test", "--quiet", "--workspace", "--all-features", "--no-run", "--test", "process"]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        // Crates that look at it would be built anew.
        cargo.env_remove("RUSTC_BOOTSTRAP");
        let target = program.ancestors().nth(2).unwrap();
        assert!(cargo.arg("--target-dir").arg(target).status().unwrap().success());
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
fn what_is_said_in_a_room_reaches_all_members_once_and_in_order() {
    let report = of_both(&["fanout", "--members", "20", "--window", "4"]);
    assert!(number(&report["delivered"]) > 0.0 && number(&report["ratio"]["per_s"]) > 0.0);
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
fn bytes_on_disk_are_told_by_kind_of_file() {
    let report = of_both(&["disk", "--messages", "1000", "--users", "50"]);
    assert_eq!(report["delivered"], 1_000);
    let disk = &report["disk"];
    // The content alone is 100 bytes.
    assert!(number(&disk["written_per_message"]) > 100.0, "{report}");
    assert!(number(&disk["allocated_per_message"]) > 100.0, "{report}");
    assert!(!disk["files"].as_object().unwrap().is_empty());
    assert!((number(&report["floor"]["disk"]["written_per_message"]) - 100.0).abs() < 5.0, "{report}");
}

#[test]
fn a_store_grows_by_tens_and_is_measured_at_each_size() {
    let sizes = ["--min-messages", "1000", "--max-messages", "10000"];
    let scenario = [&["growth"], &sizes[..], &["--measured", "500", "--settle", "0.1"]].concat();
    let growth = of_both(&scenario)["growth"].clone();
    let steps = growth["steps"].as_array().unwrap();
    let users: Vec<f64> = steps.iter().map(|step| number(&step["users"])).collect();
    assert_eq!(users, [10.0, 100.0]);
    assert!(steps.iter().all(|step| number(&step["cpu_s_per_million"]) > 0.0), "{growth}");
    assert!(number(&growth["cpu_factor"]) > 0.0 && number(&growth["rss_factor"]) > 0.0);
}

#[test]
fn one_who_reads_nothing_costs_the_others_no_message() {
    let report =
        of_both(&["slow", "--members", "10", "--rate", "100", "--flood", "20000", "--reads", "1000"]);
    // Nine of ten are expected to have everything; without the slow one all ten.
    let each = |of: &Value, members: f64| number(&of["delivered"]) / members;
    let (with, without) = (each(&report, 9.0), each(&report["floor"], 10.0));
    assert!((with / without - 1.0).abs() < 0.2, "{report}");
    assert!(report["notes"].as_array().unwrap().iter().any(|note| note["side"] == "without"));
    assert!(number(&report["rss_peak_bytes"]) > 0.0);
}

#[test]
fn the_highest_rate_is_looked_for_in_every_round() {
    let words = "echo --links 5 --rate 20000 --search 200000 --floor-only --json --no-raise --no-pin --rounds 2 \
        --seconds 0.1 --warmup 0 --max-others 1000000 --max-drift 1000000 --min-sent 0";
    let output =
        Command::new(env!("CARGO_BIN_EXE_im-loadgen")).args(words.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["rounds"], &report["params"]["search_p99_us"]), (&2.into(), &200_000.0.into()));
    assert!(report["notes"].as_array().unwrap().iter().all(|note| number(&note["offered_per_s"]) > 0.0));
}

#[test]
fn where_no_rate_holds_the_bound_the_server_is_at_fault() {
    assert_eq!(loadgen(&["echo", "--rate", "2", "--search", "0"], &["--floor-only"]).status.code(), Some(1));
}

/// All of them.
const ROWS: &str = "1,2,3,4a,4b,4c,5,6,7,8,9,10";

fn suite(directory: &std::path::Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_im-loadgen"));
    command.args(["suite", "--quick", "--json-out"]).arg(directory).args(more);
    command.args(["--", "--no-raise", "--no-pin", "--standalone"]).arg(standalone()).output().unwrap()
}

#[test]
fn the_whole_suite_runs_in_small_loses_nothing_and_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let markdown = dir.path().join("performance.md");
    std::fs::write(&markdown, "before\n<!-- suite: begin -->\nold\n<!-- suite: end -->\nafter\n").unwrap();
    let output = suite(dir.path(), &["--markdown", markdown.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = std::fs::read_to_string(dir.path().join("suite.jsonl")).unwrap();
    for line in lines.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        assert_eq!(row["fault"], Value::Null, "{row}");
        for fault in ["lost", "duplicated", "reordered"] {
            assert_eq!(row["report"][fault], 0, "{row}");
        }
    }
    assert_eq!(lines.lines().count(), ROWS.split(',').count());
    let page = std::fs::read_to_string(&markdown).unwrap();
    assert!(page.starts_with("before\n") && page.ends_with("after\n") && !page.contains("old"));
    assert!(ROWS.split(',').all(|row| page.contains(&format!("\n| {row} | "))), "{page}");

    let again = suite(dir.path(), &["--resume"]);
    assert!(again.status.success());
    assert!(!String::from_utf8_lossy(&again.stderr).contains("round 1"), "nothing was left to run");
}

#[test]
fn a_suite_goes_on_after_a_row_that_fails_and_says_which() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_im-loadgen"));
    command.args(["suite", "--quick", "--only", "1,3", "--tries", "1", "--", "--standalone", "/nonexistent"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("row 1: ") && said.contains("row 3: "), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("| failed |"));
}

#[test]
fn a_started_server_ends_with_a_load_generator_that_is_killed() {
    if Command::new("setpriv").args(["--pdeathsig", "KILL", "true"]).status().is_err() {
        return;
    }
    // A killed process leaves its files.
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_im-loadgen"));
    command.arg("echo").arg("--data-root").arg(dir.path());
    command.args(["--links", "3", "--spawn", "--no-floor", "--no-raise", "--no-pin", "--standalone"]);
    let mut loadgen = command.arg(standalone()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let server = wait_for(|| child_of(loadgen.id()));
    loadgen.kill().unwrap();
    loadgen.wait().unwrap();
    wait_for(|| (!runs(server)).then_some(()));
}

fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..1_000 {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("waited for in vain")
}

/// The `im-standalone` that this process started.
fn child_of(parent: u32) -> Option<u32> {
    let pids = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.into_iter().find(|pid| {
        stat(*pid).is_some_and(|stat| {
            let rest =
                stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').nth(1) == Some(&parent.to_string()));
            stat.contains("(im-standalone)") && rest == Some(true)
        })
    })
}

/// A process that nobody has waited for yet runs no more.
fn runs(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| !stat.contains(") Z "))
}

fn stat(pid: u32) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()
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
fn a_server_that_cannot_be_measured_is_told_before_anything_is_measured() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret").display().to_string();
    let told = |more: &[&str]| {
        let server = ["--server", "127.0.0.1:1", "--token-secret", &secret];
        let output = loadgen(&["echo"], &[&server, more].concat());
        assert_eq!(output.status.code(), Some(4));
        String::from_utf8(output.stderr).unwrap()
    };
    let is_one_line = |said: &str, words: &str| said.contains(words) && said.lines().count() == 1;
    let said = told(&[]);
    assert!(is_one_line(&said, "No such file"), "{said}");
    std::fs::write(&secret, "00".repeat(32)).unwrap();
    let said = told(&[]);
    assert!(is_one_line(&said, "no server answers at 127.0.0.1:1"), "{said}");
    let said = told(&["--server-pid", "4294967295"]);
    assert!(is_one_line(&said, "there is no process 4294967295"), "{said}");
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
