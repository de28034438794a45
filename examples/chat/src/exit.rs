//! How the program ends. The numbers are fixed, so that scripts can rely on them.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use im_core::client::EndReason;
use im_core::storage::StoreError;
use im_store::sqlite_local::OpenLocalError;
use im_transport::client::Ended;

/// The exit code. 2 is wrong usage, which the argument parser answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: done.
    Done = 0,
    /// 1: something failed.
    Failed = 1,
    /// 3: the time was up before the count was reached.
    TimedOut = 3,
    /// 4: the server refused the login, or ended it.
    Refused = 4,
    /// 5: no login within the time for it.
    Unreachable = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why the program could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The client came to its end.
    #[error("{0}")]
    Ended(#[from] Ended),
    /// Nobody let the user in.
    #[error("no login at {server} within {seconds} s; IM_LOG=info says why")]
    Unreachable {
        /// Where it was tried.
        server: String,
        /// For how long.
        seconds: u64,
    },
    /// The state directory cannot be used.
    #[error("cannot use the state directory")]
    State(#[source] io::Error),
    /// The local store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenLocalError),
    /// The local store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Standard input cannot be read.
    #[error("cannot read standard input")]
    Input(#[source] io::Error),
    /// Standard output cannot be written.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    /// The operating system gave no random numbers.
    #[error("no random numbers: {0}")]
    Random(getrandom::Error),
    /// The user said stop.
    #[error("interrupted; {unacked} messages have no ack{advice}")]
    Interrupted {
        /// Messages without an answer.
        unacked: usize,
        /// What becomes of them.
        advice: &'static str,
    },
}

impl Failure {
    /// The code for it.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Ended(Ended::Client(EndReason::Refused { .. } | EndReason::Kicked(_))) => Exit::Refused,
            Self::Unreachable { .. } => Exit::Unreachable,
            _ => Exit::Failed,
        }
    }

    /// The failure with all its causes.
    pub(crate) fn in_full(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let words = error.to_string();
            if !text.ends_with(&words) {
                text = format!("{text}: {words}");
            }
            cause = error.source();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use im_core::session::KickReason;

    use super::*;

    #[test]
    fn a_refused_or_ended_login_is_4_and_no_login_is_5() {
        let refused = EndReason::Refused { code: None, message: "no".to_owned() };
        assert_eq!(Failure::Ended(refused.into()).exit(), Exit::Refused);
        let kicked = EndReason::Kicked(KickReason::LoggedInElsewhere);
        assert_eq!(Failure::Ended(kicked.into()).exit(), Exit::Refused);
        let unreachable = Failure::Unreachable { server: "x".to_owned(), seconds: 1 };
        assert_eq!(unreachable.exit(), Exit::Unreachable);
        assert_eq!(Failure::Ended(EndReason::Stopped.into()).exit(), Exit::Failed);
    }

    #[test]
    fn a_failure_names_its_causes_once() {
        let failure = Failure::State(io::Error::other("disk on fire"));
        assert_eq!(failure.in_full(), "cannot use the state directory: disk on fire");
    }
}
