//! Bits that flip, and files that go missing. A clear error or a clean recovery, never silence.

use std::fs;

use im_core::storage::{Conversations, Read, StoreErrorKind, Timelines};
use im_store::log::{LogStore, OpenError};

use crate::files::{Files, append, assert_damaged, assert_has, batch, edit, end, open, options, segment};
use crate::posts::{uid, user};

/// What bob has, or what the store says instead.
async fn bobs(store: &LogStore) -> Result<Vec<i64>, StoreErrorKind> {
    let read = Read {
        timeline: user("bob"),
        after: Default::default(),
        until: None,
        limit: usize::MAX,
        max_bytes: usize::MAX,
        least: None,
    };
    let page = store.read(vec![read]).await.remove(0);
    page.map(|page| page.entries.iter().map(|entry| entry.message.msgid.0).collect())
        .map_err(|error| error.kind())
}

#[tokio::test]
async fn a_bit_that_flips_in_the_log_after_a_crash_is_damage_wherever_it_is() {
    let mut files = Files::new();
    let store = open(files.original()).await;
    for n in 0..5 {
        append(&store, batch(n * 2 + 1, 2)).await;
    }
    let rotten = files.copy();
    let path = segment(&rotten, 1);
    for at in 0..end(&rotten, 1) {
        // Behind the header's checksum there is nothing.
        if (44..64).contains(&at) {
            continue;
        }
        edit(&path, |bytes| bytes[at] ^= 1 << (at % 8));
        assert_damaged(&rotten, &format!("byte {at}")).await;
        edit(&path, |bytes| bytes[at] ^= 1 << (at % 8));
    }
    assert_has(&open(&rotten).await, 10).await;
}

#[tokio::test]
async fn a_bit_that_flips_in_the_log_behind_the_index_is_noticed_by_whoever_reads_there() {
    let mut files = Files::new();
    let store = open(files.original()).await;
    append(&store, batch(1, 10)).await;
    store.close().await;
    let rotten = files.copy();
    let (path, mut corrupt) = (segment(&rotten, 1), 0);
    for at in (64..end(&rotten, 1)).step_by(3) {
        edit(&path, |bytes| bytes[at] ^= 1 << (at % 8));
        let store = open(&rotten).await;
        match bobs(&store).await {
            // Batches have headers and fill that nobody reads any more.
            Ok(found) => assert_eq!(found, (1..=10).collect::<Vec<_>>()),
            Err(kind) => {
                assert_eq!(kind, StoreErrorKind::Corrupt);
                corrupt += 1;
            }
        }
        store.close().await;
        edit(&path, |bytes| bytes[at] ^= 1 << (at % 8));
    }
    assert!(corrupt > 400, "{corrupt}");
}

#[tokio::test]
async fn a_bit_that_flips_in_the_index_is_repaired_from_the_log() {
    let mut files = Files::new();
    let store = open(files.original()).await;
    append(&store, batch(1, 300)).await;
    store.close().await;
    for file in fs::read_dir(files.original().join("index")).unwrap() {
        let name = file.unwrap().file_name();
        let len =
            usize::try_from(fs::metadata(files.original().join("index").join(&name)).unwrap().len()).unwrap();
        for at in (0..len).step_by(len.div_ceil(60)) {
            let rotten = files.copy();
            edit(&rotten.join("index").join(&name), |bytes| bytes[at] ^= 1 << (at % 8));
            let store = open(&rotten).await;
            match bobs(&store).await {
                Ok(found) => assert_eq!(found, (1..=300).collect::<Vec<_>>(), "{name:?}, byte {at}"),
                Err(kind) => assert_eq!(kind, StoreErrorKind::Corrupt),
            }
            // Conversations and keys are looked at by these, and whatever is found damaged is made anew at the next start.
            let _ = store.conversations(&uid("bob"), None, 9).await;
            let _ = store.append(batch(1, 300)).await;
            drop(store);
            assert_has(&open(&rotten).await, 300).await;
        }
    }
}

#[tokio::test]
async fn a_damaged_index_is_made_anew_even_if_more_is_added_to_it_first() {
    let files = Files::new();
    let store = open(files.original()).await;
    append(&store, batch(1, 4_500)).await;
    store.close().await;
    // A block of places of bob's messages, which nobody reads at the start.
    edit(&files.original().join("index/00000001.table"), |bytes| bytes[16_000] ^= 1);
    let store = open(files.original()).await;
    assert_eq!(bobs(&store).await, Err(StoreErrorKind::Corrupt));
    append(&store, batch(4_501, 5)).await;
    store.close().await;
    assert_has(&open(files.original()).await, 4_505).await;
}

#[tokio::test]
async fn a_log_that_ends_before_its_index_is_damage() {
    let mut files = Files::new();
    let store = open(files.original()).await;
    append(&store, batch(1, 3)).await;
    let old = files.copy();
    append(&store, batch(4, 3)).await;
    store.checkpoint().await.unwrap();
    let new = files.copy();
    fs::copy(segment(&old, 1), segment(&new, 1)).unwrap();
    assert_damaged(&new, "versions 4 to 6 would be given out again, or be missing").await;
}

#[tokio::test]
async fn an_index_that_is_missing_or_of_another_store_is_made_anew() {
    let mut files = Files::new();
    let store = open(files.original()).await;
    append(&store, batch(1, 700)).await;
    store.close().await;
    let other = Files::new();
    open(other.original()).await.close().await;

    let lost = files.copy();
    fs::remove_dir_all(lost.join("index")).unwrap();
    assert_has(&open(&lost).await, 700).await;

    let foreign = files.copy();
    fs::copy(other.original().join("index/manifest"), foreign.join("index/manifest")).ok();
    assert_has(&open(&foreign).await, 700).await;

    let tableless = files.copy();
    for file in fs::read_dir(tableless.join("index")).unwrap().map(Result::unwrap) {
        if file.path().extension().is_some_and(|kind| kind == "table") {
            fs::remove_file(file.path()).unwrap();
        }
    }
    assert_has(&open(&tableless).await, 700).await;
}

#[tokio::test]
async fn a_part_of_the_log_that_is_missing_is_damage() {
    let mut files = Files::new();
    let store = open(files.original()).await;
    let mut count = 0;
    while !segment(&files.original(), 4).exists() {
        append(&store, batch(count + 1, 20)).await;
        count += 20;
    }
    for number in 1..=4 {
        let lost = files.copy();
        fs::remove_file(segment(&lost, number)).unwrap();
        assert_damaged(&lost, &format!("without segment {number}")).await;
        let short = files.copy();
        edit(&segment(&short, number), |bytes| bytes.truncate(if number < 4 { bytes.len() - 1 } else { 63 }));
        assert_damaged(&short, &format!("with segment {number} cut")).await;
    }
    store.close().await;
    let lost = files.copy();
    fs::remove_dir_all(lost.join("log")).unwrap();
    assert_damaged(&lost, "with an index alone").await;
    let short = files.copy();
    edit(&segment(&short, 4), |bytes| bytes.truncate(64));
    assert_damaged(&short, "with a log that ends before the index").await;
    assert_has(&open(&files.copy()).await, count).await;
}

#[tokio::test]
async fn a_missing_segment_stays_damage_after_the_index_was_made_anew() {
    let mut files = Files::new();
    let store = open(files.original()).await;
    let mut count = 0;
    while !segment(&files.original(), 3).exists() {
        append(&store, batch(count + 1, 10)).await;
        count += 10;
    }
    let cut = files.copy();
    fs::remove_file(segment(&cut, 3)).unwrap();
    for time in ["first", "second"] {
        match options(&cut).checkpoint_messages(1).open().await {
            Err(OpenError::Damaged { .. }) => {}
            opened => panic!("opened the {time} time, without its newest messages: {opened:?}"),
        }
    }
    let whole = files.copy();
    drop(options(&whole).checkpoint_messages(1).open().await.unwrap());
    fs::remove_file(segment(&whole, 3)).unwrap();
    assert_damaged(&whole, "the index knows of segment 3").await;
}

#[tokio::test]
async fn a_log_of_a_newer_format_is_refused() {
    let mut files = Files::new();
    open(files.original()).await.close().await;
    let newer = files.copy();
    edit(&segment(&newer, 1), |bytes| {
        bytes[8] = 9;
        let crc = crc32c::crc32c(&bytes[..40]);
        bytes[40..44].copy_from_slice(&crc.to_le_bytes());
    });
    let error = options(&newer).open().await.unwrap_err();
    assert!(matches!(error, OpenError::Newer { format: 9, .. }), "{error:?}");
    assert!(error.to_string().contains("Upgrade the program"), "{error}");
}
