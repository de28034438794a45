use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::backing::Over;
use super::counts::Counts;
use super::kernel::Log;
use super::mutants::{self, Mutant, Setup};
use super::sharding::Sharding;
use super::world::{Ended, World};

/// A promise that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// In which seed.
    pub seed: u64,
    /// Which: the name of its file, `rest` for a world that does not come to rest, or `panic`.
    pub invariant: String,
    /// What happened.
    pub what: String,
    /// How to replay it.
    pub replay: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {} breaks {}: {}\nreplay: {}", self.seed, self.invariant, self.what, self.replay)
    }
}

/// How one seed went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What it met.
    pub counts: Counts,
    /// A digest of all that happened, the same for every run of the seed.
    pub trace: u64,
    /// The first promise that broke.
    pub broken: Option<Broken>,
}

/// How many seeds went.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many there were.
    pub seeds: u64,
    /// What all of them met.
    pub counts: Counts,
    /// What broke.
    pub broken: Vec<Broken>,
}

/// Runs a seed, sound or with a mutant.
pub fn run(seed: u64, mutant: Option<Mutant>) -> Outcome {
    run_with(seed, &one(mutant), setup(mutant), None)
}

/// Runs a seed over several databases, of which `sharding` makes one store.
pub fn run_over(seed: u64, sharding: &Arc<dyn Sharding>) -> Outcome {
    run_with(seed, &Over::Databases(sharding.clone()), Setup::default(), None)
}

/// Runs a seed and hands what happens to `log`, a line at a time.
pub fn replay(seed: u64, mutant: Option<Mutant>, log: Log) -> Outcome {
    run_with(seed, &one(mutant), setup(mutant), Some(log))
}

/// The same of a seed over several databases.
pub fn replay_over(seed: u64, sharding: &Arc<dyn Sharding>, log: Log) -> Outcome {
    run_with(seed, &Over::Databases(sharding.clone()), Setup::default(), Some(log))
}

/// Runs all these seeds; `progress` hears of each.
pub fn run_all(seeds: Range<u64>, progress: impl FnMut(&Outcome)) -> Summary {
    sum(seeds.map(|seed| run(seed, None)), progress)
}

/// The same over several databases.
pub fn run_all_over(
    seeds: Range<u64>,
    sharding: &Arc<dyn Sharding>,
    progress: impl FnMut(&Outcome),
) -> Summary {
    sum(seeds.map(|seed| run_over(seed, sharding)), progress)
}

fn sum(outcomes: impl Iterator<Item = Outcome>, mut progress: impl FnMut(&Outcome)) -> Summary {
    let mut summary = Summary::default();
    for outcome in outcomes {
        progress(&outcome);
        summary.seeds += 1;
        summary.counts += outcome.counts;
        summary.broken.extend(outcome.broken);
    }
    summary
}

impl Summary {
    /// Whether nothing broke and everything that can happen did.
    ///
    /// # Errors
    /// What broke, with how to replay it, or what was never met.
    pub fn verdict(&self) -> Result<(), String> {
        let missing = self.counts.missing();
        if let Some(broken) = self.broken.first() {
            Err(format!("{} of {} seeds break a promise; the first: {broken}", self.broken.len(), self.seeds))
        } else if missing.is_empty() {
            Ok(())
        } else {
            Err(format!("{} seeds never met: {}", self.seeds, missing.join(", ")))
        }
    }
}

fn one(mutant: Option<Mutant>) -> Over {
    Over::One(mutant.map_or(mutants::as_it_is as _, Mutant::store))
}

fn setup(mutant: Option<Mutant>) -> Setup {
    mutant.map_or_else(Setup::default, Mutant::setup)
}

fn run_with(seed: u64, over: &Over, setup: Setup, log: Option<Log>) -> Outcome {
    let ended = catch_unwind(AssertUnwindSafe(|| World::new(seed, over, setup, log).run()));
    let broken = |(invariant, what): (&str, String)| Broken {
        seed,
        invariant: invariant.to_owned(),
        what,
        replay: over.replay(seed),
    };
    match ended {
        Ok(Ended { counts, trace, broken: found }) => Outcome { counts, trace, broken: found.map(broken) },
        Err(panic) => {
            let words = panic.downcast_ref::<String>().cloned();
            let words = words.or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned()));
            let found = ("panic", words.unwrap_or_default());
            Outcome { counts: Counts::default(), trace: 0, broken: Some(broken(found)) }
        }
    }
}
