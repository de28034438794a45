use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Latencies of one kind in one round, kept to three digits from 1 ns to an hour.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

/// Quantiles in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// What is longer counts as this long.
const LONGEST: u64 = 3_600_000_000_000;

impl Latencies {
    pub(crate) fn new() -> Self {
        Latencies(Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds and digits are in range"))
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Takes in another's.
    pub(crate) fn add(&mut self, other: &Latencies) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// `None` if nothing was recorded.
    pub(crate) fn quantiles(&self) -> Option<Quantiles> {
        let micros = |quantile| self.0.value_at_quantile(quantile) as f64 / 1e3;
        let max = self.0.max() as f64 / 1e3;
        (!self.0.is_empty()).then(|| Quantiles {
            p50: micros(0.5),
            p99: micros(0.99),
            p999: micros(0.999),
            max,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_in_microseconds() {
        let mut latencies = Latencies::new();
        assert_eq!(latencies.quantiles(), None);
        for micros in 1..=1_000 {
            latencies.record(Duration::from_micros(micros));
        }
        let quantiles = latencies.quantiles().unwrap();
        for (is, should) in [(quantiles.p50, 500.0), (quantiles.p99, 990.0), (quantiles.max, 1_000.0)] {
            assert!((is / should - 1.0_f64).abs() < 0.002, "{is} is not {should}");
        }
    }
}
