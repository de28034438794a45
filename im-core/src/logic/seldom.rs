//! Log lines of which a thousand would say the same as one.

use std::sync::Mutex;
use std::time::Duration;

use super::lock;
use crate::time::Tick;

/// A line comes so often at most: as often as that connections are refused.
const EVERY: Duration = Duration::from_secs(10);

/// Whether a line is due.
#[derive(Debug, Default)]
pub(super) struct Seldom(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    next: Option<Tick>,
    passed_over: u64,
}

impl Seldom {
    /// If the line is due: how often it was passed over since it came last.
    pub(super) fn due(&self, now: Tick) -> Option<u64> {
        let mut told = lock(&self.0);
        if told.next.is_some_and(|next| now < next) {
            told.passed_over += 1;
            return None;
        }
        told.next = Some(now + EVERY);
        Some(std::mem::take(&mut told.passed_over))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_at_most_every_ten_seconds_and_counts_what_was_passed_over() {
        let seldom = Seldom::default();
        let due =
            [0, 1, 9, 10, 19, 40].map(|second| seldom.due(Tick::default() + Duration::from_secs(second)));
        assert_eq!(due, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
