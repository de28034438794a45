use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Scenario, Seed};
use crate::fault::Fault;
use crate::outcome::Outcome;
use crate::proc::{Files, Pid, files_in};
use crate::stored::Stored;
use crate::target::{Floor, Target};

/// Direct messages, and what they take on the server's disk.
pub(crate) struct Disk {
    pub(crate) seed: Seed,
}

/// How often the disk is looked at until it stays as it is, and for how long at most.
const LOOK: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(20);

impl Scenario for Disk {
    fn name(&self) -> &'static str {
        "disk"
    }

    fn floor(&self) -> Floor {
        Floor::RelayLog
    }

    fn params(&self) -> serde_json::Value {
        let Seed { users, size, .. } = self.seed;
        json!({ "messages": self.seed.all(), "users": users, "size": size })
    }

    fn run(&self, target: &Target) -> Result<Outcome, Fault> {
        let Some(data) = &target.data else {
            return Err(Fault::Usage("where the server keeps its data is not known".to_owned()));
        };
        let before = look(data)?;
        let usage = self.seed.run(target)?;
        let after = settled(data)?;
        let all = self.seed.all();
        Ok(Outcome {
            sent: all,
            delivered: all,
            acked: all,
            usage,
            rss_peak: target.pid.and_then(Pid::resident_peak),
            stored: Some(Stored::between(&before, &after, all)),
            ..Outcome::default()
        })
    }
}

fn look(data: &Path) -> Result<BTreeMap<String, Files>, Fault> {
    files_in(data).map_err(|error| Fault::system("cannot look at the server's data", &error))
}

/// The files, once they stay as they are.
fn settled(data: &Path) -> Result<BTreeMap<String, Files>, Fault> {
    let begin = Instant::now();
    let mut last = look(data)?;
    loop {
        std::thread::sleep(LOOK);
        let now = look(data)?;
        if now == last || begin.elapsed() > PATIENCE {
            return Ok(now);
        }
        last = now;
    }
}
