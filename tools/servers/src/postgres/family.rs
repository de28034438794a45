use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::process::{PATIENCE, Process};

/// SIGKILL for a process and its children, as if the machine had lost them all at once: none of them sees another one die and acts on it. A server
/// whose children outlive it cannot be started again either.
pub(super) fn kill(process: Process) {
    let parent = process.pid();
    // From when it stands still it starts no further child. One that is missed keeps its port.
    let _ = kill_process(parent, Signal::STOP);
    wait_until(|| state(parent).is_none_or(|(state, _)| matches!(state, 'T' | 'Z')), "stand still");
    let children = children_of(parent);
    for child in &children {
        let _ = kill_process(*child, Signal::KILL);
    }
    process.kill();
    wait_for_end(&children);
}

fn children_of(parent: Pid) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids =
        processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(Pid::from_raw);
    pids.filter(|&pid| state(pid).is_some_and(|(_, of)| of == parent.as_raw_nonzero().get())).collect()
}

fn wait_for_end(processes: &[Pid]) {
    // A process that is only waited for ('Z') holds nothing any more.
    let has_ended = |pid: &Pid| state(*pid).is_none_or(|(state, _)| state == 'Z');
    wait_until(|| processes.iter().all(has_ended), "end");
}

fn wait_until(is_so: impl Fn() -> bool, what: &str) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "killed processes do not {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A process's state and parent: proc(5). The name before them may contain anything.
fn state(pid: Pid) -> Option<(char, i32)> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
