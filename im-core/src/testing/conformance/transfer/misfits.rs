use std::error::Error;

use super::content::rows;
use super::fixture::{append_all, device, direct, uid, user};
use super::{TransferBench, begin};
use crate::id::{NodeId, Version};
use crate::memory::MemoryStore;
use crate::storage::{CursorAck, Head, HeldNode, Misfit, Row, RowKind, StoreError, StoreErrorKind};
use crate::testing::conformance::case::cases;
use crate::testing::conformance::check::same;
use crate::testing::conformance::{Case, Failure, Outcome};
use crate::time::Timestamp;

pub(super) fn cases() -> Vec<Case<dyn TransferBench>> {
    cases! {
        "Import::import" {
            a_gap_in_a_timeline_is_refused: "A post stands at the versions that it names: each one the timeline's head plus one, where a timeline begins at its announced floor.",
            a_version_that_was_taken_is_refused: "A post stands at the versions that it names: each one the timeline's head plus one, where a timeline begins at its announced floor.",
            a_kind_out_of_turn_is_refused: "a kind after a later one",
            a_timeline_that_was_not_announced_is_refused: "a timeline that was not announced",
            a_timeline_is_announced_once: "What cannot be of one sound store is refused with `Corrupt` and a [`Misfit`]",
            a_key_comes_once: "a key or msgid for the second time",
            a_msgid_comes_once_in_a_timeline: "a key or msgid for the second time",
            a_cursor_stands_below_its_head: "a cursor above its head",
            a_floor_is_kept_or_refused: "What this kind of store does not keep",
        }
        "Import::finish" {
            a_timeline_has_to_come_to_its_head: "Every timeline has come to its announced head, or it is refused with `Corrupt` and [`Misfit::Incomplete`].",
        }
    }
}

/// Rows of a store in which alice sent bob four messages: two timelines, four posts.
async fn four() -> Result<Vec<Row>, Failure> {
    let store = MemoryStore::default();
    append_all(&store, &[1, 2, 3, 4].map(|n| direct("alice", "bob", n))).await?;
    Ok(rows(&store, 100).await?)
}

/// Imports rows, in one batch or one by one: the misfit that stops it, and what else it says is the same either way.
async fn misfit(bench: &dyn TransferBench, rows: Vec<Row>) -> Result<Option<Misfit>, Failure> {
    let one_by_one = play(bench, rows.chunks(1)).await?;
    let at_once = play(bench, rows.chunks(rows.len())).await?;
    same("what stops the rows one by one", one_by_one, at_once.clone())?;
    Ok(at_once)
}

async fn play(
    bench: &dyn TransferBench,
    batches: impl Iterator<Item = &[Row]>,
) -> Result<Option<Misfit>, Failure> {
    let mut import = begin(bench).await?;
    for rows in batches {
        if let Err(error) = import.import(rows.to_vec()).await {
            return misfit_of(&error).map(Some);
        }
    }
    match import.finish().await {
        Ok(()) => Ok(None),
        Err(error) => misfit_of(&error).map(Some),
    }
}

pub(super) fn misfit_of(error: &StoreError) -> Result<Misfit, Failure> {
    same("the kind of error", error.kind(), StoreErrorKind::Corrupt)?;
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(misfit) = cause.downcast_ref::<Misfit>() {
            return Ok(misfit.clone());
        }
        source = cause.source();
    }
    Err(super::differs("the source of the error", error))
}

fn at(name: &str, head: i64, came: i64) -> Option<Misfit> {
    Some(Misfit::Version { timeline: user(name), head: Version(head), came: Version(came) })
}

async fn a_gap_in_a_timeline_is_refused(bench: &dyn TransferBench) -> Outcome {
    let mut rows = four().await?;
    rows.remove(3);
    same("the misfit", misfit(bench, rows).await?, at("alice", 1, 3))
}

async fn a_version_that_was_taken_is_refused(bench: &dyn TransferBench) -> Outcome {
    let mut rows = four().await?;
    if let Row::Post(post) = &mut rows[4]
        && let Some(copy) = &mut post.copy
    {
        copy.version = Version(2);
    }
    same("the misfit", misfit(bench, rows).await?, at("bob", 2, 2))
}

async fn a_kind_out_of_turn_is_refused(bench: &dyn TransferBench) -> Outcome {
    let mut rows = four().await?;
    rows.swap(1, 2);
    let unannounced = misfit(bench, rows).await?;
    same("a post before its timeline", unannounced, Some(Misfit::Unannounced(user("bob"))))?;
    let mut rows = four().await?;
    let node = HeldNode { node: NodeId(1), holder: "a".to_owned(), epoch: 1, until: Timestamp(1) };
    rows.insert(5, Row::Node(node));
    let expected = Misfit::OutOfTurn { came: RowKind::Post, after: RowKind::Node };
    same("the misfit", misfit(bench, rows).await?, Some(expected))
}

async fn a_timeline_that_was_not_announced_is_refused(bench: &dyn TransferBench) -> Outcome {
    let mut rows = four().await?;
    rows.remove(0);
    same("the misfit", misfit(bench, rows).await?, Some(Misfit::Unannounced(user("alice"))))
}

async fn a_timeline_is_announced_once(bench: &dyn TransferBench) -> Outcome {
    let mut rows = four().await?;
    rows.insert(1, rows[0].clone());
    same("the misfit", misfit(bench, rows).await?, Some(Misfit::Twice("timeline")))
}

async fn a_key_comes_once(bench: &dyn TransferBench) -> Outcome {
    let mut rows = four().await?;
    let key = match &rows[2] {
        Row::Post(post) => post.message.key.clone(),
        _ => return Ok(()),
    };
    if let Row::Post(post) = &mut rows[5] {
        post.message.key = key;
    }
    same("the misfit", misfit(bench, rows).await?, Some(Misfit::Twice("send key")))
}

async fn a_msgid_comes_once_in_a_timeline(bench: &dyn TransferBench) -> Outcome {
    let mut rows = four().await?;
    if let Row::Post(post) = &mut rows[5] {
        post.message.msgid = crate::id::MsgId(1);
    }
    same("the misfit", misfit(bench, rows).await?, Some(Misfit::Twice("msgid")))
}

async fn a_cursor_stands_below_its_head(bench: &dyn TransferBench) -> Outcome {
    let mut rows = four().await?;
    let cursor = Version(5);
    let ack = CursorAck { uid: uid("bob"), device: device("phone"), timeline: user("bob"), version: cursor };
    rows.push(Row::Cursor(ack));
    let expected = Misfit::Ahead { timeline: user("bob"), head: Version(4), cursor };
    same("the misfit", misfit(bench, rows).await?, Some(expected))
}

async fn a_timeline_has_to_come_to_its_head(bench: &dyn TransferBench) -> Outcome {
    let (timeline, head, announced) = (user("alice"), Version(3), Version(4));
    let mut rows = four().await?;
    rows.pop();
    // Bob's is as incomplete as alice's; which of them is named is the adapter's choice.
    if let Row::Timeline(_, bounds) = &mut rows[1] {
        *bounds = Head { head, ..*bounds };
    }
    same("the misfit", misfit(bench, rows).await?, Some(Misfit::Incomplete { timeline, head, announced }))
}

async fn a_floor_is_kept_or_refused(bench: &dyn TransferBench) -> Outcome {
    let mut rows = four().await?;
    if let Row::Timeline(_, bounds) = &mut rows[0] {
        bounds.floor = Version(1);
    }
    match play(bench, rows.chunks(rows.len())).await? {
        Some(Misfit::Unsupported(_)) => return Ok(()),
        other => same("the misfit", other, None)?,
    }
    let heads = super::open(bench).await?.heads(vec![user("alice")]).await?;
    same("alice's bounds", heads, vec![Head { floor: Version(1), head: Version(4) }])
}
