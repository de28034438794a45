use crate::bench::{Bench, Round};
use crate::fault::Fault;
use crate::progress::Progress;
use crate::rounds::Side;
use crate::scenario::Scenario;
use crate::search::Search;
use crate::stage::Stage;

/// Looks, in every round anew, for the highest rate that one side carries with its 99th percentile within a bound.
pub(crate) struct Highest<'a, F> {
    pub(crate) stage: &'a Stage<'a>,
    pub(crate) side: Side,
    /// Where to begin; later rounds begin with what the one before found.
    pub(crate) from: f64,
    /// Microseconds.
    pub(crate) bound: f64,
    /// The scenario at a rate.
    pub(crate) at: F,
}

/// A trial in which others were too loud says nothing, and is repeated so often.
const TRIES: usize = 4;

impl<F: Fn(Option<f64>) -> S, S: Scenario> Bench for Highest<'_, F> {
    /// The round at the highest rate that held.
    fn round(&mut self, label: String) -> Result<Round, Fault> {
        let mut search = Search::from(self.from);
        let mut best = None;
        while let Some(rate) = search.next() {
            let label = format!("{label}, {rate:.0} a second");
            let round = self.quiet_trial(rate, &label)?;
            let held = self.holds(&round, &label);
            search.tell(held);
            if held {
                best = Some(round);
            }
        }
        self.from = search.found().unwrap_or(self.from);
        let bound = self.bound;
        best.ok_or_else(|| Fault::Product(format!("no rate keeps the 99th percentile within {bound} µs")))
    }
}

impl<F: Fn(Option<f64>) -> S, S: Scenario> Highest<'_, F> {
    fn quiet_trial(&self, rate: f64, label: &str) -> Result<Round, Fault> {
        let scenario = (self.at)(Some(rate));
        let mut bench = self.stage.contender(self.side, &scenario).bench;
        for _ in 0..TRIES {
            let round = bench.round(label.to_owned())?;
            if let Some(why) = round.outcome.broken() {
                return Err(Fault::Product(why));
            }
            if round.others <= self.stage.limits.others {
                return Ok(round);
            }
        }
        Err(Fault::Environment(format!("others were loud in {TRIES} trials at {rate:.0} a second")))
    }

    fn holds(&self, round: &Round, label: &str) -> bool {
        let quantiles = round.outcome.latency.as_ref().and_then(|latency| latency.quantiles());
        let p99 = quantiles.map_or(f64::MAX, |of| of.p99);
        let sent = round.outcome.actual().unwrap_or(1.0);
        let held = p99 <= self.bound && sent >= self.stage.limits.actual;
        let verdict = if held { "holds" } else { "does not hold" };
        Progress::new(label.to_owned())
            .note(&format!("p99 {p99:.0} µs, {:.0} % sent: {verdict}", sent * 100.0));
        held
    }
}
