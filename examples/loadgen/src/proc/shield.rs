use std::fs;

/// How far the scheduler's autogroup of this session is raised above its neighbours: as far as a root shell's usually goes
/// before the kernel's own work suffers.
const RAISED: &str = "-15";

const FILE: &str = "/proc/self/autogroup";

/// Keeps the session's scheduling group raised while it lives. Pinning and nice alone do not shield a run from other sessions,
/// because the scheduler shares time between groups first.
pub(crate) struct Shield {
    before: Option<String>,
}

impl Shield {
    /// Raises the group, if the system has such groups and lets this user.
    pub(crate) fn raise() -> Self {
        let before = fs::read_to_string(FILE).ok().and_then(|text| nice(&text).map(str::to_owned));
        let raised = before.is_some() && fs::write(FILE, RAISED).is_ok();
        Shield { before: before.filter(|_| raised) }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.before.is_some()
    }
}

impl Drop for Shield {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // There is nobody to tell when the group stays raised.
            let _ = fs::write(FILE, before);
        }
    }
}

/// From `/autogroup-78 nice 0`.
fn nice(text: &str) -> Option<&str> {
    text.trim_end().rsplit_once("nice ").map(|(_, nice)| nice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_former_value_is_read_so_that_it_can_be_restored() {
        assert_eq!(nice("/autogroup-78 nice -3\n"), Some("-3"));
        assert_eq!(nice("garbage"), None);
    }
}
