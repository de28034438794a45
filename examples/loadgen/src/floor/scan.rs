use std::path::Path;

use im_core::id::{Uid, Version};
use im_core::message::TimelineId;
use im_core::storage::{Read, Timelines as _};
use im_store::sqlite::SqliteStore;
use tokio::runtime::{Builder, Runtime};

use crate::fault::Fault;

/// Timelines that one call reads.
const BATCH: usize = 64;

/// The most bytes of one timeline's part of a call.
const MAX_BYTES: usize = 1 << 20;

/// A store that nobody serves, to be read as fast as it can be.
pub(crate) struct Scanner {
    runtime: Runtime,
    store: SqliteStore,
}

impl Scanner {
    /// Opens the store whose database this is.
    pub(crate) fn open(database: &Path) -> Result<Self, Fault> {
        let runtime = Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(|error| Fault::system("no runtime", &error))?;
        let store = runtime.block_on(SqliteStore::open(database)).map_err(|error| fault(&error))?;
        Ok(Scanner { runtime, store })
    }

    /// Reads the timelines of `users` to their ends, page by page; how many entries they have.
    pub(crate) fn scan(&self, users: &[String], page: usize) -> Result<u64, Fault> {
        let mut entries = 0;
        for users in users.chunks(BATCH) {
            entries += self.runtime.block_on(read_all(&self.store, users, page))?;
        }
        Ok(entries)
    }
}

async fn read_all(store: &SqliteStore, users: &[String], page: usize) -> Result<u64, Fault> {
    let mut entries = 0;
    let mut reads = users.iter().map(|user| first_page(user, page)).collect::<Result<Vec<_>, Fault>>()?;
    while !reads.is_empty() {
        let pages = store.read(reads.clone()).await;
        let mut more = Vec::with_capacity(reads.len());
        for (read, page) in reads.into_iter().zip(pages) {
            let page = page.map_err(|error| fault(&error))?;
            entries += page.entries.len() as u64;
            match page.entries.last() {
                Some(last) if last.version < page.head => more.push(Read { after: last.version, ..read }),
                _ => {}
            }
        }
        reads = more;
    }
    Ok(entries)
}

fn first_page(user: &str, page: usize) -> Result<Read, Fault> {
    let timeline = TimelineId::User(Uid::new(user).map_err(|error| fault(&error))?);
    Ok(Read { timeline, after: Version::ZERO, until: None, limit: page, max_bytes: MAX_BYTES })
}

fn fault(error: &dyn std::error::Error) -> Fault {
    Fault::Environment(format!("the store cannot be scanned: {error}"))
}
