use std::fmt;
use std::time::Duration;

use im_core::storage::{StoreError, Tally};

/// How a [`Mover`](super::Mover) works.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MoveLimits {
    /// How long a fence lasts at most, by the clock of the source. Default 800 ms: with what comes after the release, writes wait for less than a second.
    pub fence: Duration,
    /// Buckets that are moved together. Each time, the source's messages are read through once; more buckets mean more to compare behind the fence. Default 64.
    pub at_once: usize,
    /// Rows that are copied or removed at a time. Default 512.
    pub rows: usize,
    /// Bytes of messages that are copied at a time. Default 1 MiB.
    pub bytes: usize,
    /// How often the fence is tried before the mover gives up: too much may have been stored meanwhile. Default 20.
    pub tries: u32,
}

impl Default for MoveLimits {
    fn default() -> Self {
        Self { fence: Duration::from_millis(800), at_once: 64, rows: 512, bytes: 1 << 20, tries: 20 }
    }
}

/// Where a move is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MoveStep {
    /// Owners that came before there were moves are given their buckets.
    Indexing,
    /// Rows are removed where the buckets are not.
    Clearing,
    /// So many rows have been copied, up to this one of the marks that are known now.
    Copying {
        /// Rows so far.
        rows: u64,
        /// Where the copy is in the source's order of storing.
        at: i64,
        /// Where it has to come.
        until: i64,
    },
    /// A fence stood for so long, and the rest did not come through in time: again, after a rest.
    TooLong(Duration),
    /// The buckets are in their new database. Writes waited for so long.
    Moved {
        /// How many buckets.
        buckets: usize,
        /// From the fence to the new map.
        fence: Duration,
    },
}

impl fmt::Display for MoveStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Indexing => write!(f, "noting the buckets of owners"),
            Self::Clearing => write!(f, "removing what is elsewhere now"),
            Self::Copying { rows, at, until } => write!(f, "{rows} rows copied, at {at} of {until}"),
            Self::TooLong(fence) => write!(f, "{fence:?} of fence were not enough: catching up again"),
            Self::Moved { buckets, fence } => {
                write!(f, "{buckets} buckets moved, writes waited for {fence:?}")
            }
        }
    }
}

/// What came of moving buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MoveReport {
    /// How many were moved.
    pub buckets: usize,
    /// Rows that were copied: floors, messages, cursors.
    pub rows: u64,
    /// Timelines that were moved.
    pub timelines: u64,
    /// How often writes were fenced.
    pub fences: u32,
    /// How long they were, the longest time.
    pub longest_fence: Duration,
}

impl MoveReport {
    pub(super) fn add(&mut self, other: &Self) {
        self.buckets += other.buckets;
        self.rows += other.rows;
        self.timelines += other.timelines;
        self.fences += other.fences;
        self.longest_fence = self.longest_fence.max(other.longest_fence);
    }
}

impl fmt::Display for MoveReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { buckets, rows, timelines, fences, longest_fence } = self;
        write!(
            f,
            "{buckets} buckets with {timelines} timelines moved, {rows} rows copied, {fences} fences, the longest {longest_fence:?}"
        )
    }
}

/// Why buckets were not moved. Each is where it was or where it is to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MoveError {
    /// There is no database with this place in the list.
    #[error("there is no database {0}")]
    NoSuchDatabase(usize),
    /// The store has a map that never changes.
    #[error("the store does not follow its map: open it from its databases")]
    MapIsFixed,
    /// A database failed, several times.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Too much was stored each time for the rest to come through in a fence.
    #[error(
        "the rest did not come through in {0} fences: try when there is less traffic, or fewer buckets at once"
    )]
    TooBusy(u32),
    /// Messages of the buckets' senders cannot be delivered: their msgids stand in other timelines for other messages.
    #[error("{0} messages of the buckets' senders can never be delivered")]
    Stuck(usize),
    /// After everything was copied, the databases did not hold the same.
    #[error("the source holds {source_holds:?}, and the destination {destination_holds:?}")]
    Differs {
        /// What the source holds.
        source_holds: Tally,
        /// What the destination holds.
        destination_holds: Tally,
    },
}
