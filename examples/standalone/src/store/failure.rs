use std::io;

use super::location::OpenError;
use im_core::storage::StoreError;
use im_core::transfer::{CopyError, VerifyError};
use im_store::layer::sharding::MoveError;

use super::location::Location;

/// Why a command did not come to a good end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0} and {1} are the same store")]
    Same(Location, Location),
    #[error("there is no store at {0}")]
    Missing(Location),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(
        "{0} is an unfinished copy, which no server opens. Copy again, after making room if there was none; that begins anew. Or remove it"
    )]
    Copy(Location, #[source] CopyError),
    #[error(
        "interrupted. {0} is an unfinished copy, which no server opens. Copy again, which begins anew, or remove it"
    )]
    CopyInterrupted(Location),
    #[error("interrupted")]
    Interrupted,
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[error("the store cannot be read")]
    Read(#[source] StoreError),
    #[error("the store cannot be changed")]
    Write(#[source] StoreError),
    #[error("{0} is several databases: copy, verify and stat take one at a time, by its own name")]
    Several(Location),
    #[error("{0} is one database: buckets are moved between those of sharded:FILE")]
    One(Location),
    #[error("{0} names {1} databases, numbered from 0: there is no {2}")]
    NoSuchPlace(Location, usize, usize),
    #[error("not all buckets are moved; each is where it was or where it is to be, and served. Run it again")]
    Move(#[source] MoveError),
    #[error("interrupted. Each bucket is where it was or where it is to be, and served. Run it again")]
    MoveInterrupted,
    #[error("the stores are different")]
    Different,
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
}

impl Failure {
    pub(super) fn is_interruption(&self) -> bool {
        matches!(self, Self::CopyInterrupted(_) | Self::Interrupted | Self::MoveInterrupted)
    }
}
