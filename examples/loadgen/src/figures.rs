use serde::Serialize;

use crate::bench::Round;
use crate::growth::Growth;
use crate::latency::{Latencies, Quantiles};
use crate::outcome::Outcome;
use crate::stored::Stored;

/// What the kept rounds of one side say: counts and seconds are sums, everything else is the median of the rounds (`max`, of
/// latencies, is the greatest).
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Figures {
    pub(crate) sent: u64,
    pub(crate) delivered: u64,
    pub(crate) acked: u64,
    pub(crate) seconds: f64,
    /// Deliveries a second.
    pub(crate) per_s: f64,
    /// The server's CPU seconds for a million deliveries.
    pub(crate) cpu_s_per_million: Option<f64>,
    pub(crate) rss_bytes_per_link: Option<f64>,
    pub(crate) latency_us: Option<Quantiles>,
    pub(crate) ack_us: Option<Quantiles>,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
    /// The most memory that a server of the rounds ever had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rss_peak_bytes: Option<u64>,
    /// Bytes on disk, where they were measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disk: Option<Stored>,
    /// What a message cost while the store grew, where that was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) growth: Option<Growth>,
}

impl Figures {
    pub(crate) fn of(rounds: &[Round]) -> Self {
        let sum = |of: fn(&Outcome) -> u64| rounds.iter().map(|round| of(&round.outcome)).sum();
        let middle =
            |of: fn(&Outcome) -> Option<f64>| median(rounds.iter().filter_map(|round| of(&round.outcome)));
        Figures {
            sent: sum(|outcome| outcome.sent),
            delivered: sum(|outcome| outcome.delivered),
            acked: sum(|outcome| outcome.acked),
            seconds: rounds.iter().map(|round| round.outcome.usage.seconds).sum(),
            per_s: middle(|outcome| Some(outcome.per_s())).unwrap_or(0.0),
            cpu_s_per_million: middle(Outcome::cpu_per_million),
            rss_bytes_per_link: middle(|outcome| outcome.rss_per_link),
            latency_us: quantiles(rounds.iter().filter_map(|round| round.outcome.latency.as_ref())),
            ack_us: quantiles(rounds.iter().filter_map(|round| round.outcome.ack.as_ref())),
            lost: sum(|outcome| outcome.lost),
            duplicated: sum(|outcome| outcome.duplicated),
            reordered: sum(|outcome| outcome.reordered),
            rss_peak_bytes: rounds.iter().filter_map(|round| round.outcome.rss_peak).max(),
            disk: Stored::median(rounds.iter().filter_map(|round| round.outcome.stored.as_ref())),
            growth: Growth::of(rounds.iter().filter_map(|round| round.outcome.growth.as_ref())),
        }
    }
}

fn quantiles<'a>(rounds: impl Iterator<Item = &'a Latencies>) -> Option<Quantiles> {
    let rounds: Vec<Quantiles> = rounds.filter_map(Latencies::quantiles).collect();
    let middle = |of: fn(&Quantiles) -> f64| median(rounds.iter().map(of));
    Some(Quantiles {
        p50: middle(|round| round.p50)?,
        p99: middle(|round| round.p99)?,
        p999: middle(|round| round.p999)?,
        max: rounds.iter().map(|round| round.max).fold(0.0, f64::max),
    })
}

/// The middle value; of an even number, the mean of the two in the middle.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some((low + high) / 2.0)
}

/// Our figures divided by the floor's, where both are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Ratio {
    pub(crate) per_s: Option<f64>,
    pub(crate) cpu_s_per_million: Option<f64>,
    pub(crate) rss_bytes_per_link: Option<f64>,
    pub(crate) latency_p50: Option<f64>,
    pub(crate) latency_p99: Option<f64>,
    pub(crate) ack_p50: Option<f64>,
    pub(crate) ack_p99: Option<f64>,
    /// By what is allocated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disk: Option<f64>,
}

impl Ratio {
    pub(crate) fn of(ours: &Figures, floor: &Figures) -> Self {
        let ratio =
            |of: fn(&Figures) -> Option<f64>| Some(of(ours)? / of(floor).filter(|floor| *floor > 0.0)?);
        Ratio {
            per_s: ratio(|figures| Some(figures.per_s)),
            cpu_s_per_million: ratio(|figures| figures.cpu_s_per_million),
            rss_bytes_per_link: ratio(|figures| figures.rss_bytes_per_link),
            latency_p50: ratio(|figures| Some(figures.latency_us?.p50)),
            latency_p99: ratio(|figures| Some(figures.latency_us?.p99)),
            ack_p50: ratio(|figures| Some(figures.ack_us?.p50)),
            ack_p99: ratio(|figures| Some(figures.ack_us?.p99)),
            disk: ratio(|figures| Some(figures.disk.as_ref()?.allocated_per_message)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Usage;

    fn round(delivered: u64, cpu_s: f64) -> Round {
        let usage = Usage { seconds: 2.0, cpu_s: Some(cpu_s), own_cpu_s: 0.0 };
        Round { outcome: Outcome { delivered, usage, ..Outcome::default() }, others: 0.0 }
    }

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), Some(2.5));
        assert_eq!(median(std::iter::empty()), None);
    }

    #[test]
    fn counts_are_summed_and_rates_are_medians() {
        let figures = Figures::of(&[round(100, 1.0), round(200, 1.0), round(600, 1.0)]);
        assert_eq!((figures.delivered, figures.seconds, figures.per_s), (900, 6.0, 100.0));
        assert_eq!(figures.cpu_s_per_million, Some(5_000.0));
    }

    #[test]
    fn a_ratio_is_given_where_both_sides_have_a_figure() {
        let (ours, floor) = (Figures::of(&[round(100, 3.0)]), Figures::of(&[round(200, 2.0)]));
        let ratio = Ratio::of(&ours, &floor);
        assert_eq!((ratio.per_s, ratio.cpu_s_per_million, ratio.latency_p99), (Some(0.5), Some(3.0), None));
    }
}
