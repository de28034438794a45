use serde::Serialize;

use crate::bench::{Bench, Round};
use crate::fault::Fault;
use crate::progress::Progress;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    Ours,
    Floor,
    /// Ours as well, without what the scenario is about.
    Without,
}

impl Side {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Side::Ours => "ours",
            Side::Floor => "floor",
            Side::Without => "without",
        }
    }
}

/// Beyond what a round does not count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// What others may use, in per cent of one core.
    pub(crate) others: f64,
    /// See [`Outcome::drift`](crate::outcome::Outcome::drift).
    pub(crate) drift: f64,
    /// The least part of an offered rate that must have been sent.
    pub(crate) actual: f64,
}

/// Whose doing it is that a round does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blame {
    Server,
    Loader,
    Machine,
}

/// A round that was thrown away.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Void {
    pub(crate) side: Side,
    pub(crate) round: u32,
    pub(crate) why: String,
    #[serde(skip)]
    blame: Blame,
}

/// One of the compared servers, and its rounds that count.
pub(crate) struct Contender<'a> {
    pub(crate) side: Side,
    pub(crate) bench: Box<dyn Bench + 'a>,
    pub(crate) kept: Vec<Round>,
    /// Rounds in a row that the environment forbade.
    accidents: usize,
}

impl<'a> Contender<'a> {
    pub(crate) fn new(side: Side, bench: impl Bench + 'a) -> Self {
        Contender { side, bench: Box::new(bench), kept: Vec::new(), accidents: 0 }
    }

    /// What the environment did, if it did this and may not do it again; else the fault.
    fn accident(&mut self, fault: Fault) -> Result<String, Fault> {
        self.accidents += 1;
        match fault {
            Fault::Environment(why) if self.accidents < ACCIDENTS => Ok(why),
            fault => Err(fault),
        }
    }
}

/// So many rounds of one side in a row that the environment forbids are no accident.
const ACCIDENTS: usize = 3;

/// Runs the contenders in turn until each has `wanted` rounds that count, or three times as many were tried. A round that shows
/// the server at fault ends it at once, and so do [`ACCIDENTS`]. Returns the rounds that do not count, and what is wrong if there are not
/// enough.
pub(crate) fn interleave(
    contenders: &mut [Contender<'_>],
    name: &str,
    wanted: usize,
    limits: Limits,
) -> Result<(Vec<Void>, Option<Fault>), Fault> {
    let mut void: Vec<Void> = Vec::new();
    for round in 1..=u32::try_from(wanted * 3).unwrap_or(u32::MAX) {
        for contender in contenders.iter_mut().filter(|contender| contender.kept.len() < wanted) {
            let side = contender.side;
            let label = format!("{name}, {}, round {round}", side.name());
            let progress = Progress::new(label.clone());
            let outcome = match contender.bench.round(label) {
                Ok(outcome) => outcome,
                Err(fault) => {
                    let why = contender.accident(fault)?;
                    progress.note(&format!("does not count: {why}"));
                    void.push(Void { side, round, why, blame: Blame::Machine });
                    continue;
                }
            };
            contender.accidents = 0;
            let Some((blame, why)) = judge(&outcome, limits) else {
                progress.note(&summary(&outcome));
                contender.kept.push(outcome);
                continue;
            };
            progress.note(&format!("{}; does not count: {why}", summary(&outcome)));
            void.push(Void { side, round, why: why.clone(), blame });
            if blame == Blame::Server {
                return Ok((void, Some(Fault::Product(why))));
            }
        }
    }
    let short = contenders.iter().any(|contender| contender.kept.len() < wanted);
    let fault = short.then(|| too_few(&void));
    Ok((void, fault))
}

fn summary(round: &Round) -> String {
    let outcome = &round.outcome;
    let cpu = outcome.cpu_per_million().map_or_else(String::new, |cpu| format!(", {cpu:.2} CPU s a million"));
    let p99 = outcome.latency.as_ref().and_then(|latency| latency.quantiles());
    let p99 = p99.map_or_else(String::new, |latency| format!(", p99 {:.0} µs", latency.p99));
    format!("{:.0} a second{cpu}{p99}, others {:.1} %", outcome.per_s(), round.others)
}

/// Why a round does not count, if so.
fn judge(round: &Round, limits: Limits) -> Option<(Blame, String)> {
    let outcome = &round.outcome;
    if let Some(why) = outcome.broken() {
        return Some((Blame::Server, why));
    }
    if round.others > limits.others {
        return Some((Blame::Machine, format!("others used {:.1} % of a core", round.others)));
    }
    if let Some(actual) = outcome.actual().filter(|actual| *actual < limits.actual) {
        return Some((Blame::Loader, format!("only {:.1} % of the offered rate was sent", actual * 100.0)));
    }
    let drift = outcome.drift();
    (drift > limits.drift)
        .then(|| (Blame::Machine, format!("not steady: the halves differ by {:.0} %", drift * 100.0)))
}

fn too_few(void: &[Void]) -> Fault {
    let why = void.last().map_or("", |void| void.why.as_str());
    let text = format!("too few rounds count; the last one: {why}");
    if void.iter().any(|void| void.blame == Blame::Loader) {
        Fault::Harness(text)
    } else {
        Fault::Environment(text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::meter::Usage;
    use crate::outcome::Outcome;

    const LIMITS: Limits = Limits { others: 5.0, drift: 0.3, actual: 0.99 };

    /// Gives these rounds, one after the other; `None` is one that the environment forbids.
    struct Script(Vec<Option<Round>>);

    impl Bench for Script {
        fn round(&mut self, _: String) -> Result<Round, Fault> {
            self.0.remove(0).ok_or_else(|| Fault::Environment("no descriptors".to_owned()))
        }
    }

    fn quiet(outcome: Outcome) -> Round {
        Round { outcome, others: 1.0 }
    }

    fn good() -> Round {
        let usage = Usage { seconds: 1.0, ..Usage::default() };
        quiet(Outcome { delivered: 10, sent: 10, usage, ..Outcome::default() })
    }

    fn run(rounds: Vec<Round>, wanted: usize) -> (usize, Vec<String>, Option<Fault>) {
        let rounds = rounds.into_iter().map(Some).collect();
        let mut contenders = [Contender::new(Side::Ours, Script(rounds))];
        let (void, fault) = interleave(&mut contenders, "test", wanted, LIMITS).unwrap();
        (contenders[0].kept.len(), void.into_iter().map(|void| void.why).collect(), fault)
    }

    #[test]
    fn a_loud_round_is_thrown_away_and_another_is_run() {
        let (kept, void, fault) = run(vec![Round { others: 6.0, ..good() }, good(), good()], 2);
        assert_eq!((kept, void, fault.is_none()), (2, vec!["others used 6.0 % of a core".to_owned()], true));
    }

    #[test]
    fn a_lost_message_ends_it_as_the_servers_fault() {
        let (kept, _, fault) = run(vec![good(), quiet(Outcome { lost: 1, ..Outcome::default() })], 2);
        assert!(kept == 1 && matches!(fault, Some(Fault::Product(_))));
    }

    #[test]
    fn a_machine_that_is_never_quiet_is_the_environments_fault() {
        let (kept, void, fault) = run((0..3).map(|_| Round { others: 50.0, ..good() }).collect(), 1);
        assert!(kept == 0 && void.len() == 3 && matches!(fault, Some(Fault::Environment(_))));
    }

    #[test]
    fn a_rate_that_is_not_reached_is_the_loaders_fault() {
        let slow = || quiet(Outcome { offered: Some(100.0), sent: 90, ..good().outcome });
        let (_, void, fault) = run(vec![slow(), slow(), slow()], 1);
        assert_eq!(void[0], "only 90.0 % of the offered rate was sent");
        assert!(matches!(fault, Some(Fault::Harness(_))));
    }

    #[test]
    fn a_round_that_is_not_steady_is_thrown_away() {
        let unsteady = quiet(Outcome { slices: vec![10, 5], ..good().outcome });
        let (kept, void, _) = run(vec![unsteady, good()], 1);
        assert_eq!((kept, void), (1, vec!["not steady: the halves differ by 67 %".to_owned()]));
    }

    #[test]
    fn an_accident_costs_a_round_and_three_in_a_row_cost_the_run() {
        let tries = |rounds: Vec<Option<Round>>| {
            let mut contenders = [Contender::new(Side::Ours, Script(rounds))];
            let ended = interleave(&mut contenders, "test", 2, LIMITS);
            (contenders[0].kept.len(), ended.map(|(void, _)| void.len()))
        };
        let (kept, ended) = tries(vec![None, None, Some(good()), None, Some(good())]);
        assert_eq!((kept, ended.unwrap()), (2, 3));
        let (kept, ended) = tries(vec![Some(good()), None, None, None]);
        assert!(kept == 1 && matches!(ended, Err(Fault::Environment(_))));
    }
}
