use std::path::Path;
use std::process::{Command, Stdio};

use super::Pid;

/// The cores that this process may use.
pub(crate) fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A command whose process runs on one core only, by `taskset`, and is killed when this process ends in whatever way, by `setpriv`. Where one of
/// those programs is missing, or no core is given, it does without.
///
/// The process counts as orphaned when the thread that spawned it ends, so that is to be the main thread.
pub(crate) fn child_command(program: &Path, cpu: Option<usize>) -> Command {
    let mut words: Vec<String> = Vec::new();
    if runs(&["setpriv", "--pdeathsig", "KILL", "true"]) {
        words.extend(["setpriv", "--pdeathsig", "KILL"].map(str::to_owned));
    }
    if let Some(cpu) = cpu.filter(|_| runs(&["taskset", "--version"])) {
        words.extend(["taskset".to_owned(), "-c".to_owned(), cpu.to_string()]);
    }
    match words.split_first() {
        None => Command::new(program),
        Some((first, others)) => {
            let mut command = Command::new(first);
            command.args(others).arg(program);
            command
        }
    }
}

/// Puts a running process, with all its threads, on one core; whether that worked.
pub(crate) fn pin(pid: Pid, cpu: usize) -> bool {
    runs(&["taskset", "-acp", &cpu.to_string(), &pid.0.to_string()])
}

/// Whether this command is there and succeeds.
fn runs(words: &[&str]) -> bool {
    let Some((program, arguments)) = words.split_first() else { return false };
    let mut command = Command::new(program);
    let command = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
