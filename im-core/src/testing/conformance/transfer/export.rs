use std::collections::BTreeMap;

use super::content::{fill, model, posts, posts_of, rows};
use super::{TransferBench, open};
use crate::message::TimelineId;
use crate::storage::{Export, ExportPage, Exported, Place, Row, StoreError};
use crate::testing::conformance::case::cases;
use crate::testing::conformance::check::same;
use crate::testing::conformance::{Case, Failure, Outcome};

pub(super) fn cases() -> Vec<Case<dyn TransferBench>> {
    cases! {
        "Export::export" {
            every_row_is_given_once: "Everything that the store answers from is given, and each thing once, whatever the pages' size.",
            kinds_come_one_after_the_other: "Kinds come one after the other: timelines, then posts, then cursors, then nodes.",
            versions_ascend_in_every_timeline: "Posts come in an order in which the versions of every timeline ascend, be it their home or their copy.",
            a_post_comes_with_its_digest_and_places: "A post carries what its repeats are answered from: message, digest, and both its places, whoever owns them.",
            a_page_of_an_export_keeps_its_limits: "A page has at most `limit` rows (0 counts as 1), and stops before the sum of [`Row::size`] passes `max_bytes`, but not before the first.",
            an_empty_store_gives_one_empty_page: "`next` is `None` with the last page, and only then; a page before it has at least one row.",
            no_page_but_the_last_is_empty: "`next` is `None` with the last page, and only then; a page before it has at least one row.",
        }
    }
}

/// A filled store, opened again.
async fn filled(
    bench: &dyn TransferBench,
) -> Result<std::sync::Arc<dyn crate::storage::Exportable>, Failure> {
    fill(&*open(bench).await?).await?;
    open(bench).await
}

async fn every_row_is_given_once(bench: &dyn TransferBench) -> Outcome {
    let store = filled(bench).await?;
    let expected = sorted(rows(&*model().await?, 1_000).await?);
    for limit in [1, 2, 7, 60, 1_000_000] {
        same(format!("rows in pages of {limit}"), sorted(rows(&*store, limit).await?), expected.clone())?;
    }
    Ok(())
}

fn sorted(rows: Vec<Row>) -> Vec<String> {
    let mut rows: Vec<_> = rows.iter().map(|row| format!("{row:?}")).collect();
    rows.sort_unstable();
    rows
}

async fn kinds_come_one_after_the_other(bench: &dyn TransferBench) -> Outcome {
    let store = filled(bench).await?;
    let kinds: Vec<_> = rows(&*store, 5).await?.iter().map(Row::kind).collect();
    let mut sorted = kinds.clone();
    sorted.sort();
    same("the kinds", kinds, sorted)
}

async fn versions_ascend_in_every_timeline(bench: &dyn TransferBench) -> Outcome {
    let store = filled(bench).await?;
    let mut heads: BTreeMap<TimelineId, i64> = BTreeMap::new();
    for post in posts_of(&rows(&*store, 5).await?) {
        for Place { timeline, version } in post.places() {
            let head = heads.entry(timeline.clone()).or_default();
            *head += 1;
            same(format!("the next version of {timeline:?}"), version.0, *head)?;
        }
    }
    same("how many timelines there are", heads.len(), 8)
}

async fn a_post_comes_with_its_digest_and_places(bench: &dyn TransferBench) -> Outcome {
    let store = filled(bench).await?;
    let exported = posts_of(&rows(&*store, 1_000).await?);
    let came: BTreeMap<_, _> = exported.into_iter().map(|post| (post.message.msgid, post)).collect();
    for post in posts() {
        let stored = came.get(&post.message.msgid);
        let timelines = stored.map(|stored| {
            let copy = stored.copy.as_ref().map(|copy| copy.timeline.clone());
            (stored.message.clone(), stored.digest, stored.home.timeline.clone(), copy)
        });
        let digest = post.message.digest();
        let copy = post.copy.filter(|copy| *copy != post.home);
        same("a post", timelines, Some((post.message, digest, post.home, copy)))?;
    }
    Ok(())
}

async fn page(
    store: &(impl Export + ?Sized),
    limit: usize,
    max_bytes: usize,
) -> Result<Exported, StoreError> {
    store.export(ExportPage { after: None, limit, max_bytes }).await
}

async fn a_page_of_an_export_keeps_its_limits(bench: &dyn TransferBench) -> Outcome {
    let store = filled(bench).await?;
    for (limit, most) in [(0, 1), (1, 1), (3, 3), (20, 20)] {
        let rows = page(&*store, limit, usize::MAX).await?.rows;
        same(format!("a page of {limit} has rows"), (1..=most).contains(&rows.len()), true)?;
    }
    for max_bytes in [0, 1, 500, 5_000] {
        let rows = page(&*store, 1_000, max_bytes).await?.rows;
        let bytes: usize = rows.iter().map(Row::size).sum();
        let fits = rows.len() == 1 || (bytes <= max_bytes && !rows.is_empty());
        same(format!("{} rows of {bytes} bytes fit {max_bytes}", rows.len()), fits, true)?;
    }
    Ok(())
}

async fn an_empty_store_gives_one_empty_page(bench: &dyn TransferBench) -> Outcome {
    let store = open(bench).await?;
    same("the only page", page(&*store, 10, 1_000).await?, Exported::default())
}

async fn no_page_but_the_last_is_empty(bench: &dyn TransferBench) -> Outcome {
    let store = filled(bench).await?;
    let mut after = None;
    loop {
        let page = store.export(ExportPage { after, limit: 1, max_bytes: 0 }).await?;
        same("the rows of a page of 1", page.rows.len(), 1)?;
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}
