use std::fs;
use std::time::Instant;

use super::{Pid, Stat, TICKS_PER_SECOND};

/// The father of all kernel threads.
const KTHREADD: u32 = 2;

/// How much of a core others use while something is measured: all processes but the measured ones and the kernel's threads,
/// which work for the measured ones too, and what the hypervisor gave to someone else.
pub(crate) struct Others {
    ours: Vec<Pid>,
    at: Instant,
    ticks: u64,
}

impl Others {
    /// Begins to watch; `ours` and their ended children are not counted.
    pub(crate) fn watch(ours: Vec<Pid>) -> Self {
        let ticks = busy_ticks(&ours);
        Others { ours, at: Instant::now(), ticks }
    }

    /// What the others used so far, in per cent of one core.
    pub(crate) fn percent(&self) -> f64 {
        let ticks = busy_ticks(&self.ours).saturating_sub(self.ticks);
        ticks as f64 / TICKS_PER_SECOND / self.at.elapsed().as_secs_f64() * 100.0
    }
}

/// A process that ends hands its time to the parent that waits for it, so the sum never falls by much.
fn busy_ticks(ours: &[Pid]) -> u64 {
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let processes: u64 = pids.filter(|pid| !ours.contains(&Pid(*pid))).filter_map(ticks_of).sum();
    processes + stolen_ticks()
}

fn ticks_of(pid: u32) -> Option<u64> {
    let stat = Stat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    (pid != KTHREADD && stat.parent != KTHREADD).then_some(stat.own + stat.children)
}

fn stolen_ticks() -> u64 {
    fs::read_to_string("/proc/stat").ok().and_then(|text| stolen(&text)).unwrap_or(0)
}

/// The eighth number of the first line.
fn stolen(stat: &str) -> Option<u64> {
    stat.lines().next()?.split_whitespace().nth(8)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stolen_time_is_the_eighth_number() {
        assert_eq!(stolen("cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1\n"), Some(8));
    }

    #[test]
    fn it_is_a_share_of_a_core_and_not_negative() {
        let others = Others::watch(vec![Pid::own()]);
        assert!(others.percent() >= 0.0);
    }
}
