use std::time::Duration;

use super::StoreBench;
use crate::id::{NodeId, StoreEpoch, Version};
use crate::storage::{CursorAck, FLOOR_LEAD};
use crate::testing::conformance::case::cases;
use crate::testing::conformance::check::same;
use crate::testing::conformance::fixture::{append_all, device, direct, numbered, outline, uid, user};
use crate::testing::conformance::{Case, Outcome};
use crate::time::Timestamp;

pub(super) fn cases() -> Vec<Case<dyn StoreBench>> {
    cases! {
        "Epochs::epoch" {
            a_new_store_has_the_first_epoch: "A new store's is 0.",
            an_epoch_is_what_the_last_bump_answered: "It is what the last [`bump_epoch`] answered, also after a restart.",
        }
        "Epochs::bump_epoch" {
            an_epoch_follows_the_one_before_and_the_clock: "It becomes [`StoreEpoch::after`] the one before at `now`",
            leases_begin_beyond_what_a_lost_time_may_have_given: "Leases that are [taken] afterwards begin at a floor or later, whatever their number.",
            every_bump_moves_the_floor: "It lies [`FLOOR_LEAD`] beyond the latest of `now`, the floor before, and the ends of all leases",
            a_floor_is_no_servers_number: "Leases that are [taken] afterwards begin at a floor or later, whatever their number.",
            a_bump_changes_nothing_else: "Nothing else changes.",
            a_bump_outlives_a_restart_of_the_store: "Durable when answered `Ok`.",
        }
    }
}

/// In 2026.
const NOW: Timestamp = Timestamp(1_780_000_000_000);

async fn a_new_store_has_the_first_epoch(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    same("the epoch", store.epoch().await?, StoreEpoch(0))?;
    append_all(&*store, &[direct("alice", "bob", 1)]).await?;
    same("the epoch after an append", store.epoch().await?, StoreEpoch(0))
}

async fn an_epoch_is_what_the_last_bump_answered(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    for now in [NOW, NOW, Timestamp(0)] {
        let bumped = store.bump_epoch(now).await?;
        same("the epoch", store.epoch().await?, bumped)?;
    }
    Ok(())
}

async fn an_epoch_follows_the_one_before_and_the_clock(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let mut expected = StoreEpoch(0);
    for now in [Timestamp(0), NOW, NOW, Timestamp(-1)] {
        expected = expected.after(now);
        same("the answer", store.bump_epoch(now).await?, expected)?;
    }
    Ok(())
}

async fn a_bump_changes_nothing_else(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let post = direct("alice", "bob", 1);
    append_all(&*store, std::slice::from_ref(&post)).await?;
    let ack =
        CursorAck { uid: uid("bob"), device: device("phone"), timeline: user("bob"), version: Version(1) };
    store.ack(vec![ack]).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    store.bump_epoch(NOW).await?;
    same("the timeline", outline(&*store, user("bob")).await?, numbered([1]))?;
    same("the cursors", store.cursors(vec![(uid("bob"), user("bob"))]).await?[0].len(), 1)?;
    let again = append_all(&*store, &[post]).await?;
    same("whether the send is known", again[0].repeated, true)
}

const TTL: Duration = Duration::from_secs(10);

async fn leases_begin_beyond_what_a_lost_time_may_have_given(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let held = store.lease_node("a", NOW, TTL).await?;
    store.bump_epoch(NOW).await?;
    drop(store);
    let store = bench.reopen().await;
    let floor = held.until + FLOOR_LEAD;
    let again = store.lease_node("a", NOW, TTL).await?;
    same(
        "where the next lease begins",
        (again.node, again.from, again.until),
        (held.node, floor, floor + TTL),
    )?;
    let other = store.lease_node("b", NOW, TTL).await?;
    same("a lease of a number that nobody had", (other.node, other.from), (NodeId(1), floor))?;
    let later = floor + FLOOR_LEAD;
    same("a lease of a later time", store.lease_node("b", later, TTL).await?.from, later)
}

async fn every_bump_moves_the_floor(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let mut floor = Timestamp(0);
    for now in [NOW, NOW, Timestamp(-1), NOW + FLOOR_LEAD * 9] {
        store.bump_epoch(now).await?;
        floor = floor.max(now) + FLOOR_LEAD;
        let lease = store.lease_node("a", now, TTL).await?;
        same("where a lease begins", lease.from, floor)?;
        floor = lease.until;
    }
    Ok(())
}

async fn a_floor_is_no_servers_number(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    store.bump_epoch(NOW).await?;
    for (number, holder) in (0..).zip(["", "a"]) {
        same("the number", store.lease_node(holder, NOW, TTL).await?.node, NodeId(number))?;
    }
    Ok(())
}

async fn a_bump_outlives_a_restart_of_the_store(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let bumped = store.bump_epoch(NOW).await?;
    drop(store);
    let store = bench.reopen().await;
    same("the epoch", store.epoch().await?, bumped)?;
    same("the next", store.bump_epoch(NOW).await?, bumped.after(NOW))
}
