use std::path::Path;

use im_core::id::{Uid, Version};
use im_core::message::TimelineId;
use im_core::storage::{Read, Timelines as _};
use im_store::sqlite::SqliteStore;

use crate::fault::Fault;

/// Timelines that one call reads.
const BATCH: usize = 64;

/// The most bytes of one timeline's part of a call.
const MAX_BYTES: usize = 1 << 20;

/// Reads the timelines of `users` to their ends, straight from the store whose database this is; how many entries they have.
pub(crate) fn scan(database: &Path, users: &[String], page: usize) -> Result<u64, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(|error| Fault::system("no runtime", &error))?;
    runtime.block_on(async {
        let store = SqliteStore::open(database).await.map_err(|error| fault(&error))?;
        let mut entries = 0;
        for users in users.chunks(BATCH) {
            entries += read_all(&store, users, page).await?;
        }
        store.close().await;
        Ok(entries)
    })
}

async fn read_all(store: &SqliteStore, users: &[String], page: usize) -> Result<u64, Fault> {
    let mut entries = 0;
    let first = users.iter().map(|user| {
        let timeline = TimelineId::User(Uid::new(user).map_err(|error| fault(&error))?);
        Ok(Read { timeline, after: Version::ZERO, until: None, limit: page, max_bytes: MAX_BYTES })
    });
    let mut reads = first.collect::<Result<Vec<_>, Fault>>()?;
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

fn fault(error: &dyn std::error::Error) -> Fault {
    Fault::Environment(format!("the store cannot be scanned: {error}"))
}
