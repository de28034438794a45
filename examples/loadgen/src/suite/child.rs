use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::fault::Fault;
use crate::proc::child_command;

/// How a scenario's own process ended.
pub(super) struct Ended {
    /// Its exit code; `None` if a signal ended it.
    pub(super) code: Option<i32>,
    /// What it said last.
    pub(super) said: String,
    pub(super) report: Option<Value>,
}

/// Runs a scenario in a process of its own, so that nothing of one is left when the next begins, and a crash ends one row only. What it says
/// goes to standard error as it comes.
pub(super) fn run(program: &Path, words: &[String]) -> Result<Ended, Fault> {
    let fault = |error: std::io::Error| Fault::system("cannot run a scenario", &error);
    let mut command = child_command(program, None);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(fault)?;
    let said = child.stderr.take().map(|stderr| std::thread::spawn(move || pass_on(stderr)));
    let mut report = String::new();
    if let Some(stdout) = &mut child.stdout {
        stdout.read_to_string(&mut report).map_err(fault)?;
    }
    let code = child.wait().map_err(fault)?.code();
    let said = said.and_then(|thread| thread.join().ok()).unwrap_or_default();
    Ok(Ended { code, said, report: serde_json::from_str(&report).ok() })
}

/// Hands lines on; the last one.
fn pass_on(from: impl std::io::Read) -> String {
    let mut last = String::new();
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        // Nobody may be listening.
        let _ = writeln!(std::io::stderr().lock(), "{line}");
        last = line;
    }
    last
}
