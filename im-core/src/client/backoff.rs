use std::time::Duration;

use super::SplitMix64;

/// How long to wait before trying again: a random time up to a bound that doubles with each failure ("full jitter", which of the
/// usual schemes gives a recovering server the least work: M. Brooker, "Exponential Backoff And Jitter", AWS 2015).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The bound after the first failure. Default 200 ms.
    pub base: Duration,
    /// What the bound never passes. Default 30 s.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Duration::from_millis(200), cap: Duration::from_secs(30) }
    }
}

impl Backoff {
    /// The longest wait after this many failures in a row (0 is the same as 1).
    pub fn bound(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(30);
        self.base.saturating_mul(1 << doublings).min(self.cap)
    }

    /// A random wait after this many failures in a row, with millisecond steps.
    pub fn delay(&self, failures: u32, random: &mut SplitMix64) -> Duration {
        let bound = u64::try_from(self.bound(failures).as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(random.up_to(bound))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_the_cap() {
        let backoff = Backoff::default();
        let bounds: Vec<_> = (1..=9).map(|failures| backoff.bound(failures).as_millis()).collect();
        assert_eq!(bounds, [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000]);
        assert_eq!(backoff.bound(u32::MAX), backoff.cap);
    }

    #[test]
    fn delays_are_spread_below_the_bound() {
        let (backoff, mut random) = (Backoff::default(), SplitMix64::new(7));
        let delays: Vec<_> = (0..200).map(|_| backoff.delay(4, &mut random)).collect();
        assert!(delays.iter().all(|delay| *delay <= Duration::from_millis(1_600)));
        assert!(delays.iter().any(|delay| *delay < Duration::from_millis(400)));
        assert!(delays.iter().any(|delay| *delay > Duration::from_millis(1_200)));
    }
}
