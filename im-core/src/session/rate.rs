use std::time::Duration;

use crate::time::Tick;

/// A token bucket in one word: the moment at which it will be full again (the generic cell rate algorithm, ITU-T I.371).
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    full_at: Tick,
    each: Duration,
    burst: Duration,
}

impl Rate {
    /// `per_second` tokens a second and `burst` at once; both at least 1.
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        let each = Duration::from_secs(1) / per_second.max(1);
        Self { full_at: Tick::default(), each, burst: each * burst.max(1) }
    }

    /// Takes one token, which may be owed.
    pub(super) fn take(&mut self, now: Tick) {
        self.full_at = self.full_at.max(now) + self.each;
    }

    /// When a token is there: `None` for now.
    pub(super) fn wait(&self, now: Tick) -> Option<Tick> {
        let owed = self.full_at.since(now);
        (owed >= self.burst).then(|| now + (owed - self.burst) + self.each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_a_period() {
        let mut rate = Rate::new(10, 3);
        let start = Tick::from_millis(1_000);
        for _ in 0..3 {
            assert_eq!(rate.wait(start), None);
            rate.take(start);
        }
        assert_eq!(rate.wait(start), Some(Tick::from_millis(1_100)));
        assert_eq!(rate.wait(Tick::from_millis(1_100)), None);
    }
}
