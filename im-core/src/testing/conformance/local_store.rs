//! The suite for [`LocalStore`].

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use im_proto::CmdId;

use super::case::cases;
use super::check::same;
use super::{Case, Outcome, Report, case};
use crate::client::{EarlierPlace, LocalEntry, LocalStore, Outgoing, Saved};
use crate::id::{ClientMsgId, GroupId, MsgId, StoreEpoch, Uid, Version};
use crate::message::{ContentType, Target};
use crate::storage::StoreError;
use crate::time::Timestamp;

/// Opens the local store under test.
#[async_trait]
pub trait LocalStoreBench: Send + Sync + 'static {
    /// Opens the store on data that nothing has been written to. Called once. The user is `alice`.
    async fn open(&self) -> Arc<dyn LocalStore>;

    /// Opens the store again on the same data, as after a crash: the store that was open is dropped without a farewell.
    async fn reopen(&self, store: Arc<dyn LocalStore>) -> Arc<dyn LocalStore>;
}

/// Plays every case on a bench of its own.
pub async fn run_local_store_suite<B: LocalStoreBench>(bench: impl Fn() -> B) -> Report {
    case::run(local_store_cases(), || Box::new(bench()) as Box<dyn LocalStoreBench>).await
}

/// Every case, in the order of the trait's documentation.
pub fn local_store_cases() -> Vec<Case<dyn LocalStoreBench>> {
    cases! {
        "LocalStore::load" {
            a_new_store_knows_nothing: "0 for a new store.",
            messages_come_back_in_the_order_of_enqueueing: "`outgoing` are the enqueued and not settled messages in the order in which they were enqueued.",
        }
        "LocalStore::enqueue" {
            enqueued_messages_outlast_a_crash: "`Ok` means durable",
            a_message_enqueued_twice_keeps_its_place: "A message whose id is enqueued already keeps its first place and content.",
        }
        "LocalStore::settle" {
            settled_messages_are_forgotten: "Unknown ids are ignored.",
        }
        "LocalStore::begin_epoch" {
            an_epoch_outlasts_a_crash: "`Ok` means durable.",
            an_epoch_leaves_what_is_held_as_earlier: "Every held entry becomes an [`earlier`] one, the cursor is 0, and messages to send stay.",
            the_epoch_that_a_store_is_in_changes_nothing: "The epoch that the store is in already changes nothing.",
        }
        "LocalStore::recognise" {
            a_message_is_recognised_by_its_senders_name_or_its_msgid: "An entry is known if an [`earlier`] one is [the same message]",
            what_is_applied_is_earlier_no_more: "It is so until it is applied.",
        }
        "LocalStore::apply" {
            a_recognised_entry_gets_its_new_version: "An entry that is recognised takes the place of the earlier one.",
            applied_entries_and_the_cursor_outlast_a_crash: "`Ok` means durable, both.",
            an_applied_version_is_never_replaced: "An entry whose version is held already replaces nothing",
            the_cursor_never_goes_back: "a cursor below the kept one changes nothing.",
            a_cursor_moves_without_entries: "Entries and cursor together or not at all",
        }
        "LocalStore::read" {
            a_read_is_a_range_in_order: "The held entries with a version greater than `after`, oldest first, at most `limit`.",
            every_field_comes_back: "What was applied before this call began is seen by it.",
        }
        "LocalStore::earlier" {
            earlier_entries_come_newest_first_page_by_page: "Later epochs come first; of one epoch, greater versions do.",
        }
    }
}

fn uid(name: &str) -> Uid {
    Uid::new(name).expect("a short name")
}

fn outgoing(id: &str) -> Outgoing {
    Outgoing {
        client_msg_id: ClientMsgId::new(id).expect("a short id"),
        to: uid("bob"),
        content_type: ContentType(7),
        content: Bytes::copy_from_slice(&[id.as_bytes(), b"\0\xff"].concat()),
    }
}

fn entry(version: i64) -> LocalEntry {
    LocalEntry {
        version: Version(version),
        msgid: MsgId(i64::MAX - version),
        kind: CmdId::C2C_SEND,
        from: uid("bob"),
        to: Target::User(uid("alice")),
        client_msg_id: None,
        content_type: ContentType(0),
        content: Bytes::from(version.to_string()),
        sent_at: Timestamp(1_700_000_000_000),
        withdrawn_at: None,
    }
}

fn versions(entries: &[LocalEntry]) -> Vec<i64> {
    entries.iter().map(|entry| entry.version.0).collect()
}

async fn a_new_store_knows_nothing(bench: &dyn LocalStoreBench) -> Outcome {
    let store = bench.open().await;
    same("what a new store knows", store.load().await?, Saved::default())?;
    same("what it holds", store.read(Version::ZERO, 10).await?, Vec::new())
}

async fn messages_come_back_in_the_order_of_enqueueing(bench: &dyn LocalStoreBench) -> Outcome {
    let store = bench.open().await;
    store.enqueue(vec![outgoing("z"), outgoing("a")]).await?;
    store.settle(vec![outgoing("z").client_msg_id]).await?;
    store.enqueue(vec![outgoing("m"), outgoing("z")]).await?;
    let expected = vec![outgoing("a"), outgoing("m"), outgoing("z")];
    same("the messages", store.load().await?.outgoing, expected)
}

async fn enqueued_messages_outlast_a_crash(bench: &dyn LocalStoreBench) -> Outcome {
    let store = bench.open().await;
    store.enqueue(vec![outgoing("1"), outgoing("2")]).await?;
    let store = bench.reopen(store).await;
    store.enqueue(vec![outgoing("3")]).await?;
    let expected = vec![outgoing("1"), outgoing("2"), outgoing("3")];
    same("the messages", store.load().await?.outgoing, expected)
}

async fn a_message_enqueued_twice_keeps_its_place(bench: &dyn LocalStoreBench) -> Outcome {
    let store = bench.open().await;
    store.enqueue(vec![outgoing("1"), outgoing("2")]).await?;
    let other = Outgoing { content: Bytes::from_static(b"other"), ..outgoing("1") };
    store.enqueue(vec![other, outgoing("3"), outgoing("3")]).await?;
    let expected = vec![outgoing("1"), outgoing("2"), outgoing("3")];
    same("the messages", store.load().await?.outgoing, expected)
}

async fn settled_messages_are_forgotten(bench: &dyn LocalStoreBench) -> Outcome {
    let store = bench.open().await;
    store.enqueue(vec![outgoing("1"), outgoing("2"), outgoing("3")]).await?;
    let settled = ["3", "unknown", "1", "1"].map(|id| outgoing(id).client_msg_id);
    store.settle(settled.to_vec()).await?;
    same("the messages", store.load().await?.outgoing, vec![outgoing("2")])
}

async fn applied_entries_and_the_cursor_outlast_a_crash(bench: &dyn LocalStoreBench) -> Outcome {
    let store = bench.open().await;
    store.apply(vec![entry(1), entry(2)], Version(2)).await?;
    let store = bench.reopen(store).await;
    same("the cursor", store.load().await?.cursor, Version(2))?;
    same("the entries", store.read(Version::ZERO, 10).await?, vec![entry(1), entry(2)])
}

async fn an_applied_version_is_never_replaced(bench: &dyn LocalStoreBench) -> Outcome {
    let store = bench.open().await;
    store.apply(vec![entry(1)], Version(1)).await?;
    let other = LocalEntry { content: Bytes::from_static(b"other"), ..entry(1) };
    store.apply(vec![other, entry(2)], Version(2)).await?;
    same("the entries", store.read(Version::ZERO, 10).await?, vec![entry(1), entry(2)])
}

async fn the_cursor_never_goes_back(bench: &dyn LocalStoreBench) -> Outcome {
    let store = bench.open().await;
    store.apply(vec![entry(1), entry(2), entry(3)], Version(3)).await?;
    store.apply(vec![entry(1)], Version(1)).await?;
    same("the cursor", store.load().await?.cursor, Version(3))
}

async fn a_cursor_moves_without_entries(bench: &dyn LocalStoreBench) -> Outcome {
    let store = bench.open().await;
    store.apply(Vec::new(), Version(9)).await?;
    same("the cursor", store.load().await?.cursor, Version(9))
}

async fn a_read_is_a_range_in_order(bench: &dyn LocalStoreBench) -> Outcome {
    let store = bench.open().await;
    store.apply((1..=300).map(entry).collect(), Version(300)).await?;
    same("after 2, 3 at most", versions(&store.read(Version(2), 3).await?), vec![3, 4, 5])?;
    same("after 298", versions(&store.read(Version(298), 10).await?), vec![299, 300])?;
    same("after the last", versions(&store.read(Version(300), 10).await?), Vec::new())
}

async fn every_field_comes_back(bench: &dyn LocalStoreBench) -> Outcome {
    let store = bench.open().await;
    let of_group = LocalEntry {
        kind: CmdId::C2G_SEND,
        to: Target::Group(GroupId(i64::MAX)),
        client_msg_id: Some(outgoing("id").client_msg_id),
        content_type: ContentType(-3),
        content: Bytes::from_static(b"\0\xff"),
        withdrawn_at: Some(Timestamp(5)),
        ..entry(1)
    };
    store.apply(vec![of_group.clone(), entry(2)], Version(2)).await?;
    same("the entries", store.read(Version::ZERO, 10).await?, vec![of_group, entry(2)])
}

const EPOCHS: [StoreEpoch; 2] = [StoreEpoch(5), StoreEpoch(9)];

fn named(version: i64, id: &str) -> LocalEntry {
    LocalEntry { client_msg_id: Some(outgoing(id).client_msg_id), ..entry(version) }
}

/// The earlier entries, newest first.
async fn earlier(store: &dyn LocalStore) -> Result<Vec<LocalEntry>, StoreError> {
    let earlier = store.earlier(EarlierPlace::END, 1_000).await?;
    Ok(earlier.into_iter().map(|earlier| earlier.entry).collect())
}

async fn an_epoch_outlasts_a_crash(bench: &dyn LocalStoreBench) -> Outcome {
    let store = bench.open().await;
    store.apply(vec![entry(1)], Version(1)).await?;
    store.begin_epoch(EPOCHS[0]).await?;
    let store = bench.reopen(store).await;
    let expected = Saved { epoch: EPOCHS[0], has_earlier: true, ..Saved::default() };
    same("what the store knows", store.load().await?, expected)?;
    same("the earlier entries", earlier(&*store).await?, vec![entry(1)])?;
    store.apply(vec![entry(1)], Version(1)).await?;
    let store = bench.reopen(store).await;
    let expected = Saved { epoch: EPOCHS[0], cursor: Version(1), ..Saved::default() };
    same("what the store knows once it has come again", store.load().await?, expected)
}

async fn an_epoch_leaves_what_is_held_as_earlier(bench: &dyn LocalStoreBench) -> Outcome {
    let store = bench.open().await;
    store.enqueue(vec![outgoing("1")]).await?;
    store.apply(vec![entry(1), entry(2)], Version(2)).await?;
    store.begin_epoch(EPOCHS[0]).await?;
    let expected =
        Saved { epoch: EPOCHS[0], cursor: Version::ZERO, has_earlier: true, outgoing: vec![outgoing("1")] };
    same("what the store knows", store.load().await?, expected)?;
    same("the entries of this epoch", store.read(Version::ZERO, 10).await?, Vec::new())?;
    same("the earlier ones", earlier(&*store).await?, vec![entry(2), entry(1)])
}

async fn the_epoch_that_a_store_is_in_changes_nothing(bench: &dyn LocalStoreBench) -> Outcome {
    let store = bench.open().await;
    for epoch in [StoreEpoch(0), EPOCHS[0], EPOCHS[0]] {
        store.begin_epoch(epoch).await?;
    }
    store.apply(vec![entry(1)], Version(1)).await?;
    store.begin_epoch(EPOCHS[0]).await?;
    let expected = Saved { epoch: EPOCHS[0], cursor: Version(1), ..Saved::default() };
    same("what the store knows", store.load().await?, expected)?;
    same("the entries", store.read(Version::ZERO, 10).await?, vec![entry(1)])
}

async fn a_message_is_recognised_by_its_senders_name_or_its_msgid(bench: &dyn LocalStoreBench) -> Outcome {
    let store = bench.open().await;
    same("in a new store", store.recognise(&[entry(1)]).await?, vec![false])?;
    store.apply(vec![entry(1), named(2, "a")], Version(2)).await?;
    same("in its epoch", store.recognise(&[entry(1)]).await?, vec![false])?;
    store.begin_epoch(EPOCHS[0]).await?;
    let (first, second) = (entry(1).msgid, entry(2).msgid);
    let cases = [
        (true, LocalEntry { version: Version(7), ..entry(1) }),
        (false, LocalEntry { msgid: MsgId(3), ..entry(1) }),
        (true, LocalEntry { msgid: MsgId(3), ..named(8, "a") }),
        (false, LocalEntry { from: uid("carol"), ..named(2, "a") }),
        (false, LocalEntry { msgid: second, ..named(2, "b") }),
        (false, LocalEntry { msgid: first, ..named(1, "c") }),
        (false, LocalEntry { msgid: second, ..entry(2) }),
    ];
    let entries: Vec<LocalEntry> = cases.iter().map(|(_, entry)| entry.clone()).collect();
    let expected: Vec<bool> = cases.iter().map(|(known, _)| *known).collect();
    same("who is known", store.recognise(&entries).await?, expected)?;
    same("of none", store.recognise(&[]).await?, Vec::new())
}

async fn what_is_applied_is_earlier_no_more(bench: &dyn LocalStoreBench) -> Outcome {
    let store = bench.open().await;
    store.apply(vec![named(1, "a"), entry(2)], Version(2)).await?;
    store.begin_epoch(EPOCHS[0]).await?;
    store.apply(vec![named(1, "a")], Version(1)).await?;
    same("who is known", store.recognise(&[named(1, "a"), entry(2)]).await?, vec![false, true])?;
    same("the earlier entries", earlier(&*store).await?, vec![entry(2)])
}

async fn a_recognised_entry_gets_its_new_version(bench: &dyn LocalStoreBench) -> Outcome {
    let store = bench.open().await;
    store.apply(vec![entry(1), named(2, "a"), named(3, "b")], Version(3)).await?;
    store.begin_epoch(EPOCHS[0]).await?;
    let again = LocalEntry { msgid: MsgId(4), ..named(1, "a") };
    let moved = LocalEntry { version: Version(2), ..entry(1) };
    store.apply(vec![again.clone(), moved.clone()], Version(2)).await?;
    store.apply(vec![again.clone(), moved.clone()], Version(2)).await?;
    same("the entries", store.read(Version::ZERO, 10).await?, vec![again, moved])?;
    same("the earlier ones", earlier(&*store).await?, vec![named(3, "b")])?;
    same("the cursor", store.load().await?.cursor, Version(2))
}

async fn earlier_entries_come_newest_first_page_by_page(bench: &dyn LocalStoreBench) -> Outcome {
    let store = bench.open().await;
    store.apply((1..=5).map(entry).collect(), Version(5)).await?;
    store.begin_epoch(EPOCHS[0]).await?;
    store.apply(vec![named(1, "a"), named(2, "b")], Version(2)).await?;
    store.begin_epoch(EPOCHS[1]).await?;
    let expected = vec![named(2, "b"), named(1, "a"), entry(5), entry(4), entry(3), entry(2), entry(1)];
    same("all of them", earlier(&*store).await?, expected.clone())?;
    let mut paged = Vec::new();
    let mut before = EarlierPlace::END;
    loop {
        let page = store.earlier(before, 3).await?;
        let Some(last) = page.last() else { break };
        before = last.place;
        paged.extend(page.into_iter().map(|earlier| earlier.entry));
    }
    same("by pages of 3", paged, expected)
}
