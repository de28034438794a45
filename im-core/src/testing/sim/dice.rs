use std::time::Duration;

use crate::client::SplitMix64;

/// All the chance there is in a simulated world. One seed, one sequence of throws.
#[derive(Debug)]
pub(super) struct Dice(SplitMix64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(SplitMix64::new(seed))
    }

    pub(super) fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// From `low` to `high`, both inclusive.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.0.up_to(high.saturating_sub(low))
    }

    /// An index of something that has `len` parts; `len` is at least 1.
    pub(super) fn index(&mut self, len: usize) -> usize {
        let last = u64::try_from(len.saturating_sub(1)).unwrap_or(u64::MAX);
        usize::try_from(self.0.up_to(last)).unwrap_or(0)
    }

    /// Whether something happens that happens in so many of a thousand cases.
    pub(super) fn happens(&mut self, per_mille: u64) -> bool {
        self.0.up_to(999) < per_mille
    }

    /// A time between two numbers of microseconds.
    pub(super) fn micros(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_micros(self.between(low, high))
    }

    /// A time between two numbers of milliseconds, in steps of microseconds.
    pub(super) fn millis(&mut self, low: u64, high: u64) -> Duration {
        self.micros(low * 1_000, high * 1_000)
    }
}
