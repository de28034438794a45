//! The log: lines for standard error, which a thread of its own writes. Nothing else waits for whoever reads them: a reader that
//! stalls costs lines, and not the service.

use std::io::{self, IsTerminal as _, Write, stderr};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

/// Lines that may wait to be written. What comes on top is left out, and counted.
const WAITING: usize = 4_096;

/// How long somebody waits for what was said before to be written.
const PATIENCE: Duration = Duration::from_secs(1);

static LINES: OnceLock<Lines> = OnceLock::new();

/// Where lines go.
#[derive(Clone)]
struct Lines(SyncSender<Job>);

enum Job {
    Write(Vec<u8>),
    /// All that was said before is written.
    Tell(SyncSender<()>),
}

static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// Sends the log to standard error, so that standard output has contract lines only.
///
/// # Errors
/// There is no thread for it.
pub(crate) fn start(filter: Targets) -> io::Result<()> {
    let (lines, jobs) = sync_channel(WAITING);
    thread::Builder::new().name("log".to_owned()).spawn(move || write(&jobs))?;
    let lines = LINES.get_or_init(|| Lines(lines));
    let layer = fmt::layer().with_writer(|| lines.clone()).log_internal_errors(false);
    let layer = layer.with_ansi(stderr().is_terminal());
    tracing_subscriber::registry().with(layer.with_filter(filter)).init();
    Ok(())
}

/// Says a line that is not the log's, behind what was said before. False if there is no log yet.
pub(crate) fn say(line: &str) -> bool {
    let lines = LINES.get();
    lines.inspect(|lines| lines.send(format!("{line}\n").into_bytes())).is_some()
}

/// Waits until all that was said is written, but not for long.
pub(crate) fn flush() {
    let Some(Lines(jobs)) = LINES.get() else { return };
    let began = Instant::now();
    let (tell, told) = sync_channel(1);
    while jobs.try_send(Job::Tell(tell.clone())).is_err() {
        if began.elapsed() >= PATIENCE {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    let _ = told.recv_timeout(PATIENCE.saturating_sub(began.elapsed()));
}

impl Lines {
    fn send(&self, line: Vec<u8>) {
        if self.0.try_send(Job::Write(line)).is_err() {
            LEFT_OUT.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Write for Lines {
    /// A line at a time. One that does not fit is left out, which is no failure.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.send(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A line that cannot be written is dropped: a full disk, or a reader that is gone, must not end a server.
fn write(jobs: &Receiver<Job>) {
    for job in jobs {
        match job {
            Job::Write(line) => {
                let _ = stderr().write_all(&line);
            }
            Job::Tell(told) => drop(told.send(())),
        }
        let left_out = LEFT_OUT.swap(0, Ordering::Relaxed);
        if left_out > 0 {
            let _ = writeln!(stderr(), "{left_out} lines of the log are left out: nobody read them");
        }
    }
}
