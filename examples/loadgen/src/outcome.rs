use crate::growth::Step;
use crate::latency::Latencies;
use crate::meter::Usage;
use crate::stored::Stored;

/// What one round measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) sent: u64,
    pub(crate) delivered: u64,
    pub(crate) acked: u64,
    pub(crate) usage: Usage,
    pub(crate) rss_per_link: Option<f64>,
    pub(crate) rss_peak: Option<u64>,
    pub(crate) latency: Option<Latencies>,
    pub(crate) ack: Option<Latencies>,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
    /// Messages that arrived by a pull, because their push did not.
    pub(crate) pulled: u64,
    /// What was to be sent, where that was fixed.
    pub(crate) offered: Option<f64>,
    /// Deliveries in each tenth of the round, where it should be even.
    pub(crate) slices: Vec<u64>,
    /// Logins that were refused or cut and had to be tried again.
    pub(crate) failed_logins: u64,
    /// Links that the server ended, where it may.
    pub(crate) cut: u64,
    /// What the messages took on disk, where that was measured.
    pub(crate) stored: Option<Stored>,
    /// What a message cost while the store grew, where that was measured.
    pub(crate) growth: Option<Vec<Step>>,
}

impl Outcome {
    /// Deliveries a second.
    pub(crate) fn per_s(&self) -> f64 {
        self.delivered as f64 / self.usage.seconds
    }

    /// The server's CPU seconds for a million deliveries.
    pub(crate) fn cpu_per_million(&self) -> Option<f64> {
        (self.delivered > 0).then_some(())?;
        Some(self.usage.cpu_s? / self.delivered as f64 * 1e6)
    }

    /// What part of the offered messages was sent.
    pub(crate) fn actual(&self) -> Option<f64> {
        self.offered.map(|offered| self.sent as f64 / offered.max(1.0))
    }

    /// By how much the second half of the round differs from the first, as a part of their mean; 0 in a steady state.
    pub(crate) fn drift(&self) -> f64 {
        let (first, second) = self.slices.split_at(self.slices.len() / 2);
        let (first, second) = (first.iter().sum::<u64>() as f64, second.iter().sum::<u64>() as f64);
        if first + second == 0.0 { 0.0 } else { (second - first).abs() / (first + second) * 2.0 }
    }

    /// What the server did wrong, if anything.
    pub(crate) fn broken(&self) -> Option<String> {
        let Outcome { lost, duplicated, reordered, failed_logins, .. } = self;
        if *failed_logins > 0 {
            return Some(format!("{failed_logins} logins failed at first"));
        }
        (lost + duplicated + reordered > 0)
            .then(|| format!("{lost} messages lost, {duplicated} doubled, {reordered} reordered"))
    }

    /// Takes on what was wrong before.
    pub(crate) fn blamed_for(self, before: &Outcome) -> Outcome {
        Outcome {
            lost: self.lost + before.lost,
            duplicated: self.duplicated + before.duplicated,
            reordered: self.reordered + before.reordered,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift_is_the_difference_of_the_halves() {
        let drift = |slices: &[u64]| Outcome { slices: slices.to_vec(), ..Outcome::default() }.drift();
        assert_eq!(drift(&[5, 5, 5, 5]), 0.0);
        assert_eq!(drift(&[6, 6, 4, 4]), 0.4);
        assert_eq!(drift(&[]), 0.0);
    }

    #[test]
    fn a_round_without_deliveries_has_no_cost_of_one() {
        let usage = Usage { seconds: 2.0, cpu_s: Some(1.0), own_cpu_s: 0.0 };
        assert_eq!(Outcome { usage, ..Outcome::default() }.cpu_per_million(), None);
        assert_eq!(Outcome { usage, delivered: 100, ..Outcome::default() }.cpu_per_million(), Some(10_000.0));
    }

    #[test]
    fn any_broken_promise_is_said() {
        assert_eq!(Outcome::default().broken(), None);
        assert!(Outcome { lost: 1, ..Outcome::default() }.broken().is_some());
        assert!(Outcome { reordered: 1, ..Outcome::default() }.broken().is_some());
        assert!(Outcome { failed_logins: 1, ..Outcome::default() }.broken().is_some());
    }
}
