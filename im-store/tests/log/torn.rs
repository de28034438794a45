//! A crash leaves a batch that was being written cut anywhere, or with holes. What was acknowledged remains, and nothing of the rest.

use std::path::Path;

use crate::files::{Files, append, assert_damaged, assert_has, batch, edit, end, open, options, segment};

#[tokio::test]
async fn a_batch_cut_at_any_byte_is_removed() {
    let mut files = Files::new();
    let store = open(files.original()).await;
    append(&store, batch(1, 3)).await;
    let start = end(&files.original(), 1);
    append(&store, batch(4, 2)).await;
    let whole = end(&files.original(), 1);
    let torn = files.copy();
    let sound = std::fs::read(segment(&torn, 1)).unwrap();
    for cut in start..=whole {
        for zeroes in [0, sound.len() - cut] {
            let bytes = [&sound[..cut], &vec![0; zeroes]].concat();
            std::fs::write(segment(&torn, 1), bytes).unwrap();
            let store = open(&torn).await;
            assert_has(&store, if cut == whole { 5 } else { 3 }).await;
        }
    }
}

#[tokio::test]
async fn a_batch_with_a_hole_is_removed() {
    let mut files = Files::new();
    let store = open(files.original()).await;
    append(&store, batch(1, 3)).await;
    let start = end(&files.original(), 1);
    append(&store, batch(4, 40)).await;
    let whole = end(&files.original(), 1);
    for sector in start / 512..=whole / 512 {
        let torn = files.copy();
        edit(&segment(&torn, 1), |bytes| {
            bytes[(sector * 512).max(start)..((sector + 1) * 512).min(whole)].fill(0);
        });
        assert_has(&open(&torn).await, 3).await;
    }
}

#[tokio::test]
async fn a_cut_batch_with_a_whole_one_behind_it_is_damage() {
    let mut files = Files::new();
    let store = open(files.original()).await;
    append(&store, batch(1, 3)).await;
    let start = end(&files.original(), 1);
    append(&store, batch(4, 3)).await;
    let middle = end(&files.original(), 1);
    append(&store, batch(7, 1)).await;
    for cut in [start, start + 10, start + 30, middle - 1] {
        let torn = files.copy();
        edit(&segment(&torn, 1), |bytes| bytes[cut..middle].fill(0));
        assert_damaged(&torn, &format!("cut at {cut} of {start}..{middle}")).await;
    }
}

/// Appends tens until the second segment has one, and gives the number of all that were appended. The first segment ends with a seal.
async fn until_second_segment(files: &Files) -> i64 {
    let store = open(files.original()).await;
    let mut count = 0;
    while !segment(&files.original(), 2).exists() {
        append(&store, batch(count + 1, 10)).await;
        count += 10;
    }
    count
}

/// Leaves of the second segment its head alone, and takes the first one's seal away.
fn unseal(torn: &Path) {
    edit(&segment(torn, 2), |bytes| bytes.truncate(64));
    let seal = end(torn, 1) - 40;
    edit(&segment(torn, 1), |bytes| bytes[seal..].fill(0));
}

#[tokio::test]
async fn a_segment_that_was_begun_just_before_a_crash_is_no_loss() {
    let mut files = Files::new();
    let count = until_second_segment(&files).await;
    let torn = files.copy();
    edit(&segment(&torn, 2), |bytes| bytes.truncate(64));
    assert_has(&open(&torn).await, count - 10).await;
    let torn = files.copy();
    unseal(&torn);
    assert_has(&open(&torn).await, count - 10).await;
    assert_has(&open(&torn).await, count - 9).await;
}

#[tokio::test]
async fn a_segment_that_was_begun_before_a_crash_does_not_end_the_one_that_went_on() {
    let mut files = Files::new();
    let count = until_second_segment(&files).await;
    let torn = files.copy();
    unseal(&torn);
    // There is room now, so that the first segment grows beyond where the second one says that it ends.
    let open_roomy = || options(&torn).segment_bytes(1 << 20).open();
    for more in 0..3 {
        assert_has(&open_roomy().await.unwrap(), count - 10 + more).await;
    }
}
