use std::fmt::{self, Display, Formatter};

use serde_json::Value;

use super::Done;
use super::machine::{machine, today};
use super::rows::{Asked, Bars, Figure};
use crate::fault::Fault;
use crate::report::cell;

/// Between these lines of a Markdown file the table goes.
const BEGIN: &str = "<!-- suite: begin -->";
const END: &str = "<!-- suite: end -->";

/// What a suite found, in Markdown.
pub(super) struct Table<'a> {
    done: &'a [Done],
    command: &'a str,
    /// Not at the sizes that the rows are called by: no figure is held against a bar.
    in_small: bool,
}

impl<'a> Table<'a> {
    pub(super) fn of(done: &'a [Done], command: &'a str, in_small: bool) -> Self {
        Table { done, command, in_small }
    }
}

const IN_SMALL: &str = "**Run in small, to see that everything arrives. The figures are not those of the sizes that the rows are called by, and \
                        reach nothing.**\n";

/// The text with the table between its marks, in place of what was there.
pub(super) fn placed(text: &str, table: &str) -> Result<String, Fault> {
    let missing = || Fault::Usage(format!("the Markdown file has no lines {BEGIN} and {END}"));
    let (before, rest) = text.split_once(BEGIN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    Ok(format!("{before}{BEGIN}\n{table}{END}{after}"))
}

impl Display for Table<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}; {}. Command: `{}`.\n", today(), machine(), self.command)?;
        if self.in_small {
            writeln!(out, "{IN_SMALL}")?;
        }
        writeln!(out, "| # | scenario | figure | ours | floor | ratio | first bar | moonshot | reached |")?;
        writeln!(out, "|---|---|---|--:|--:|--:|--:|--:|---|")?;
        self.done.iter().try_for_each(|done| rows(out, done, self.in_small))?;
        self.done.iter().try_for_each(|done| details(out, done))?;
        writeln!(out, "\n| # | command | rounds | thrown away |\n|---|---|--:|--:|")?;
        self.done.iter().try_for_each(|done| command(out, done))?;
        self.done.iter().try_for_each(|done| match &done.fault {
            Some(fault) => writeln!(out, "\nRow {} failed: {fault}.", done.row.id),
            None => Ok(()),
        })
    }
}

fn rows(out: &mut Formatter<'_>, done: &Done, in_small: bool) -> fmt::Result {
    for (at, figure) in done.row.figures.iter().enumerate() {
        let (id, title) = if at == 0 { (done.row.id, done.row.title) } else { ("", "") };
        let values = Values::of(done.report.as_ref(), figure);
        let (first, moonshot) = bars(figure.asked);
        let reached = match (figure.asked, &done.fault) {
            (Asked::Nothing, _) => "",
            (_, Some(_)) => "failed",
            (_, None) if in_small => "",
            (asked, None) => values.reached(asked),
        };
        writeln!(
            out,
            "| {id} | {title} | {} | {} | {} | {} | {first} | {moonshot} | {reached} |",
            figure.name,
            cell(values.ours),
            cell(values.floor),
            cell(values.ratio),
        )?;
    }
    Ok(())
}

/// One figure on both sides.
struct Values {
    ours: Option<f64>,
    floor: Option<f64>,
    ratio: Option<f64>,
}

impl Values {
    fn of(report: Option<&Value>, figure: &Figure) -> Self {
        let at = |pointer: &str| Some(report?.pointer(pointer)?.as_f64()? / figure.unit);
        let (ours, floor) = (at(figure.pointer), at(&format!("/floor{}", figure.pointer)));
        let ratio = ours.zip(floor.filter(|floor| *floor > 0.0)).map(|(ours, floor)| ours / floor);
        Values { ours, floor, ratio }
    }

    fn reached(&self, asked: Asked) -> &'static str {
        let (value, bars) = match asked {
            Asked::Nothing => return "",
            Asked::Own(bars) => (self.ours, bars),
            Asked::Ratio(bars) => (self.ratio, bars),
        };
        let Some(value) = value else { return "not measured" };
        let (first, moonshot) = match bars {
            Bars::AtMost(first, moonshot) => (first.map(|bar| value <= bar), value <= moonshot),
            Bars::AtLeast(first, moonshot) => (first.map(|bar| value >= bar), value >= moonshot),
        };
        match (first, moonshot) {
            (_, true) => "moonshot",
            (Some(true), false) => "first bar",
            (Some(false), false) => "missed",
            (None, false) => "reported",
        }
    }
}

fn bars(asked: Asked) -> (String, String) {
    let (bars, times) = match asked {
        Asked::Nothing => return (String::new(), String::new()),
        Asked::Own(bars) => (bars, ""),
        Asked::Ratio(bars) => (bars, " ×"),
    };
    let (sign, first, moonshot) = match bars {
        Bars::AtMost(first, moonshot) => ("≤", first, moonshot),
        Bars::AtLeast(first, moonshot) => ("≥", first, moonshot),
    };
    let bar = |bar: f64| format!("{sign} {bar}{times}");
    (first.map_or_else(|| "reported".to_owned(), bar), bar(moonshot))
}

/// Where the bytes go, and the steps of growth, of reports that have them.
fn details(out: &mut Formatter<'_>, done: &Done) -> fmt::Result {
    let of = |pointer: &str| done.report.as_ref().and_then(|report| report.pointer(pointer));
    if let Some(files) = of("/disk/files").and_then(Value::as_object) {
        writeln!(
            out,
            "\n| # | file | bytes written a message | bytes allocated a message |\n|---|---|--:|--:|"
        )?;
        for (name, share) in files {
            let of = |key: &str| cell(share[key].as_f64());
            let (written, allocated) = (of("written_per_message"), of("allocated_per_message"));
            writeln!(out, "| {} | `{name}` | {written} | {allocated} |", done.row.id)?;
        }
    }
    if let Some(steps) = of("/growth/steps").and_then(Value::as_array) {
        let floor = of("/floor/growth/steps").and_then(Value::as_array);
        growth(out, done.row.id, steps, floor)?;
    }
    Ok(())
}

fn growth(out: &mut Formatter<'_>, id: &str, steps: &[Value], floor: Option<&Vec<Value>>) -> fmt::Result {
    writeln!(
        out,
        "\n| # | messages stored | users | CPU µs a message | the floor's | CPU µs to store one | stored a second | memory MiB | without files | memory bytes a message |"
    )?;
    writeln!(out, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")?;
    for (at, step) in steps.iter().enumerate() {
        let of = |key: &str| cell(step[key].as_f64());
        let mib = |key: &str| cell(step[key].as_f64().map(|bytes| bytes / f64::from(1 << 20)));
        let floor = cell(floor.and_then(|steps| steps.get(at)?["cpu_s_per_million"].as_f64()));
        writeln!(
            out,
            "| {id} | {} | {} | {} | {floor} | {} | {} | {} | {} | {} |",
            of("messages"),
            of("users"),
            of("cpu_s_per_million"),
            of("fill_cpu_s_per_million"),
            of("fill_per_s"),
            mib("rss_bytes"),
            mib("rss_anon_bytes"),
            of("rss_bytes_per_message"),
        )?;
    }
    Ok(())
}

fn command(out: &mut Formatter<'_>, done: &Done) -> fmt::Result {
    let of = |pointer: &str| done.report.as_ref().and_then(|report| report.pointer(pointer));
    let rounds = of("/rounds").and_then(Value::as_u64).unwrap_or(0);
    let void = of("/void").and_then(Value::as_array).map_or(0, Vec::len);
    writeln!(out, "| {} | `{}` | {rounds} | {void} |", done.row.id, done.command)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::super::rows::ROWS;
    use super::*;

    fn done(report: Option<Value>, fault: Option<Fault>) -> Done {
        Done { row: &ROWS[0], command: "im-loadgen c2c".to_owned(), report, fault }
    }

    fn table(done: Done) -> String {
        Table::of(&[done], "im-loadgen suite", false).to_string()
    }

    fn report(ours: f64, floor: f64) -> Value {
        json!({ "cpu_s_per_million": ours, "floor": { "cpu_s_per_million": floor }, "rounds": 5, "void": [{}] })
    }

    #[test]
    fn a_ratio_is_held_against_its_bars() {
        for (ours, reached) in [(12.0, "moonshot"), (19.0, "first bar"), (21.0, "missed")] {
            let text = table(done(Some(report(ours, 10.0)), None));
            let line = text.lines().find(|line| line.starts_with("| 1 |")).unwrap();
            assert!(line.ends_with(&format!("| ≤ 2 × | ≤ 1.2 × | {reached} |")), "{line}");
        }
    }

    #[test]
    fn what_was_run_in_small_says_so_and_reaches_nothing() {
        let text = Table::of(&[done(Some(report(12.0, 10.0)), None)], "im-loadgen suite", true).to_string();
        let line = text.lines().find(|line| line.starts_with("| 1 |")).unwrap();
        assert!(text.contains("Run in small") && line.ends_with("| ≤ 1.2 × |  |"), "{text}");
    }

    #[test]
    fn a_row_that_failed_is_in_the_table_and_says_why() {
        let text = table(done(None, Some(Fault::Product("1 lost".to_owned()))));
        assert!(
            text.contains("| failed |") && text.contains("Row 1 failed: the server is at fault: 1 lost.")
        );
    }

    #[test]
    fn rounds_that_were_thrown_away_are_counted() {
        assert!(table(done(Some(report(1.0, 1.0)), None)).contains("| 1 | `im-loadgen c2c` | 5 | 1 |"));
    }

    #[test]
    fn the_table_takes_the_place_between_the_marks() {
        let text = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        assert_eq!(placed(&text, "new\n").unwrap(), format!("a\n{BEGIN}\nnew\n{END}\nb\n"));
        assert!(matches!(placed("no marks", "new\n"), Err(Fault::Usage(_))));
    }
}
