use std::fmt::Write as _;

use serde::Serialize;

use crate::figures::{Figures, Ratio};
use crate::growth::Growth;
use crate::latency::Quantiles;
use crate::rounds::{Contender, Side, Void};
use crate::stored::Stored;

/// A scenario's result; `--json` prints it as it is.
#[derive(Serialize)]
pub(crate) struct Report {
    schema: u32,
    scenario: &'static str,
    params: serde_json::Value,
    /// Ours; of the floor, where nothing else was measured.
    #[serde(flatten)]
    figures: Figures,
    floor: Option<Figures>,
    ratio: Option<Ratio>,
    /// Rounds that count, of each side.
    rounds: usize,
    void: Vec<Void>,
    notes: Vec<Note>,
}

/// What one round has to say beyond the figures.
#[derive(Serialize)]
struct Note {
    side: Side,
    seconds: f64,
    per_s: f64,
    cpu_s: Option<f64>,
    /// What the load generator itself used.
    loader_cpu_s: f64,
    others_percent: f64,
    rss_peak_bytes: Option<u64>,
    /// Messages that came by a pull because their push did not come.
    pulled: u64,
    /// Slow readers whose link the server ended.
    cut: u64,
    /// Sent of what was offered, where a rate was set.
    actual: Option<f64>,
    /// That rate.
    offered_per_s: Option<f64>,
}

impl Report {
    pub(crate) fn new(
        scenario: &'static str,
        params: serde_json::Value,
        contenders: &[Contender<'_>],
        void: Vec<Void>,
    ) -> Self {
        let of = |side| contenders.iter().find(|contender| contender.side == side);
        let figures = |contender: &Contender<'_>| Figures::of(&contender.kept);
        let first = contenders.first().map(figures).unwrap_or_default();
        let beside = of(Side::Ours).and_then(|_| of(Side::Floor).or_else(|| of(Side::Without)));
        let floor = beside.map(figures);
        Report {
            schema: 1,
            scenario,
            params,
            ratio: floor.as_ref().map(|floor| Ratio::of(&first, floor)),
            figures: first,
            floor,
            rounds: contenders.iter().map(|contender| contender.kept.len()).min().unwrap_or(0),
            void,
            notes: contenders.iter().flat_map(notes).collect(),
        }
    }

    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).expect("all keys are strings")
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("a String takes everything");
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "{} {}", self.scenario, self.params)?;
        writeln!(
            out,
            "  {:<26} {:>14} {:>14} {:>8}",
            "median of rounds",
            self.first_name(),
            self.second_name(),
            "ratio"
        )?;
        let ratio = self.ratio.unwrap_or_default();
        let row = |out: &mut String, name: &str, of: &dyn Fn(&Figures) -> Option<f64>, ratio: Option<f64>| {
            let floor = self.floor.as_ref().and_then(of);
            let (ours, floor) = (cell(of(&self.figures)), cell(floor));
            writeln!(out, "  {name:<26} {ours:>14} {floor:>14} {:>8}", cell(ratio))
        };
        row(out, "deliveries a second", &|figures| Some(figures.per_s), ratio.per_s)?;
        row(out, "CPU s a million", &|figures| figures.cpu_s_per_million, ratio.cpu_s_per_million)?;
        row(out, "resident bytes a link", &|figures| figures.rss_bytes_per_link, ratio.rss_bytes_per_link)?;
        let latency = |of: fn(Quantiles) -> f64| move |figures: &Figures| figures.latency_us.map(of);
        let ack = |of: fn(Quantiles) -> f64| move |figures: &Figures| figures.ack_us.map(of);
        row(out, "latency p50, µs", &latency(|of| of.p50), ratio.latency_p50)?;
        row(out, "latency p99, µs", &latency(|of| of.p99), ratio.latency_p99)?;
        row(out, "latency p99.9, µs", &latency(|of| of.p999), None)?;
        row(out, "ack p50, µs", &ack(|of| of.p50), ratio.ack_p50)?;
        row(out, "ack p99, µs", &ack(|of| of.p99), ratio.ack_p99)?;
        let Figures { sent, delivered, acked, lost, duplicated, reordered, .. } = self.figures;
        writeln!(out, "  sent {sent}, delivered {delivered}, acked {acked} while measuring")?;
        writeln!(out, "  lost {lost}, doubled {duplicated}, reordered {reordered}, of all")?;
        if let Some(peak) = self.figures.rss_peak_bytes {
            writeln!(out, "  memory peak {:.1} MiB", peak as f64 / 1_048_576.0)?;
        }
        if let Some(disk) = &self.figures.disk {
            write_disk(out, disk)?;
        }
        if let Some(growth) = &self.figures.growth {
            write_growth(out, growth)?;
        }
        writeln!(out, "  {} rounds count, {} thrown away", self.rounds, self.void.len())?;
        self.void
            .iter()
            .try_for_each(|void| writeln!(out, "    {} round {}: {}", void.side.name(), void.round, void.why))
    }

    fn second_name(&self) -> &'static str {
        let without = self.notes.iter().any(|note| note.side == Side::Without);
        if without { Side::Without.name() } else { Side::Floor.name() }
    }

    fn first_name(&self) -> &'static str {
        if self.notes.iter().any(|note| note.side == Side::Ours) { "ours" } else { "floor alone" }
    }
}

fn write_disk(out: &mut String, disk: &Stored) -> std::fmt::Result {
    let row = |out: &mut String, name: &str, written, allocated| {
        let (written, allocated) = (cell(Some(written)), cell(Some(allocated)));
        writeln!(out, "  {name:<26} {written:>14} {allocated:>14}")
    };
    writeln!(out, "  {:<26} {:>14} {:>14}", "bytes a message", "written", "allocated")?;
    row(out, "all files", disk.written_per_message, disk.allocated_per_message)?;
    disk.files
        .iter()
        .try_for_each(|(name, share)| row(out, name, share.written_per_message, share.allocated_per_message))
}

fn write_growth(out: &mut String, growth: &Growth) -> std::fmt::Result {
    writeln!(
        out,
        "  {:>12} {:>9} {:>14} {:>14} {:>14} {:>14}",
        "messages", "users", "CPU s/million", "to store, CPU", "stored/s", "memory, MiB"
    )?;
    for step in &growth.steps {
        writeln!(
            out,
            "  {:>12.0} {:>9.0} {:>14} {:>14} {:>14} {:>14}",
            step.messages,
            step.users,
            cell(step.cpu_s_per_million),
            cell(step.fill_cpu_s_per_million),
            cell(Some(step.fill_per_s)),
            cell(step.rss_bytes.map(|bytes| bytes / f64::from(1 << 20))),
        )?;
    }
    let (cpu, fill) = (cell(growth.cpu_factor), cell(growth.fill_cpu_factor));
    let memory = cell(growth.rss_per_message_factor);
    writeln!(out, "  flat within: CPU {cpu}, CPU to store {fill}, memory a stored message {memory}")
}

fn notes<'a>(contender: &'a Contender<'_>) -> impl Iterator<Item = Note> + 'a {
    contender.kept.iter().map(|round| Note {
        side: contender.side,
        seconds: round.outcome.usage.seconds,
        per_s: round.outcome.per_s(),
        cpu_s: round.outcome.usage.cpu_s,
        loader_cpu_s: round.outcome.usage.own_cpu_s,
        others_percent: round.others,
        rss_peak_bytes: round.outcome.rss_peak,
        pulled: round.outcome.pulled,
        cut: round.outcome.cut,
        actual: round.outcome.actual(),
        offered_per_s: round.outcome.offered.map(|offered| offered / round.outcome.usage.seconds),
    })
}

/// Three digits that mean something.
pub(crate) fn cell(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value >= 100.0 => format!("{value:.0}"),
        Some(value) if value >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.3}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_json_has_the_published_fields() {
        let report = Report::new("c2c", serde_json::json!({ "pairs": 1 }), &[], Vec::new());
        let object: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        let mut fields: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
        let mut published = [
            "schema",
            "scenario",
            "params",
            "sent",
            "delivered",
            "acked",
            "seconds",
            "per_s",
            "cpu_s_per_million",
            "rss_bytes_per_link",
            "latency_us",
            "ack_us",
            "floor",
            "ratio",
            "rounds",
            "void",
            "lost",
            "duplicated",
            "reordered",
            "notes",
        ];
        published.sort_unstable();
        fields.sort_unstable();
        assert_eq!(fields, published);
        assert_eq!(object["schema"], 1);
    }
}
