//! What is done to a server, and what must come of it.

mod c2c;
mod disk;
mod echo;
mod fan_out;
mod growth;
mod idle;
mod join;
mod login;
mod pair;
mod pull;
mod seed;
mod slow_reader;
mod storm;

use crate::fault::Fault;
use crate::outcome::Outcome;
use crate::target::{Floor, Target};

pub(crate) use c2c::C2c;
pub(crate) use disk::Disk;
pub(crate) use echo::Echo;
pub(crate) use fan_out::FanOut;
pub(crate) use growth::Growth;
pub(crate) use idle::Idle;
pub(crate) use pull::Pull;
pub(crate) use seed::Seed;
pub(crate) use slow_reader::SlowReader;
pub(crate) use storm::Storm;

/// One kind of load, with its parameters.
pub(crate) trait Scenario {
    fn name(&self) -> &'static str;

    /// The floor that it is compared with.
    fn floor(&self) -> Floor;

    /// What the report says about how it was run.
    fn params(&self) -> serde_json::Value;

    /// One round.
    fn run(&self, target: &Target) -> Result<Outcome, Fault>;
}
