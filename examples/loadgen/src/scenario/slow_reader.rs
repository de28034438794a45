use serde_json::json;

use super::{FanOut, Scenario};
use crate::fault::Fault;
use crate::outcome::Outcome;
use crate::target::{Floor, Target};

/// A room in which one member reads next to nothing, or the same room without that one: what it does to the others and to the server.
pub(crate) struct SlowReader {
    /// At a fixed rate, after a flood that fills whatever may wait for the one who does not read.
    pub(crate) room: FanOut,
    /// Bytes a second that the slow one reads, in the round with it.
    pub(crate) reads: u32,
}

impl Scenario for SlowReader {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn floor(&self) -> Floor {
        self.room.floor()
    }

    fn params(&self) -> serde_json::Value {
        let mut params = self.room.params();
        params["flood"] = json!(self.room.flood);
        params["reads_bytes_per_s"] = json!(self.reads);
        params
    }

    fn run(&self, target: &Target) -> Result<Outcome, Fault> {
        self.room.run(target)
    }
}
