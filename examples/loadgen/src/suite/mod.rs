//! All scenarios with the parameters of the targets, one after the other, each in a process of its own, and the table of what came of them.

mod child;
mod machine;
mod rows;
mod table;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::args::SuiteArgs;
use crate::fault::Fault;
use crate::progress::Progress;
use rows::{QUICK, ROWS, Row};
use table::Table;

/// A row that was run, or taken from an earlier run.
struct Done {
    row: &'static Row,
    /// As it can be typed.
    command: String,
    report: Option<Value>,
    /// What is at fault, if something is.
    fault: Option<Fault>,
}

/// Runs the rows, writes what came of them, and names those that failed.
pub(crate) fn run(args: &SuiteArgs) -> Result<(), Fault> {
    let program = std::env::current_exe().map_err(|error| Fault::system("where is this program", &error))?;
    let rows = chosen(&args.only)?;
    prepare(args, &rows)?;
    let mut done: Vec<Done> = Vec::new();
    for row in ROWS {
        if let Some(before) = finished_before(args, row) {
            done.push(before);
        } else if let Some(at) = rows.iter().position(|chosen| chosen.id == row.id) {
            let progress = Progress::new(format!("suite, row {}, {} of {}", row.id, at + 1, rows.len()));
            progress.note(row.title);
            let ran = run_row(args, &program, row, &progress)?;
            keep(args, &ran)?;
            done.push(ran);
            publish(args, &done)?;
        }
    }
    publish(args, &done)?;
    let table = Table::of(&done, &command_line(args), args.quick).to_string();
    let mut out = std::io::stdout().lock();
    let written = out.write_all(table.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Fault::system("standard output", &error))?;
    verdict(&done)
}

/// Finds out before the first row whether what comes of them can be written, and removes what is to be measured anew.
fn prepare(args: &SuiteArgs, rows: &[&Row]) -> Result<(), Fault> {
    if let Some(file) = &args.markdown {
        let text =
            fs::read_to_string(file).map_err(|error| Fault::system("cannot read --markdown", &error))?;
        table::placed(&text, "")?;
    }
    let Some(directory) = &args.json_out else { return Ok(()) };
    fs::create_dir_all(directory).map_err(|error| Fault::system("cannot make --json-out", &error))?;
    for row in rows.iter().filter(|_| !args.resume) {
        match fs::remove_file(file_of(directory, row)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Fault::system("cannot write to --json-out", &error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn chosen(only: &[String]) -> Result<Vec<&'static Row>, Fault> {
    if let Some(unknown) = only.iter().find(|choice| !ROWS.iter().any(|row| row.is(choice))) {
        return Err(Fault::Usage(format!("there is no row {unknown}")));
    }
    let wanted = |row: &&Row| only.is_empty() || only.iter().any(|choice| row.is(choice));
    Ok(ROWS.iter().filter(wanted).collect())
}

/// What an earlier run left of this row, if this one goes on with it.
fn finished_before(args: &SuiteArgs, row: &'static Row) -> Option<Done> {
    let directory = args.json_out.as_ref().filter(|_| args.resume)?;
    let report = serde_json::from_str(&fs::read_to_string(file_of(directory, row)).ok()?).ok()?;
    Some(Done { row, command: typed(&words_of(args, row)), report: Some(report), fault: None })
}

fn file_of(directory: &Path, row: &Row) -> PathBuf {
    directory.join(format!("{}.json", row.id))
}

/// Runs one row, again if the environment spoilt it.
fn run_row(args: &SuiteArgs, program: &Path, row: &'static Row, progress: &Progress) -> Result<Done, Fault> {
    let words = words_of(args, row);
    let command = typed(&words);
    progress.note(&command);
    let mut tries = 1;
    loop {
        let ended = child::run(program, &words)?;
        let fault = fault_of(ended.code, &ended.said);
        match fault {
            Some(Fault::Environment(why)) if tries < args.tries => {
                tries += 1;
                progress.note(&format!("{why}; once more"));
            }
            fault => return Ok(Done { row, command, report: ended.report, fault }),
        }
    }
}

fn words_of(args: &SuiteArgs, row: &Row) -> Vec<String> {
    let mut words = if args.quick { format!("{} {QUICK}", row.quick) } else { row.words.to_owned() };
    if row.id == GROWTH && !args.quick {
        words += &format!(" --max-messages {}", args.growth);
    }
    let rounds = args.rounds.unwrap_or(if args.quick { 1 } else { ROUNDS });
    words += &format!(" --spawn --json --rounds {rounds}");
    words.split(' ').map(str::to_owned).chain(args.more.iter().cloned()).collect()
}

/// The row whose size the command line sets.
const GROWTH: &str = "9";

const ROUNDS: u32 = 5;

/// The largest store of the growth scenario, as the targets have it.
pub(crate) const GROWN: u64 = 10_000_000;

fn typed(words: &[String]) -> String {
    format!("im-loadgen {}", words.join(" "))
}

/// What makes the same figures anew, wherever they are put.
fn command_line(args: &SuiteArgs) -> String {
    let mut line = "im-loadgen suite".to_owned();
    if args.quick {
        line += " --quick";
    }
    if !args.only.is_empty() {
        line += &format!(" --only {}", args.only.join(","));
    }
    if let Some(rounds) = args.rounds {
        line += &format!(" --rounds {rounds}");
    }
    if args.growth != GROWN {
        line += &format!(" --growth {}", args.growth);
    }
    if !args.more.is_empty() {
        line += &format!(" -- {}", args.more.join(" "));
    }
    line
}

/// What an exit code says; see [`Fault::exit_code`].
fn fault_of(code: Option<i32>, said: &str) -> Option<Fault> {
    let why = said.strip_prefix("im-loadgen: ").unwrap_or(said);
    let why = why.split_once("is at fault: ").map_or(why, |(_, why)| why).to_owned();
    match code {
        Some(0) => None,
        Some(1) => Some(Fault::Product(why)),
        Some(2) => Some(Fault::Usage(why)),
        Some(4) => Some(Fault::Environment(why)),
        Some(_) | None => Some(Fault::Harness(why)),
    }
}

/// Writes a row that succeeded, for another run to go on from.
fn keep(args: &SuiteArgs, done: &Done) -> Result<(), Fault> {
    if let (Some(directory), Done { row, report: Some(report), fault: None, .. }) = (&args.json_out, done) {
        write(&file_of(directory, row), &format!("{report}\n"))?;
    }
    Ok(())
}

/// Writes what there is so far: a suite that is ended early leaves what it has.
fn publish(args: &SuiteArgs, done: &[Done]) -> Result<(), Fault> {
    let table = Table::of(done, &command_line(args), args.quick).to_string();
    if let Some(file) = &args.markdown {
        let text =
            fs::read_to_string(file).map_err(|error| Fault::system("cannot read --markdown", &error))?;
        write(file, &table::placed(&text, &table)?)?;
    }
    let Some(directory) = &args.json_out else { return Ok(()) };
    let lines: String = done.iter().map(|done| format!("{}\n", line(done))).collect();
    write(&directory.join("suite.jsonl"), &lines)?;
    write(&directory.join("suite.md"), &table)
}

fn write(file: &Path, text: &str) -> Result<(), Fault> {
    fs::write(file, text).map_err(|error| Fault::system("cannot write the results", &error))
}

fn line(done: &Done) -> Value {
    let fault = done.fault.as_ref().map(ToString::to_string);
    json!({ "row": done.row.id, "command": done.command, "fault": fault, "report": done.report })
}

/// The worst that happened: the server's fault before the load generator's before the environment's.
fn verdict(done: &[Done]) -> Result<(), Fault> {
    let failed = || done.iter().filter_map(|done| Some((done.row.id, done.fault.as_ref()?)));
    let why = failed().map(|(row, fault)| format!("row {row}: {fault}")).collect::<Vec<_>>().join("; ");
    let Some((_, worst)) = failed().max_by_key(|(_, fault)| badness(fault)) else { return Ok(()) };
    Err(match worst {
        Fault::Product(_) => Fault::Product(why),
        Fault::Harness(_) | Fault::Usage(_) => Fault::Harness(why),
        Fault::Environment(_) => Fault::Environment(why),
    })
}

fn badness(fault: &Fault) -> u8 {
    match fault {
        Fault::Product(_) => 2,
        Fault::Harness(_) | Fault::Usage(_) => 1,
        Fault::Environment(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_and_the_last_words_give_the_fault_back() {
        for fault in [
            Fault::Product("a".to_owned()),
            Fault::Harness("b".to_owned()),
            Fault::Environment("c".to_owned()),
        ] {
            let code = match fault {
                Fault::Product(_) => 1,
                Fault::Harness(_) => 3,
                _ => 4,
            };
            let again = fault_of(Some(code), &format!("im-loadgen: {fault}"));
            assert_eq!(again.map(|again| again.to_string()), Some(fault.to_string()));
        }
        assert!(fault_of(Some(0), "").is_none());
        assert!(matches!(fault_of(None, ""), Some(Fault::Harness(_))));
    }

    #[test]
    fn rows_are_chosen_by_number_and_an_unknown_one_is_refused() {
        let ids = |only: &[&str]| {
            let only: Vec<String> = only.iter().map(|row| (*row).to_owned()).collect();
            chosen(&only).map(|rows| rows.iter().map(|row| row.id).collect::<Vec<_>>())
        };
        assert_eq!(ids(&["2", "4"]).ok(), Some(vec!["2", "4a", "4b", "4c"]));
        assert_eq!(ids(&[]).map(|all| all.len()).ok(), Some(ROWS.len()));
        assert!(matches!(ids(&["77"]), Err(Fault::Usage(_))));
    }
}
