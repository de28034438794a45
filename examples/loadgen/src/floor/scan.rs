use std::path::Path;
use std::sync::Arc;

use im_core::id::{Uid, Version};
use im_core::message::TimelineId;
use im_core::storage::{Read, Store};
use tokio::runtime::{Builder, Runtime};

use crate::fault::Fault;
use crate::store::StoreSpec;

/// Timelines that one call reads.
const BATCH: usize = 64;

/// The most entries, and the most bytes, of one timeline's part of a call: far more than a server gives a client at one time, since the
/// floor is what the store can do.
const LIMIT: usize = 1_000;
const MAX_BYTES: usize = 1 << 20;

/// A store that nobody serves, to be read as fast as it can be.
pub(crate) struct Scanner {
    runtime: Runtime,
    store: Arc<dyn Store>,
}

impl Scanner {
    /// Opens the store in this data directory.
    pub(crate) fn open(spec: &StoreSpec, data: &Path) -> Result<Self, Fault> {
        let runtime = Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(|error| Fault::system("no runtime", &error))?;
        let store = runtime.block_on(spec.open(data))?;
        Ok(Scanner { runtime, store })
    }

    /// Reads the timelines of `users` to their ends, page by page; how many entries they have.
    pub(crate) fn scan(&self, users: &[String]) -> Result<u64, Fault> {
        let mut entries = 0;
        for users in users.chunks(BATCH) {
            entries += self.runtime.block_on(read_all(self.store.as_ref(), users))?;
        }
        Ok(entries)
    }
}

async fn read_all(store: &dyn Store, users: &[String]) -> Result<u64, Fault> {
    let mut entries = 0;
    let mut reads = users.iter().map(|user| first_page(user)).collect::<Result<Vec<_>, Fault>>()?;
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

fn first_page(user: &str) -> Result<Read, Fault> {
    let timeline = TimelineId::User(Uid::new(user).map_err(|error| fault(&error))?);
    Ok(Read { timeline, after: Version::ZERO, until: None, limit: LIMIT, max_bytes: MAX_BYTES, least: None })
}

fn fault(error: &dyn std::error::Error) -> Fault {
    Fault::Environment(format!("the store cannot be scanned: {error}"))
}
