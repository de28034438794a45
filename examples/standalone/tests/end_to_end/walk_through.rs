//! The README's walk through chatting, run as it is printed.
//!
//! Its `console` blocks are commands behind `$ ` and what they print; `…` stands for what differs each time.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use super::programs;

const README: &str = include_str!("../../../../README.md");
const PATIENCE: Duration = Duration::from_secs(30);
/// Goes before the exit code of a command, which is 0 for all of them.
const DONE: &str = "-- exit code ";

/// What a new user's shell does by hand is done for the test by its set-up: the programs are built and in the path.
const SET_UP: [&str; 2] = ["cargo build --release", "export PATH=$PWD/target/release:$PATH"];

struct Step {
    command: String,
    prints: Vec<String>,
}

#[test]
fn the_walk_through_works_as_printed() {
    let folder = tempfile::tempdir().unwrap();
    let port = programs::free_port();
    let mut shell = Shell::start(folder.path(), port);
    let mut steps = steps();
    let set_up: Vec<Step> = steps.drain(..SET_UP.len()).collect();
    assert!(set_up.iter().map(|step| step.command.as_str()).eq(SET_UP));
    assert!(steps.len() >= 10, "only {} steps were found", steps.len());
    for step in steps {
        let printed = shell.run(&step);
        let expected: Vec<String> =
            step.prints.iter().map(|line| line.replace("9000", &port.to_string())).collect();
        assert!(matches(&printed, &expected), "$ {}\nprints {printed:#?}\nnot {expected:#?}", step.command);
    }
}

fn steps() -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for block in README.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap();
        for line in block.lines() {
            match line.strip_prefix("$ ") {
                Some(command) => steps.push(Step { command: command.to_owned(), prints: Vec::new() }),
                None => steps.last_mut().expect("a command comes first").prints.push(line.to_owned()),
            }
        }
    }
    steps
}

fn matches(printed: &[String], expected: &[String]) -> bool {
    printed.len() == expected.len() && printed.iter().zip(expected).all(|(line, pattern)| fits(line, pattern))
}

/// Whether a line is a pattern with something for each `…`.
fn fits(line: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    for part in parts {
        match rest.find(part) {
            Some(at) if at > 0 || rest.is_empty() => rest = &rest[at + part.len()..],
            _ => return false,
        }
    }
    rest.is_empty()
}

/// A shell with the programs in its path, on another port than the default, which may be taken.
struct Shell {
    process: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Shell {
    fn start(folder: &Path, port: u16) -> Self {
        let path = format!("{}:{}", programs::folder().display(), std::env::var("PATH").unwrap());
        let mut process = Command::new("bash")
            .current_dir(folder)
            .env("PATH", path)
            .env("IM_TCP", format!("127.0.0.1:{port}"))
            .env("IM_SERVER", format!("127.0.0.1:{port}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (line, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).all(|text| line.send(text).is_ok()));
        Self { input: process.stdin.take().unwrap(), process, lines }
    }

    /// Runs a command and waits for its end and for the lines that it is to print, which one in the background may do later.
    fn run(&mut self, step: &Step) -> Vec<String> {
        writeln!(self.input, "{} \necho \"{DONE}$?\"", step.command).unwrap();
        let (mut printed, mut done) = (Vec::new(), false);
        while !done || printed.len() < step.prints.len() {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    let code = line.strip_prefix(DONE);
                    done |= code.is_some();
                    if code != Some("0") {
                        printed.push(line);
                    }
                }
                Err(_) => break,
            }
        }
        printed
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // Ends what the walk left in the background, however far it came.
        let _ = writeln!(self.input, "kill -9 $(jobs -p); exit");
        let _ = self.process.wait();
    }
}
