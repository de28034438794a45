use std::fs;
use std::process::Command;

/// What figures were measured on, in one line: processor, cores, memory, kernel.
pub(super) fn machine() -> String {
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
    let kib: f64 = memory.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let (cores, gib) = (crate::proc::cpus(), kib / f64::from(1 << 20));
    format!("{processor}, {cores} cores, {gib:.0} GiB, Linux {}", kernel.trim())
}

/// The day, as UTC has it; empty if there is no `date` program.
pub(super) fn today() -> String {
    let output = Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

/// The value of the first line `key : value`.
fn field(file: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let (_, value) =
        text.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| name.trim() == key)?;
    Some(value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_named() {
        let machine = machine();
        assert!(machine.contains("cores") && machine.contains("Linux"), "{machine}");
    }
}
