use std::process::{Command, Stdio};

use super::Pid;

/// The cores there are.
pub(crate) fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A command whose process runs on one core only, by `taskset`; without that program, or without a core, it runs anywhere.
pub(crate) fn pinned_command(program: &std::path::Path, cpu: Option<usize>) -> Command {
    match cpu {
        Some(cpu) if has_taskset() => {
            let mut command = Command::new("taskset");
            command.arg("-c").arg(cpu.to_string()).arg(program);
            command
        }
        _ => Command::new(program),
    }
}

/// Puts a running process, with all its threads, on one core; whether that worked.
pub(crate) fn pin(pid: Pid, cpu: usize) -> bool {
    let mut command = Command::new("taskset");
    command.arg("-acp").arg(cpu.to_string()).arg(pid.0.to_string());
    quiet(&mut command)
}

fn has_taskset() -> bool {
    quiet(Command::new("taskset").arg("--version"))
}

fn quiet(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
