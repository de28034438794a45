//! What `/proc` says about processes: CPU seconds, memory, and who else uses the machine.

mod files;
mod others;
mod pin;
mod shield;

use std::fs;

pub(crate) use files::{Files, files_in};
pub(crate) use others::Others;
pub(crate) use pin::{child_command, cpus, pin};
pub(crate) use shield::Shield;

/// A process that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pid(pub(crate) u32);

/// `/proc` counts CPU time in hundredths of a second (`USER_HZ`, which is 100 on every Linux architecture but Alpha).
const TICKS_PER_SECOND: f64 = 100.0;

/// User and system time are each cut to hundredths of a second.
const COARSE: f64 = 0.03;

impl Pid {
    pub(crate) fn own() -> Self {
        Pid(std::process::id())
    }

    /// CPU seconds that all its threads have used, the ended ones included. `None` if it is gone.
    ///
    /// To the nanosecond while no thread that worked has ended, else to some hundredths of a second.
    pub(crate) fn cpu_seconds(self) -> Option<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).ok()?;
        let coarse = Stat::parse(&stat)?.own as f64 / TICKS_PER_SECOND;
        let fine = self.live_threads_seconds().filter(|fine| (fine - coarse).abs() < COARSE);
        Some(fine.unwrap_or(coarse))
    }

    /// CPU seconds that the threads which live now have used.
    fn live_threads_seconds(self) -> Option<f64> {
        let mut nanos = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.0)).ok()? {
            let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            nanos += text.split(' ').next()?.parse::<u64>().ok()?;
        }
        Some(nanos as f64 / 1e9)
    }

    /// Bytes in memory now.
    pub(crate) fn resident(self) -> Option<u64> {
        self.memory("smaps_rollup", "Rss:").or_else(|| self.memory("status", "VmRSS:"))
    }

    /// Bytes in memory now that belong to no file.
    pub(crate) fn resident_anon(self) -> Option<u64> {
        self.memory("status", "RssAnon:")
    }

    /// The most bytes that were ever in memory.
    pub(crate) fn resident_peak(self) -> Option<u64> {
        self.memory("status", "VmHWM:")
    }

    fn memory(self, file: &str, key: &str) -> Option<u64> {
        kib(&fs::read_to_string(format!("/proc/{}/{file}", self.0)).ok()?, key).map(|kib| kib * 1_024)
    }
}

/// The number behind `key`, which the file gives in KiB.
fn kib(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

/// What is used here of a line of `/proc/PID/stat`, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// Used by the process.
    own: u64,
    /// Used by children that have ended and were waited for.
    children: u64,
}

impl Stat {
    /// The second field, the program's name, may hold spaces and parentheses; the rest follows the last one.
    fn parse(line: &str) -> Option<Stat> {
        let (_, rest) = line.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Stat {
            parent: fields.get(1)?.parse().ok()?,
            own: number(11)? + number(12)?,
            children: number(13)? + number(14)?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let line = "7 (a) (b c) S 2 7 7 0 -1 4 0 0 0 0 30 12 5 6 20 0 1 0 1 0 0";
        assert_eq!(Stat::parse(line), Some(Stat { parent: 2, own: 42, children: 11 }));
        assert_eq!(Stat::parse("nonsense"), None);
    }

    #[test]
    fn memory_is_found_by_its_key() {
        assert_eq!(kib("VmHWM:\t  12 kB\nVmRSS:\t  11 kB\n", "VmRSS:"), Some(11));
        assert_eq!(kib("", "VmRSS:"), None);
    }

    #[test]
    fn this_process_has_memory_and_time() {
        assert!(Pid::own().resident().unwrap() > 0);
        assert!(Pid::own().resident_peak().unwrap() >= Pid::own().resident().unwrap() / 2);
        assert!(Pid::own().cpu_seconds().is_some());
        assert_eq!(Pid(u32::MAX).cpu_seconds(), None);
    }
}
