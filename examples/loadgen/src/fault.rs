use std::io;
use std::process::ExitCode;

/// Why a run gives no figures, by whose fault it is: the exit code tells them apart.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The command line asks for what there is not.
    #[error("{0}")]
    Usage(String),
    /// The server broke a promise: lost, doubled or reordered something, refused a right login, cut a link, died.
    #[error("the server is at fault: {0}")]
    Product(String),
    /// The load generator could not do what was asked of it, for example offer the rate.
    #[error("the load generator is at fault: {0}")]
    Harness(String),
    /// The machine would not have it: no such program, no address, no descriptors, too much noise.
    #[error("the environment is at fault: {0}")]
    Environment(String),
}

impl Fault {
    /// 1 product, 2 usage, as clap's own, 3 harness, 4 environment.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Fault::Product(_) => 1,
            Fault::Usage(_) => 2,
            Fault::Harness(_) => 3,
            Fault::Environment(_) => 4,
        })
    }

    /// The environment's, from an operating system's refusal while `doing`.
    pub(crate) fn system(doing: &str, error: &io::Error) -> Self {
        Fault::Environment(format!("{doing}: {error}"))
    }
}
