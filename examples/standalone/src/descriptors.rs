//! File descriptors: a link takes one, and so does every file of a log; the limit that a shell gives is far below what the machine allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the database and the listener need besides, and a small log.
const OTHERS: u64 = 64;

/// The part of the limit that is kept for the files by which a log grows while the server runs: of 20,000 descriptors 312, which is
/// 78 GiB in files of 256 MiB.
const FOR_GROWTH: u64 = 64;

/// Raises the limit as far as it goes without privileges.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(failure) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(error = &failure as &dyn std::error::Error, "the limit of open files stays as it is");
    }
}

/// How many of `wanted` links there is room for, beside the files that are open already.
pub(crate) fn room_for(wanted: usize) -> usize {
    let room = getrlimit(Resource::Nofile)
        .current
        .map_or(usize::MAX, |limit| usize::try_from(left(limit, open_files())).unwrap_or(usize::MAX));
    if room < wanted {
        tracing::info!(
            max_connections = room,
            wanted,
            "as many connections as the limit of open files allows"
        );
    }
    room.min(wanted)
}

fn left(limit: u64, open: u64) -> u64 {
    limit.saturating_sub(limit / FOR_GROWTH).saturating_sub(open).saturating_sub(OTHERS).max(1)
}

/// 0 where the system does not tell.
fn open_files() -> u64 {
    std::fs::read_dir("/dev/fd").map_or(0, |files| files.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_leave_room_for_the_files_of_a_log_and_for_its_growth() {
        assert_eq!(left(20_000, 10), 20_000 - 312 - 10 - 64);
        assert_eq!(left(20_000, 4_010), left(20_000, 10) - 4_000);
        assert_eq!(left(100, 500), 1, "a server that could take no link at all would be of no use");
        assert!(open_files() >= 3);
    }
}
