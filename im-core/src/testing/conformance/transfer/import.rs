use std::time::Duration;

use bytes::Bytes;

use super::content::{alike, imported, model, posts, posts_of, rows};
use super::fixture::{append_one, direct, entries, numbered, only, outline, repeated, resent, user};
use super::misfits::misfit_of;
use super::{TransferBench, begin};
use crate::id::{MsgId, NodeId, Version};
use crate::memory::{MemoryImport, MemoryStore};
use crate::message::Message;
use crate::storage::{Epochs as _, Head, Misfit, Place, Post, Row, StoreErrorKind, StoredPost};
use crate::testing::conformance::case::cases;
use crate::testing::conformance::check::{refused, same};
use crate::testing::conformance::{Case, Failure, Outcome};
use crate::time::Timestamp;

pub(super) fn cases() -> Vec<Case<dyn TransferBench>> {
    cases! {
        "Import::import" {
            batches_of_any_size_make_the_same_store: "The rows are an [`Export`]'s, in its order, cut into batches of any size.",
            nothing_can_be_imported: "The rows are an [`Export`]'s, in its order, cut into batches of any size.",
            a_timeline_begins_above_its_floor: "A version at or below the floor takes no entry, but the key is remembered.",
        }
        "Import::finish" {
            an_imported_store_answers_as_its_source: "The store answers every question as the exported one does",
            a_withdrawn_message_is_imported_withdrawn: "The store answers every question as the exported one does",
            an_imported_store_can_be_exported: "The store answers every question as the exported one does",
            versions_go_on_where_the_source_ended: "What comes after goes on from there: versions, repeats, epochs.",
            repeats_are_recognised_after_an_import: "What comes after goes on from there: versions, repeats, epochs.",
            msgids_are_not_taken_twice_after_an_import: "What comes after goes on from there: versions, repeats, epochs.",
            leases_go_on_after_an_import: "What comes after goes on from there: versions, repeats, epochs.",
            the_floor_of_leases_goes_along: "The store answers every question as the exported one does",
            an_imported_store_outlives_a_restart: "Durable when answered `Ok`.",
        }
    }
}

async fn batches_of_any_size_make_the_same_store(bench: &dyn TransferBench) -> Outcome {
    let model = model().await?;
    let mut rows = rows(&*model, 1_000).await?.into_iter();
    let mut import = super::begin(bench).await?;
    for size in [0, 1, 2, 0, 30, 1, 1_000] {
        import.import(rows.by_ref().take(size).collect()).await?;
    }
    import.finish().await?;
    alike(&*model, &*super::open(bench).await?).await
}

async fn nothing_can_be_imported(bench: &dyn TransferBench) -> Outcome {
    let store = imported(bench, &[], 10).await?;
    same("the rows of nothing", rows(&*store, 10).await?, Vec::new())
}

async fn an_imported_store_answers_as_its_source(bench: &dyn TransferBench) -> Outcome {
    let model = model().await?;
    let store = imported(bench, &rows(&*model, 1_000).await?, 1_000).await?;
    alike(&*model, &*store).await
}

async fn an_imported_store_outlives_a_restart(bench: &dyn TransferBench) -> Outcome {
    let model = model().await?;
    imported(bench, &rows(&*model, 1_000).await?, 1_000).await?;
    alike(&*model, &*super::open(bench).await?).await
}

async fn an_imported_store_can_be_exported(bench: &dyn TransferBench) -> Outcome {
    let model = model().await?;
    let expected = rows(&*model, 1_000).await?;
    let store = imported(bench, &expected, 16).await?;
    same("the posts", posts_of(&rows(&*store, 9).await?), posts_of(&expected))
}

/// Rows of a store in which alice sent bob three messages, changed by `change`.
async fn three(change: impl Fn(&mut Row)) -> Result<Vec<Row>, Failure> {
    let store = MemoryStore::default();
    super::fixture::append_all(&store, &[1, 2, 3].map(|n| direct("alice", "bob", n))).await?;
    let mut rows = rows(&store, 100).await?;
    rows.iter_mut().for_each(change);
    Ok(rows)
}

/// What the reference makes of rows.
async fn reference(rows: &[Row]) -> Result<std::sync::Arc<MemoryStore>, Failure> {
    let store = std::sync::Arc::new(MemoryStore::default());
    let import = MemoryImport::new(store.clone());
    let mut import = Box::new(import.map_err(|full| super::differs("an empty store", &full))?);
    crate::storage::Import::import(&mut *import, rows.to_vec()).await?;
    crate::storage::Import::finish(import).await?;
    Ok(store)
}

async fn a_timeline_begins_above_its_floor(bench: &dyn TransferBench) -> Outcome {
    let floored = |row: &mut Row| match row {
        Row::Timeline(timeline, head) if *timeline == user("bob") => head.floor = Version(2),
        Row::Timeline(_, head) => head.floor = head.head,
        _ => {}
    };
    let rows = three(floored).await?;
    if let Err(refused) = begin(bench).await?.import(rows[..2].to_vec()).await
        && let Misfit::Unsupported(_) = misfit_of(&refused)?
    {
        return Err(Failure::NotTried("the store keeps no floors"));
    }
    let store = imported(bench, &rows, 100).await?;
    let bounds = |floor| Head { floor: Version(floor), head: Version(3) };
    let heads = store.heads(vec![user("bob"), user("alice")]).await?;
    same("the bounds", heads, vec![bounds(2), bounds(3)])?;
    same("bob's entries", outline(&*store, user("bob")).await?, vec![(3, 3)])?;
    same("alice's entries", outline(&*store, user("alice")).await?, vec![])?;
    let first = direct("alice", "bob", 1);
    same("a repeat", append_one(&*store, &resent(&first, 9)).await??, repeated(&first, 1, Some(1)))?;
    alike(&*reference(&rows).await?, &*store).await
}

async fn a_withdrawn_message_is_imported_withdrawn(bench: &dyn TransferBench) -> Outcome {
    let withdrawn = |row: &mut Row| {
        if let Row::Post(post) = row
            && post.message.msgid == MsgId(2)
        {
            post.withdrawn_at = Some(Timestamp(5));
            post.message.content = Bytes::new();
        }
    };
    let rows = three(withdrawn).await?;
    let store = imported(bench, &rows, 100).await?;
    let second = &entries(&*store, user("bob")).await?[1];
    same("when it was withdrawn", second.withdrawn_at, Some(Timestamp(5)))?;
    same("its content", second.message.content.clone(), Bytes::new())?;
    let sent = direct("alice", "bob", 2);
    same("a repeat", append_one(&*store, &resent(&sent, 9)).await??, repeated(&sent, 2, Some(2)))?;
    alike(&*reference(&rows).await?, &*store).await
}

async fn versions_go_on_where_the_source_ended(bench: &dyn TransferBench) -> Outcome {
    let store = imported(bench, &three(|_| ()).await?, 100).await?;
    let next = direct("bob", "alice", 4);
    let placed = append_one(&*store, &next).await??;
    same("the next versions", (placed.home, placed.copy), (Version(4), Some(Version(4))))?;
    same("bob's timeline", outline(&*store, user("bob")).await?, numbered(1..=4))
}

async fn repeats_are_recognised_after_an_import(bench: &dyn TransferBench) -> Outcome {
    let model = model().await?;
    let rows = rows(&*model, 1_000).await?;
    let store = imported(bench, &rows, 1_000).await?;
    for (post, StoredPost { home, copy, .. }) in posts().iter().zip(posts_of(&rows)) {
        let expected = repeated(post, home.version.0, copy.map(|Place { version, .. }| version.0));
        same("a repeat", append_one(&*store, &resent(post, 1_000)).await??, expected)?;
        let message = Message { content: Bytes::from_static(b"other"), ..post.message.clone() };
        let other = Post { message, ..post.clone() };
        refused("other content", append_one(&*store, &other).await?, StoreErrorKind::KeyReused)?;
    }
    alike(&*model, &*store).await
}

async fn msgids_are_not_taken_twice_after_an_import(bench: &dyn TransferBench) -> Outcome {
    let store = imported(bench, &three(|_| ()).await?, 100).await?;
    let mut other = direct("carol", "bob", 4);
    other.message.msgid = MsgId(3);
    refused("a msgid of bob's", append_one(&*store, &other).await?, StoreErrorKind::MsgIdReused)
}

async fn leases_go_on_after_an_import(bench: &dyn TransferBench) -> Outcome {
    let model = model().await?;
    let store = imported(bench, &rows(&*model, 1_000).await?, 1_000).await?;
    let ttl = Duration::from_millis(100);
    let again = store.lease_node("a", Timestamp(1_750), ttl).await?;
    let expected = crate::storage::Nodes::lease_node(&*model, "a", Timestamp(1_750), ttl).await?;
    same("the lease of the same holder", again, expected)?;
    let other = store.lease_node("c", Timestamp(1_050), ttl).await?;
    same("another's number", other.node, NodeId(2))?;
    let next = direct("alice", "bob", 100);
    only(store.append(vec![next]).await)??;
    Ok(())
}

async fn the_floor_of_leases_goes_along(bench: &dyn TransferBench) -> Outcome {
    let model = model().await?;
    model.bump_epoch(Timestamp(2_000)).await?;
    let store = imported(bench, &rows(&*model, 1_000).await?, 1_000).await?;
    let ttl = Duration::from_millis(100);
    for holder in ["a", "c"] {
        let expected = crate::storage::Nodes::lease_node(&*model, holder, Timestamp(3_000), ttl).await?;
        same("a lease", store.lease_node(holder, Timestamp(3_000), ttl).await?, expected)?;
    }
    Ok(())
}
