use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use im_core::ports::Clock;
use im_core::storage::StoreError;
use im_core::time::Tick;

use super::Limits;

/// The tries of one call.
pub(super) struct Pauses<'a> {
    clock: &'a dyn Clock,
    limits: Limits,
    /// The last moment for a try to begin.
    end: Tick,
    done: u32,
    jitter: RandomState,
}

impl<'a> Pauses<'a> {
    pub(super) fn new(clock: &'a dyn Clock, limits: Limits) -> Self {
        let end = clock.tick() + limits.within;
        Self { clock, limits, end, done: 0, jitter: RandomState::new() }
    }

    /// Waits before the next try; `false`, at once, if there is to be none.
    pub(super) async fn wait(&mut self, error: &StoreError) -> bool {
        self.done += 1;
        let next = self.clock.tick() + self.pause();
        if self.done >= self.limits.tries || next > self.end {
            return false;
        }
        tracing::debug!(
            error = error as &dyn std::error::Error,
            tries = self.done,
            "a call of the store is tried again"
        );
        self.clock.sleep_until(next).await;
        true
    }

    /// From half of it on, a random part of a time that doubles.
    fn pause(&self) -> Duration {
        let doubled = 2_u32.saturating_pow(self.done - 1);
        let most = self.limits.first_pause.saturating_mul(doubled).min(self.limits.longest_pause);
        let part = u32::try_from(self.jitter.hash_one(self.done) % 1_000).unwrap_or(0);
        most / 2 + (most / 2).saturating_mul(part) / 1_000
    }
}
