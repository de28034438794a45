use std::time::Duration;

/// Heartbeats on a link that count as a sign that the network is steady, before longer ones are tried (Mars, `NetStableTestCount`).
const STEADY_AFTER: u32 = 3;
/// Successes in a row at one interval before a longer one is tried (Mars, `BaseSuccCount`).
const SUCCESSES_TO_GROW: u32 = 5;
/// Failures at one interval before it is given up (Mars, `MaxHeartFailCount`).
const FAILURES_TO_SHRINK: u32 = 2;
/// By how much a longer interval is longer (Mars, `HeartStep`).
const STEP: Duration = Duration::from_secs(60);
/// How far below the found limit the link settles (Mars, `SuccessStep`).
const MARGIN: Duration = Duration::from_secs(20);

/// The shortest and the longest silence of a link. Equal ends make a fixed heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeartbeatRange {
    /// Where probing starts and what is always safe. Default 210 s (Mars, `MinHeartInterval`).
    pub min: Duration,
    /// What is announced to the server as the longest pause. Default 580 s, which the servers' idle limit of 630 s leaves room for.
    pub max: Duration,
}

impl Default for HeartbeatRange {
    fn default() -> Self {
        Self { min: Duration::from_secs(210), max: Duration::from_secs(580) }
    }
}

impl HeartbeatRange {
    /// Always the same interval.
    pub fn fixed(interval: Duration) -> Self {
        Self { min: interval, max: interval }
    }

    /// The longest pause in whole seconds, as auth announces it; at least 1.
    pub fn announced_seconds(&self) -> i32 {
        let whole = self.max.as_secs() + u64::from(self.max.subsec_nanos() > 0);
        i32::try_from(whole).unwrap_or(i32::MAX).max(1)
    }
}

/// Finds the longest silence that the network between client and server survives, as Mars' smart heartbeat does: after a few short
/// heartbeats it stretches the interval step by step, and when one fails twice it settles below it. A phone whose radio may sleep
/// for nine minutes instead of three lasts longer.
///
/// It learns for one network; make a new one when the device changes to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmartHeartbeat {
    range: HeartbeatRange,
    current: Duration,
    /// Whether the search is over and `current` is its result.
    settled: bool,
    successes: u32,
    failures: u32,
    /// Of any interval, on this link.
    link_successes: u32,
}

impl SmartHeartbeat {
    /// A search that begins at the range's shortest interval.
    pub fn new(range: HeartbeatRange) -> Self {
        Self { range, current: range.min, settled: false, successes: 0, failures: 0, link_successes: 0 }
    }

    /// How long the link may be silent before the next heartbeat.
    pub fn interval(&self) -> Duration {
        if self.is_steady() { self.current } else { self.range.min }
    }

    /// Whether the search is over.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// A new link: its first heartbeats are short again.
    pub fn link_opened(&mut self) {
        self.link_successes = 0;
    }

    /// A heartbeat was answered in time.
    pub fn succeeded(&mut self) {
        let tested = self.interval();
        self.link_successes = self.link_successes.saturating_add(1);
        if self.settled || tested != self.current || !self.is_steady() {
            return;
        }
        self.failures = 0;
        self.successes += 1;
        if self.current >= self.range.max {
            self.settle_below(MARGIN);
        } else if self.successes >= SUCCESSES_TO_GROW {
            self.current = (self.current + STEP).min(self.range.max);
            self.successes = 0;
        }
    }

    /// A heartbeat was not answered: the link broke while one was out.
    pub fn failed(&mut self) {
        // While the shortest interval is in use the failure tells nothing about longer ones.
        if !self.is_steady() || self.current == self.range.min {
            return;
        }
        self.failures += 1;
        if self.failures < FAILURES_TO_SHRINK {
            return;
        }
        if self.settled {
            *self = Self::new(self.range);
        } else {
            self.settle_below(STEP + MARGIN);
        }
    }

    fn is_steady(&self) -> bool {
        self.link_successes >= STEADY_AFTER
    }

    fn settle_below(&mut self, margin: Duration) {
        self.current = self.current.saturating_sub(margin).max(self.range.min);
        self.settled = true;
        self.successes = 0;
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steady() -> SmartHeartbeat {
        let mut heart = SmartHeartbeat::new(HeartbeatRange::default());
        succeed(&mut heart, STEADY_AFTER);
        heart
    }

    fn succeed(heart: &mut SmartHeartbeat, times: u32) {
        (0..times).for_each(|_| heart.succeeded());
    }

    fn fail_on_a_steady_link(heart: &mut SmartHeartbeat) {
        heart.failed();
        heart.link_opened();
        succeed(heart, STEADY_AFTER);
    }

    #[test]
    fn it_starts_at_210_seconds_and_grows_by_a_minute_after_five_successes() {
        let mut heart = steady();
        assert_eq!(heart.interval().as_secs(), 210);
        succeed(&mut heart, SUCCESSES_TO_GROW - 1);
        assert_eq!(heart.interval().as_secs(), 270);
        succeed(&mut heart, SUCCESSES_TO_GROW);
        assert_eq!(heart.interval().as_secs(), 330);
    }

    #[test]
    fn it_never_passes_580_seconds_and_settles_20_below() {
        let mut heart = SmartHeartbeat::new(HeartbeatRange::default());
        let mut longest = Duration::ZERO;
        for _ in 0..100 {
            heart.succeeded();
            longest = longest.max(heart.interval());
        }
        assert_eq!((longest.as_secs(), heart.interval().as_secs(), heart.is_settled()), (580, 560, true));
    }

    #[test]
    fn two_failures_at_an_interval_settle_80_seconds_below_it() {
        let mut heart = steady();
        succeed(&mut heart, 4 + 5 + 5);
        assert_eq!(heart.interval().as_secs(), 390);
        fail_on_a_steady_link(&mut heart);
        assert_eq!((heart.interval().as_secs(), heart.is_settled()), (390, false));
        fail_on_a_steady_link(&mut heart);
        assert_eq!((heart.interval().as_secs(), heart.is_settled()), (310, true));
    }

    #[test]
    fn a_settled_interval_that_fails_twice_starts_the_search_again() {
        let mut heart = SmartHeartbeat::new(HeartbeatRange::default());
        succeed(&mut heart, 100);
        fail_on_a_steady_link(&mut heart);
        fail_on_a_steady_link(&mut heart);
        assert_eq!((heart.interval().as_secs(), heart.is_settled()), (210, false));
    }

    #[test]
    fn a_new_link_begins_with_short_heartbeats_and_keeps_what_was_learned() {
        let mut heart = steady();
        succeed(&mut heart, 4);
        heart.link_opened();
        assert_eq!(heart.interval().as_secs(), 210);
        succeed(&mut heart, STEADY_AFTER);
        assert_eq!(heart.interval().as_secs(), 270);
    }

    #[test]
    fn a_fixed_heartbeat_stays_fixed() {
        let range = HeartbeatRange::fixed(Duration::from_secs(30));
        let mut heart = SmartHeartbeat::new(range);
        succeed(&mut heart, 50);
        heart.failed();
        heart.failed();
        assert_eq!((heart.interval().as_secs(), range.announced_seconds()), (30, 30));
    }
}
