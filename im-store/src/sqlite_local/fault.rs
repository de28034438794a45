use im_core::storage::{StoreError, StoreErrorKind};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The driver or SQLite said no.
    #[error(transparent)]
    Driver(#[from] sqlx::Error),
    /// A row holds what this adapter never writes.
    #[error("the column {0} holds no value of its kind")]
    BadRow(&'static str),
}

impl Fault {
    pub(super) fn into_error(self, operation: &'static str) -> StoreError {
        let kind = match &self {
            Self::BadRow(_) => StoreErrorKind::Corrupt,
            Self::Driver(error) if is_damage(error) => StoreErrorKind::Corrupt,
            Self::Driver(_) => StoreErrorKind::Unavailable,
        };
        StoreError::new(kind, operation).caused_by(self)
    }
}

/// Whether the file is not what this adapter made of it. Everything else passes: no room, no lock, no luck.
pub(super) fn is_damage(error: &sqlx::Error) -> bool {
    /// SQLite's primary result codes: ERROR (a table is missing, say), CORRUPT, CONSTRAINT, MISMATCH, NOTADB.
    const DAMAGE: [i32; 5] = [1, 11, 19, 20, 26];
    match error {
        sqlx::Error::Database(error) => {
            primary_code(error.as_ref()).is_some_and(|code| DAMAGE.contains(&code))
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::RowNotFound => true,
        _ => false,
    }
}

/// Whether another connection holds the file: SQLite's BUSY or LOCKED.
pub(super) fn is_locked(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => matches!(primary_code(error.as_ref()), Some(5 | 6)),
        _ => false,
    }
}

fn primary_code(error: &dyn sqlx::error::DatabaseError) -> Option<i32> {
    error.code()?.parse::<i32>().ok().map(|extended| extended & 0xFF)
}
