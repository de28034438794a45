//! `copy` and `verify` over stores that are sound, and over stores that differ in one thing.
#![allow(clippy::unwrap_used, missing_docs)]

mod differences;
mod failures;
mod posts;

use std::sync::Arc;

use futures::executor::block_on;
use im_core::memory::{MemoryImport, MemoryStore};
use im_core::storage::{Export as _, ExportPage};
use im_core::transfer::{Counts, PageLimits, copy, count, verify};

use posts::filled;

/// A copy of a store.
fn copied(from: &MemoryStore, limits: PageLimits) -> (Arc<MemoryStore>, Counts) {
    let to = Arc::new(MemoryStore::default());
    let import = Box::new(MemoryImport::new(to.clone()).unwrap());
    let counts = block_on(copy(from, import, limits, &mut |_| ())).unwrap();
    (to, counts)
}

#[test]
fn a_copy_answers_as_its_source_whatever_the_pages() {
    let store = filled();
    for rows in [0, 1, 7, 1_000] {
        for bytes in [0, 400, usize::MAX] {
            let limits = PageLimits { rows, bytes };
            let (copy, _) = copied(&store, limits);
            let found = block_on(verify(&store, &*copy, limits, &mut |_| ())).unwrap();
            assert!(found.is_equal(), "{found}");
        }
    }
}

#[test]
fn copying_counting_and_comparing_count_alike() {
    let store = filled();
    let expected = Counts {
        users: 3,
        groups: 1,
        entries_expected: 42,
        messages: 30,
        entries: 42,
        content_bytes: 300,
        cursors: 2,
        nodes: 1,
    };
    let limits = PageLimits { rows: 4, ..PageLimits::default() };
    let (copy, counts) = copied(&store, limits);
    assert_eq!(counts, expected);
    assert_eq!(block_on(count(&store, limits, &mut |_| ())).unwrap(), expected);
    let found = block_on(verify(&store, &*copy, limits, &mut |_| ())).unwrap();
    assert_eq!(found.counts, expected);
}

#[test]
fn progress_is_told_after_every_page() {
    let mut told = Vec::new();
    let limits = PageLimits { rows: 10, ..PageLimits::default() };
    let to = Arc::new(MemoryStore::default());
    let import = Box::new(MemoryImport::new(to).unwrap());
    block_on(copy(&filled(), import, limits, &mut |counts| told.push(counts.messages))).unwrap();
    assert_eq!(told, [6, 16, 26, 30]);
}

#[test]
fn a_position_of_another_store_is_an_error_and_no_panic() {
    let store = filled();
    for bytes in [vec![], vec![1, 2], vec![0xFF; 8], vec![0; 9]] {
        let after = Some(im_core::storage::Position(bytes.clone()));
        let page = block_on(store.export(ExportPage { after, limit: 10, max_bytes: 10 }));
        assert!(page.is_err() || page.unwrap().rows.is_empty(), "{bytes:?}");
    }
}
