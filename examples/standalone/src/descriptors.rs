//! File descriptors: a link takes one, and the limit that a shell gives is far below what the machine allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the database, the log and the listener need beside the links.
const OTHERS: u64 = 64;

/// Raises the limit as far as it goes without privileges; how many of `wanted` links there is room for.
pub(crate) fn make_room(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(failure) => {
            tracing::warn!(
                error = &failure as &dyn std::error::Error,
                "the limit of open files stays as it is"
            );
            limit.current
        }
    };
    let room = current.map_or(usize::MAX, |files| {
        usize::try_from(files.saturating_sub(OTHERS)).unwrap_or(usize::MAX).max(1)
    });
    if room < wanted {
        tracing::info!(
            max_connections = room,
            wanted,
            "as many connections as the limit of open files allows"
        );
    }
    room.min(wanted)
}
