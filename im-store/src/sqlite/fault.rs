use im_core::storage::{Misfit, StoreError, StoreErrorKind};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The driver or SQLite said no.
    #[error(transparent)]
    Driver(#[from] sqlx::Error),
    /// A row holds what this adapter never writes.
    #[error("the column {0} holds no value of its kind")]
    BadRow(&'static str),
    /// The rows to import are not those of one sound store.
    #[error(transparent)]
    Misfit(#[from] Misfit),
    /// A bucket is not here, or is not written to now.
    #[error("the bucket is in another database, or on its way there")]
    Moved,
    /// Buckets are not, or not any more, where their move says.
    #[error("the move or its fence is over, or another has taken it over")]
    LeaseLost,
    /// Buckets cannot be given away yet.
    #[error("messages of the buckets' senders have still to be delivered")]
    Pending,
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
            Self::Driver(error) if is_damage(error) => StoreErrorKind::Corrupt,
            Self::Moved => StoreErrorKind::Moved,
            Self::LeaseLost => StoreErrorKind::LeaseLost,
            Self::Driver(_) | Self::Pending | Self::DeadlinePassed | Self::Closed => {
                StoreErrorKind::Unavailable
            }
        };
        StoreError::new(kind, operation).caused_by(self)
    }
}

/// Whether an error says that the database is not what this adapter made of it. Everything else passes: no room, no
/// answer, no luck.
pub(super) fn is_damage(error: &sqlx::Error) -> bool {
    /// SQLite's codes CORRUPT, CONSTRAINT, MISMATCH and NOTADB.
    const DAMAGE: [i32; 4] = [11, 19, 20, 26];
    let broken_row = matches!(
        error,
        sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Decode(_)
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
    );
    broken_row || code(error).is_some_and(|code| DAMAGE.contains(&code))
}

/// Whether an error says, while the database is opened, that it has other tables than ours.
pub(super) fn is_foreign(error: &sqlx::Error) -> bool {
    /// SQLite's code ERROR: the statement does not fit the schema.
    const ERROR: i32 = 1;
    code(error) == Some(ERROR)
}

/// What came twice, if the error is that a unique index has it already.
pub(super) fn came_twice(error: &sqlx::Error) -> Option<&'static str> {
    let text = error.as_database_error().filter(|error| error.is_unique_violation())?.message();
    let columns = text.strip_prefix("UNIQUE constraint failed: ")?;
    Some(match columns {
        "owners.name" => "timeline",
        "messages.sender, messages.send_key" => "send key",
        "entries.owner, entries.msgid" => "msgid",
        "nodes.node" => "node number",
        columns if columns.starts_with("cursors.") => "cursor",
        _ => return None,
    })
}

/// SQLite's primary result code.
fn code(error: &sqlx::Error) -> Option<i32> {
    let extended = error.as_database_error()?.code()?.parse::<i32>().ok()?;
    Some(extended & 0xFF)
}
