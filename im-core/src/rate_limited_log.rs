//! Log lines of which a flood must not become a flood of lines.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::time::Tick;

/// Admits so many lines in a time, and counts those that were left out.
///
/// ```
/// use std::time::Duration;
/// use im_core::rate_limited_log::RateLimitedLog;
/// use im_core::time::Tick;
///
/// let log = RateLimitedLog::new(1, Duration::from_secs(1));
/// assert_eq!(log.admit(Tick::from_millis(0)), Some(0));
/// assert_eq!(log.admit(Tick::from_millis(1)), None);
/// // The next line can say that one was left out before it.
/// assert_eq!(log.admit(Tick::from_millis(1_000)), Some(1));
/// ```
#[derive(Debug)]
pub struct RateLimitedLog {
    lines: u32,
    per: Duration,
    window: Mutex<Window>,
}

/// Since when lines are counted, and how many there were.
#[derive(Debug, Default)]
struct Window {
    begun: Option<Tick>,
    lines: u32,
    left_out: u64,
}

impl RateLimitedLog {
    /// Admits `lines` lines in each `per`.
    pub fn new(lines: u32, per: Duration) -> Self {
        Self { lines, per, window: Mutex::default() }
    }

    /// Whether a line may be written: then, how many were left out since the last one that was.
    pub fn admit(&self, now: Tick) -> Option<u64> {
        let mut window = self.lock();
        if window.begun.is_none_or(|begun| begun + self.per <= now) {
            window.begun = Some(now);
            window.lines = 0;
        }
        if window.lines >= self.lines {
            window.left_out += 1;
            return None;
        }
        window.lines += 1;
        Some(std::mem::take(&mut window.left_out))
    }

    /// How many were left out in a time that is over by now, if no line has said so. Whoever asks says so.
    pub fn left_out(&self, now: Tick) -> u64 {
        let mut window = self.lock();
        match window.begun {
            Some(begun) if begun + self.per <= now => std::mem::take(&mut window.left_out),
            _ => 0,
        }
    }

    /// Nothing panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for RateLimitedLog {
    /// A line every ten seconds.
    fn default() -> Self {
        Self::new(1, Duration::from_secs(10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Tick {
        Tick::default() + Duration::from_secs(second)
    }

    #[test]
    fn a_line_comes_at_most_every_ten_seconds_and_counts_what_was_left_out() {
        let log = RateLimitedLog::default();
        let admitted = [0, 1, 9, 10, 19, 40].map(|second| log.admit(at(second)));
        assert_eq!(admitted, [Some(0), None, None, Some(2), None, Some(1)]);
    }

    #[test]
    fn what_was_left_out_is_told_once_and_when_its_time_is_over() {
        let log = RateLimitedLog::new(2, Duration::from_secs(1));
        let admitted: Vec<bool> = (0..5).map(|_| log.admit(at(7)).is_some()).collect();
        assert_eq!(admitted, [true, true, false, false, false]);
        assert_eq!([at(7), at(8), at(9)].map(|now| log.left_out(now)), [0, 3, 0]);
        assert_eq!(log.admit(at(9)), Some(0));
    }
}
