use std::time::Duration;

use crate::clock::Nanos;

/// When messages are due at a fixed rate. The schedule follows the time that has passed, never the answers that have come, so a
/// server that stalls is charged for every message that should have been sent meanwhile (no coordinated omission).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    start: Nanos,
    /// Nanoseconds between two messages.
    interval: f64,
    /// Messages that were due and taken.
    taken: u64,
}

impl Schedule {
    /// `rate` messages a second from `start` on; the rate is positive.
    pub(crate) fn new(start: Nanos, rate: f64) -> Self {
        Schedule { start, interval: 1e9 / rate, taken: 0 }
    }

    /// When the next message is due.
    pub(crate) fn next(&self) -> Nanos {
        self.start.plus(Duration::from_secs_f64(self.taken as f64 * self.interval / 1e9))
    }

    /// The next message's number and its due time, if that has come.
    pub(crate) fn take(&mut self, now: Nanos) -> Option<(u64, Nanos)> {
        let due = self.next();
        (due <= now).then(|| {
            self.taken += 1;
            (self.taken - 1, due)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_at_even_times_and_keep_them_when_taken_late() {
        let mut schedule = Schedule::new(Nanos(1_000), 1e6);
        assert_eq!(schedule.take(Nanos(999)), None);
        assert_eq!(schedule.take(Nanos(1_000)), Some((0, Nanos(1_000))));
        assert_eq!(schedule.take(Nanos(1_999)), None);
        assert_eq!(schedule.take(Nanos(9_000)), Some((1, Nanos(2_000))));
        assert_eq!(schedule.take(Nanos(9_000)), Some((2, Nanos(3_000))));
        assert_eq!(schedule.next(), Nanos(4_000));
    }
}
