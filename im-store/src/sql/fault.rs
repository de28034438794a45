use std::collections::BTreeSet;

use im_core::storage::{Misfit, StoreError, StoreErrorKind};

use super::trouble::{Trouble, number};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The driver or the database said no.
    #[error(transparent)]
    Driver(#[from] sqlx::Error),
    /// A row holds what this adapter never writes.
    #[error("the column {0} holds no value of its kind")]
    BadRow(&'static str),
    /// The rows to import are not those of one sound store.
    #[error(transparent)]
    Misfit(#[from] Misfit),
    /// These names have no row in `owners` yet, and have to have one first.
    #[error("{} owners are new", .0.len())]
    NewOwners(Vec<Vec<u8>>),
    /// A bucket is not here, or is not written to now.
    #[error("the bucket is in another database, or on its way there")]
    Moved,
    /// Buckets are not, or not any more, where their move says.
    #[error("the move or its fence is over, or another has taken it over")]
    LeaseLost,
    /// The fences of these buckets are over, which has to be written down first.
    #[error("{} fences are over", .0.len())]
    FencesOver(BTreeSet<i64>),
    /// Owners are not as this store left them.
    #[error("others wrote to the same owners")]
    Stale,
    /// Buckets cannot be given away yet.
    #[error("messages of the buckets' senders have still to be delivered")]
    Pending,
    /// Some may be of the buckets.
    #[error("there are owners of unknown buckets: a server of an older version runs, or ran until now")]
    Unindexed,
    /// Who writes to buckets did not end in time.
    #[error("appends to the database did not end in time for a bucket to be changed")]
    Busy,
    /// What answers at the database's address takes no writes.
    #[error("the database is read-only: it is a replica, or no longer the primary")]
    ReadOnly,
    /// The server was found to be no primary, or to go away, while the call ran on it: its answer may be out of date.
    #[error("the database server was given up while the call ran on it")]
    GivenUp,
    /// The call took too long.
    #[error("the call's deadline passed")]
    DeadlinePassed,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl Fault {
    pub(super) fn into_error(self, operation: &'static str) -> StoreError {
        let kind = match &self {
            Self::Misfit(misfit) => return misfit.clone().into(),
            Self::BadRow(_) => StoreErrorKind::Corrupt,
            Self::Moved => StoreErrorKind::Moved,
            Self::LeaseLost => StoreErrorKind::LeaseLost,
            Self::Driver(error) if is_damage(error) => StoreErrorKind::Corrupt,
            _ => StoreErrorKind::Unavailable,
        };
        StoreError::new(kind, operation).caused_by(self)
    }

    /// Whether the connection is as good as before: the database answered, or was not asked.
    pub(super) fn leaves_connection(&self) -> bool {
        match self {
            Self::Driver(_) => self.trouble() == Trouble::Statement,
            Self::BadRow(_) | Self::Misfit(_) | Self::NewOwners(_) | Self::FencesOver(_) => true,
            Self::Moved | Self::LeaseLost | Self::Pending | Self::Unindexed => true,
            Self::Stale | Self::Busy => true,
            Self::ReadOnly | Self::GivenUp | Self::DeadlinePassed | Self::Closed => false,
        }
    }

    /// What the database said of more than the statement.
    pub(super) fn trouble(&self) -> Trouble {
        match self {
            Self::Driver(error) => Trouble::of(error),
            Self::ReadOnly => Trouble::ReadOnly,
            _ => Trouble::Statement,
        }
    }

    /// Whether a unique index has a row already.
    pub(super) fn is_twice(&self) -> bool {
        let Self::Driver(error) = self else { return false };
        error.as_database_error().is_some_and(|error| error.is_unique_violation())
    }

    /// Whether the same transaction may go through when it is tried again at once: it lost against another one and nothing of it is left.
    pub(super) fn is_conflict(&self) -> bool {
        let Self::Driver(error) = self else { return matches!(self, Self::Busy) };
        let is_lost = number(error).is_some_and(|number| number == CHANGED)
            || code(error).is_some_and(|code| CONFLICTS.contains(&code.as_str()));
        self.is_twice() || is_lost
    }

    /// Whether another held a lock for too long.
    pub(super) fn is_locked(&self) -> bool {
        let Self::Driver(error) = self else { return false };
        code(error).is_some_and(|code| code == LOCKED)
    }

    /// Whether a text is no number.
    #[cfg(feature = "postgres")]
    pub(super) fn is_bad_number(&self) -> bool {
        let Self::Driver(error) = self else { return false };
        code(error).is_some_and(|code| code == BAD_NUMBER)
    }

    /// Which unique index of those that concern posts has a row already.
    pub(super) fn index(&self) -> Option<&'static str> {
        let Self::Driver(error) = self else { return None };
        let error = error.as_database_error().filter(|error| error.is_unique_violation())?;
        // MySQL only says it in its text: … for key 'entries.entries_msgid'.
        let text = error.constraint().unwrap_or(error.message());
        let known = ["messages_send_key", "entries_msgid"];
        Some(known.into_iter().find(|name| text.contains(name)).unwrap_or("another"))
    }
}

/// PostgreSQL's lock that was not to be had in time.
const LOCKED: &str = "55P03";

/// PostgreSQL's text that was to be a number.
#[cfg(feature = "postgres")]
const BAD_NUMBER: &str = "22P02";

/// PostgreSQL's deadlock and failed serialization; MySQL's and MariaDB's deadlock has the SQLSTATE 40001 too.
const CONFLICTS: [&str; 2] = ["40001", "40P01"];

/// MariaDB's record that changed since it was read. Its SQLSTATE is the general one.
const CHANGED: u16 = 1020;

/// PostgreSQL's and MySQL's: no such table, no such column, a NULL or a value that a column does not take, a broken table, index or page.
const DAMAGE: [&str; 8] = ["42P01", "42703", "42S02", "42S22", "23502", "22001", "XX001", "XX002"];

/// MySQL's table or index that is broken, of those without a SQLSTATE of their own.
const BROKEN: [u16; 6] = [1034, 1035, 1194, 1195, 1712, 1877];

/// Whether an error says that the database is not what this adapter made of it. Everything else passes: no room, no answer, no luck.
pub(super) fn is_damage(error: &sqlx::Error) -> bool {
    let broken_row = matches!(
        error,
        sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Decode(_)
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
    );
    broken_row
        || number(error).is_some_and(|number| BROKEN.contains(&number))
        || code(error).is_some_and(|code| DAMAGE.contains(&code.as_str()))
}

fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}
