//! Reads that a replica may answer.

use super::StoreBench;
use super::fixture::{append_all, direct, only, user};
use crate::id::Version;
use crate::storage::{Page, Read, Store};
use crate::testing::conformance::case::cases;
use crate::testing::conformance::check::same;
use crate::testing::conformance::{Case, Failure, Outcome};

pub(super) fn cases() -> Vec<Case<dyn StoreBench>> {
    cases! {
        "Timelines::read" {
            a_page_reaches_what_its_reader_knows: "With `least` a version: the page may be what the timeline was at an earlier moment, from when on it had that version; its `head` is at least that.",
            a_reader_that_goes_by_its_pages_never_goes_back: "its `head` is at least that.",
            the_end_is_the_end_whatever_the_reader_knows: "A page that is empty, or whose last entry is its `head`, sees what was acknowledged before whatever `least` says",
            a_least_beyond_the_timeline_changes_nothing: "In a timeline that does not reach it, `least` changes nothing.",
        }
    }
}

fn after(after: Version, limit: usize, least: i64) -> Read {
    let least = Some(Version(least));
    Read { timeline: user("bob"), after, until: None, limit, max_bytes: usize::MAX, least }
}

async fn page(store: &dyn Store, read: Read) -> Result<Page, Failure> {
    Ok(only(store.read(vec![read]).await)??)
}

async fn grow(store: &dyn Store, from: i64, to: i64) -> Outcome {
    let posts: Vec<_> = (from..=to).map(|n| direct("alice", "bob", n)).collect();
    append_all(store, &posts).await.map(drop)
}

async fn a_page_reaches_what_its_reader_knows(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    for count in 1..=20 {
        grow(&*store, count, count).await?;
        for least in 0..=count {
            let page = page(&*store, after(Version::ZERO, 3, least)).await?;
            same("whether the head is at least what the reader knows", page.head.0 >= least, true)?;
            same("whether the head is one that was there", page.head.0 <= count, true)?;
            entries_are_the_first(&page, count.min(3))?;
        }
    }
    Ok(())
}

/// What a page gives of a timeline with these msgids from 1 on, from its beginning.
fn entries_are_the_first(page: &Page, count: i64) -> Outcome {
    let expected: Vec<_> = (1..=count).map(|n| (Version(n), direct("alice", "bob", n).message)).collect();
    let came = page.entries.iter().map(|entry| (entry.version, entry.message.clone())).collect();
    same("the entries", came, expected)
}

async fn a_reader_that_goes_by_its_pages_never_goes_back(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let (mut known, mut seen) = (0, Vec::new());
    for step in 0..30 {
        grow(&*store, 1 + 4 * step, 4 + 4 * step).await?;
        let from = seen.last().copied().unwrap_or_default();
        let page = page(&*store, after(from, 3, known)).await?;
        same("whether the head does not go back", page.head.0 >= known, true)?;
        known = page.head.0;
        seen.extend(page.entries.iter().map(|entry| entry.version));
    }
    same("what was read", seen, (1..=90).map(Version).collect::<Vec<_>>())
}

async fn the_end_is_the_end_whatever_the_reader_knows(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    for count in 1..=30 {
        grow(&*store, count, count).await?;
        let knows_nothing = page(&*store, after(Version(count - 1), 100, 0)).await?;
        same("the newest entry", knows_nothing.entries.len(), 1)?;
        let all = page(&*store, after(Version::ZERO, 100, count - 1)).await?;
        same("all entries", all.entries.len(), usize::try_from(count).unwrap_or_default())?;
        let end = page(&*store, after(Version(count), 100, count)).await?;
        same("after the end", end, Page { entries: Vec::new(), head: Version(count) })?;
    }
    Ok(())
}

async fn a_least_beyond_the_timeline_changes_nothing(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    grow(&*store, 1, 10).await?;
    for least in [11, 1_000, i64::MAX] {
        let page = page(&*store, after(Version(2), 3, least)).await?;
        same("the head", page.head, Version(10))?;
        same("the number of entries", page.entries.len(), 3)?;
    }
    let page = page(&*store, after(Version(99), 3, 99)).await?;
    same("ahead of the head", page, Page { entries: Vec::new(), head: Version(10) })
}
