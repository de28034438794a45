use std::time::Duration;

use crate::clock::Nanos;
use crate::meter::{Meter, Span, Usage};

/// Into so many parts a measurement is cut to see whether it was steady.
const SLICES: u64 = 10;

/// The times of a round: warming up, measuring, draining.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) warmup: Duration,
    pub(crate) measure: Duration,
}

/// What has just begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Measuring,
    Draining,
}

/// Where a round stands.
pub(crate) struct Window {
    times: Times,
    meter: Meter,
    begin: Option<Nanos>,
    span: Option<Span>,
    usage: Option<Usage>,
    slices: Vec<u64>,
    /// Deliveries after which it closes, whatever the time; how many there were; when it closed for that.
    most: Option<u64>,
    delivered: u64,
    closed: Option<Nanos>,
}

impl Window {
    /// It opens at its first [`advance`](Self::advance).
    pub(crate) fn new(times: Times, meter: Meter) -> Self {
        let slices = vec![0; usize::try_from(SLICES).expect("SLICES is small")];
        Window {
            times,
            meter,
            begin: None,
            span: None,
            usage: None,
            slices,
            most: None,
            delivered: 0,
            closed: None,
        }
    }

    /// Closes it after this many deliveries too. Whether such a measurement was steady is not to be seen.
    pub(crate) fn at_most(self, most: Option<u64>) -> Self {
        let slices = if most.is_some() { Vec::new() } else { self.slices };
        Window { most, slices, ..self }
    }

    /// Moves on with the time.
    pub(crate) fn advance(&mut self, now: Nanos) -> Option<Change> {
        let begin = *self.begin.get_or_insert(now);
        if self.span.is_none() && now >= begin.plus(self.times.warmup) {
            // What is late in warming up does not shorten the measurement.
            self.begin = Some(Nanos(now.0 - nanos(self.times.warmup).min(now.0)));
            self.span = Some(self.meter.start());
            return Some(Change::Measuring);
        }
        if let (Some(span), None) = (&self.span, self.usage)
            && (now >= self.end() || self.most.is_some_and(|most| self.delivered >= most))
        {
            self.closed = Some(now.min(self.end()));
            self.usage = Some(span.end());
            return Some(Change::Draining);
        }
        None
    }

    /// Whether messages are still sent.
    pub(crate) fn is_open(&self) -> bool {
        self.usage.is_none()
    }

    pub(crate) fn is_measuring(&self) -> bool {
        self.span.is_some() && self.usage.is_none()
    }

    /// Whether a message that was due then counts.
    pub(crate) fn counts(&self, due: Nanos) -> bool {
        self.span.is_some() && due >= self.start() && due < self.end()
    }

    /// When [`advance`](Self::advance) has something to do next.
    pub(crate) fn next(&self, now: Nanos) -> Nanos {
        if self.span.is_none() { self.start().max(now) } else { self.end() }
    }

    /// A delivery at this moment, for the steady-state check.
    pub(crate) fn delivered(&mut self, now: Nanos) {
        if !self.is_measuring() {
            return;
        }
        self.delivered += 1;
        let at =
            u128::from(SLICES) * now.since(self.start()).as_nanos() / self.times.measure.as_nanos().max(1);
        if let Some(slice) = usize::try_from(at).ok().and_then(|at| self.slices.get_mut(at)) {
            *slice += 1;
        }
    }

    /// What was used while measuring, and the deliveries of each part.
    pub(crate) fn finish(self) -> (Usage, Vec<u64>) {
        (self.usage.unwrap_or_default(), self.slices)
    }

    fn start(&self) -> Nanos {
        self.begin.unwrap_or_default().plus(self.times.warmup)
    }

    fn end(&self) -> Nanos {
        self.closed.unwrap_or_else(|| self.start().plus(self.times.measure))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_warms_up_measures_and_drains() {
        let times = Times { warmup: Duration::from_nanos(100), measure: Duration::from_nanos(1_000) };
        let mut window = Window::new(times, Meter::new(None));
        assert_eq!(window.advance(Nanos(1_000)), None);
        assert_eq!(window.advance(Nanos(1_100)), Some(Change::Measuring));
        assert!(window.counts(Nanos(1_100)) && !window.counts(Nanos(1_099)));
        for at in [1_100, 1_199, 1_200, 2_099] {
            window.delivered(Nanos(at));
        }
        assert_eq!(window.advance(Nanos(2_099)), None);
        assert_eq!(window.advance(Nanos(2_100)), Some(Change::Draining));
        assert!(!window.is_open() && !window.counts(Nanos(2_100)) && window.counts(Nanos(2_099)));
        window.delivered(Nanos(2_100));
        assert_eq!(window.finish().1, [2, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn a_round_of_so_many_deliveries_ends_with_the_last_one() {
        let times = Times { warmup: Duration::ZERO, measure: Duration::from_nanos(1_000) };
        let mut window = Window::new(times, Meter::new(None)).at_most(Some(2));
        assert_eq!(window.advance(Nanos(1)), Some(Change::Measuring));
        window.delivered(Nanos(2));
        assert_eq!(window.advance(Nanos(2)), None);
        window.delivered(Nanos(3));
        assert_eq!(window.advance(Nanos(4)), Some(Change::Draining));
        assert!(window.counts(Nanos(3)) && !window.counts(Nanos(4)) && !window.is_open());
        assert!(window.finish().1.is_empty());
    }
}
