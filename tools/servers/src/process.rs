use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::program::Program;

/// How long a server may take to start, or to stop when it is asked to. Far more than it takes; a machine under load is slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

const SETPRIV: Program = Program { name: "setpriv", package: "util-linux", variable: None };

/// Whom a process runs as, where it is not the one that starts it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// A process that is killed when this is dropped, and gets a signal when this process ends.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// `at_death` is what the process gets when this one ends: `KILL`, or a signal at which it cleans up and ends.
    pub(crate) fn start(command: &Command, user: Option<User>, at_death: &str, log: &Path) -> Self {
        let child = keeper_spawns(wrapped(command, user, at_death, log));
        let child = child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        Self { child, log: log.to_owned() }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits until `is_ready`.
    ///
    /// # Panics
    ///
    /// If the process ends before that, or takes too long; with its log.
    pub(crate) fn wait_until(&mut self, mut is_ready: impl FnMut() -> bool) {
        let started = Instant::now();
        while !is_ready() {
            let ended = self.child.try_wait().ok().flatten();
            let log = || fs::read_to_string(&self.log).unwrap_or_default();
            assert!(ended.is_none(), "the server ended ({ended:?}):\n{}", log());
            assert!(started.elapsed() < PATIENCE, "the server does not become ready:\n{}", log());
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// SIGKILL, and waits for the end.
    pub(crate) fn kill(self) {
        drop(self);
    }

    /// Asks the process to end, and kills it if it does not.
    pub(crate) fn stop(mut self, signal: Signal) {
        let _ = kill_process(self.pid(), signal);
        let asked = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && asked.elapsed() < PATIENCE {
            std::thread::sleep(LOOK_AGAIN);
        }
        self.kill();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `setpriv` makes of a command: the signal at the parent's death has to be set after the user, for a change of user takes it back.
fn wrapped(command: &Command, user: Option<User>, at_death: &str, log: &Path) -> Command {
    let log = File::options().create(true).append(true).open(log);
    let log = log.unwrap_or_else(|error| panic!("a server's log: {error}"));
    let mut wrapped = SETPRIV.command();
    wrapped.args(["--pdeathsig", at_death]);
    if let Some(User { uid, gid }) = user {
        wrapped.args(["--reuid", &uid.to_string(), "--regid", &gid.to_string(), "--clear-groups"]);
    }
    wrapped.arg(command.get_program()).args(command.get_args());
    if let Some(directory) = command.get_current_dir() {
        wrapped.current_dir(directory);
    }
    let errors = log.try_clone().unwrap_or_else(|error| panic!("a server's log: {error}"));
    wrapped.stdin(Stdio::null()).stdout(log).stderr(errors);
    wrapped
}

type Order = (Command, Sender<io::Result<Child>>);

/// The kernel takes the thread for the parent, not the process: what a test's thread starts would end with that test. So one thread that never ends
/// starts them all.
fn keeper_spawns(command: Command) -> io::Result<Child> {
    static KEEPER: OnceLock<Sender<Order>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        let (orders, received) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in received {
                let _ = answer.send(command.spawn());
            }
        });
        orders
    });
    let (answer, answered) = channel();
    keeper.send((command, answer)).expect("the keeper's thread does not end");
    answered.recv().expect("the keeper's thread answers every order")
}
