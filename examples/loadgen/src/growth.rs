use serde::Serialize;

use crate::figures::median;

/// What a message costs a store of one size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Step {
    /// Stored before the measurement, and the users that they are for.
    pub(crate) messages: f64,
    pub(crate) users: f64,
    /// The server's CPU seconds for a million messages, of pairs that send and receive.
    pub(crate) cpu_s_per_million: Option<f64>,
    pub(crate) per_s: f64,
    pub(crate) latency_p99_us: Option<f64>,
    pub(crate) ack_p99_us: Option<f64>,
    /// In memory before the measurement: all, and without what belongs to files and can be read again.
    pub(crate) rss_bytes: Option<f64>,
    pub(crate) rss_anon_bytes: Option<f64>,
    /// `rss_bytes` for each stored message.
    pub(crate) rss_bytes_per_message: Option<f64>,
    /// What storing the step's messages cost: rate, and CPU seconds for a million.
    pub(crate) fill_per_s: f64,
    pub(crate) fill_cpu_s_per_million: Option<f64>,
}

/// How the cost of a message grows with what is stored.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Growth {
    /// Medians of the rounds, the smallest store first.
    pub(crate) steps: Vec<Step>,
    /// The greatest ratio of a larger store's figure to a smaller one's; 1 or less is flat.
    pub(crate) cpu_factor: Option<f64>,
    pub(crate) fill_cpu_factor: Option<f64>,
    pub(crate) rss_per_message_factor: Option<f64>,
    /// Of the whole memory.
    pub(crate) rss_factor: Option<f64>,
}

impl Growth {
    /// `None` without a round.
    pub(crate) fn of<'a>(rounds: impl Iterator<Item = &'a Vec<Step>>) -> Option<Self> {
        let rounds: Vec<&Vec<Step>> = rounds.collect();
        let count = rounds.iter().map(|steps| steps.len()).min()?;
        let at = |step: usize| rounds.iter().map(|steps| steps[step]).collect::<Vec<_>>();
        let steps: Vec<Step> = (0..count).map(|step| middle(&at(step))).collect();
        let factor = |of: fn(&Step) -> Option<f64>| growth(steps.iter().map(of));
        Some(Growth {
            cpu_factor: factor(|step| step.cpu_s_per_million),
            fill_cpu_factor: factor(|step| step.fill_cpu_s_per_million),
            rss_per_message_factor: factor(|step| step.rss_bytes_per_message),
            rss_factor: factor(|step| step.rss_bytes),
            steps,
        })
    }
}

fn middle(rounds: &[Step]) -> Step {
    let known = |of: fn(&Step) -> Option<f64>| median(rounds.iter().filter_map(of));
    let of = |of: fn(&Step) -> f64| median(rounds.iter().map(of)).unwrap_or_default();
    Step {
        messages: of(|step| step.messages),
        users: of(|step| step.users),
        cpu_s_per_million: known(|step| step.cpu_s_per_million),
        per_s: of(|step| step.per_s),
        latency_p99_us: known(|step| step.latency_p99_us),
        ack_p99_us: known(|step| step.ack_p99_us),
        rss_bytes: known(|step| step.rss_bytes),
        rss_anon_bytes: known(|step| step.rss_anon_bytes),
        rss_bytes_per_message: known(|step| step.rss_bytes_per_message),
        fill_per_s: of(|step| step.fill_per_s),
        fill_cpu_s_per_million: known(|step| step.fill_cpu_s_per_million),
    }
}

/// The greatest ratio of a value to an earlier one.
fn growth(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.collect::<Option<_>>()?;
    let mut least = *values.first()?;
    let mut most = None;
    for value in &values[1..] {
        let factor = value / least;
        most = Some(f64::max(most.unwrap_or(factor), factor));
        least = least.min(*value);
    }
    most
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_what_a_larger_store_costs_more_than_a_smaller_one() {
        let of = |values: &[f64]| growth(values.iter().copied().map(Some));
        assert_eq!(of(&[2.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(of(&[4.0, 2.0, 1.0]), Some(0.5));
        assert_eq!(of(&[4.0]), None);
        assert_eq!(growth([Some(1.0), None].into_iter()), None);
    }

    #[test]
    fn each_step_is_the_median_of_its_rounds() {
        let round = |costs: [f64; 2]| {
            costs.map(|cost| Step { cpu_s_per_million: Some(cost), ..Step::default() }).to_vec()
        };
        let rounds = [round([1.0, 2.0]), round([9.0, 9.0]), round([2.0, 3.0])];
        let growth = Growth::of(rounds.iter()).unwrap();
        assert_eq!(growth.steps[0].cpu_s_per_million, Some(2.0));
        assert_eq!(growth.cpu_factor, Some(1.5));
        assert_eq!(growth.rss_factor, None);
    }
}
