use std::fmt;

/// What went wrong, so far as a caller has to act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The store could not be reached, was too slow, was full or gave up on a deadlock. Whether the call took effect is
    /// unknown. Retry: every call is idempotent.
    Unavailable,
    /// An earlier post of the same sender to the same target failed, so this one was not tried: order would be lost. Retry
    /// after the earlier one.
    OutOfOrder,
    /// Another of several databases keeps this now, or will in a moment, and this one has changed nothing. Retry: what is above the databases finds it.
    Moved,
    /// The send key was used before for other content.
    KeyReused,
    /// The msgid was used before for another message.
    MsgIdReused,
    /// The sender may not write there: the receiver has blocked the sender.
    Forbidden,
    /// The version is above the timeline's head.
    AheadOfHead,
    /// No node number is free; or a lease or fence is over, or another has taken it over.
    LeaseLost,
    /// The store holds what no adapter of this library writes.
    Corrupt,
}

/// An operation of the store failed.
#[derive(Debug, Clone)]
pub struct StoreError {
    kind: StoreErrorKind,
    operation: &'static str,
    source: Option<std::sync::Arc<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    /// An error of `kind` in `operation`, the name of the trait's method.
    pub fn new(kind: StoreErrorKind, operation: &'static str) -> Self {
        Self { kind, operation, source: None }
    }

    /// The same error with what the driver said.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into().into());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Which call failed.
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// Whether the caller is told that it is so for good, and does not try again.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self.kind, StoreErrorKind::KeyReused | StoreErrorKind::Forbidden)
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, StoreErrorKind::Unavailable | StoreErrorKind::OutOfOrder | StoreErrorKind::Moved)
    }
}

impl std::error::Error for StoreError {
    /// The cause itself, not what it is shared by, so that it can be downcast.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            StoreErrorKind::Unavailable => "the store is unavailable",
            StoreErrorKind::OutOfOrder => "an earlier message of this conversation has to be stored first",
            StoreErrorKind::Moved => "it is moving from one database to another",
            StoreErrorKind::KeyReused => "the send key was used before for other content",
            StoreErrorKind::MsgIdReused => "the msgid was used before for another message",
            StoreErrorKind::Forbidden => "the sender may not write there",
            StoreErrorKind::AheadOfHead => "the version is above the timeline's head",
            StoreErrorKind::LeaseLost => {
                "the lease or fence is over or taken over, or no node number is free"
            }
            StoreErrorKind::Corrupt => "the store holds data that it should not",
        };
        write!(f, "{}: {what}", self.operation)
    }
}
