use std::time::Duration;

use super::StoreBench;
use super::fixture::NAMES;
use crate::id::NodeId;
use crate::storage::{HeldNode, NodeLease, Store, StoreErrorKind};
use crate::testing::conformance::case::cases;
use crate::testing::conformance::check::{refused, same};
use crate::testing::conformance::{Case, Failure, Outcome};
use crate::time::Timestamp;

pub(super) fn cases() -> Vec<Case<dyn StoreBench>> {
    cases! {
        "Nodes::lease_node" {
            a_restart_takes_its_number_at_once: "The holder's last number, if nobody else took it since, at once and under a new epoch",
            strange_holders_are_told_apart: "The holder's last number, if nobody else took it since, at once and under a new epoch",
            a_late_restart_takes_its_number_too: "The holder's last number, if nobody else took it since, at once and under a new epoch",
            the_lowest_free_number_is_taken: "else the lowest number that nobody holds or whose lease ended at or before `now`.",
            a_number_taken_over_is_not_taken_back: "else the lowest number that nobody holds or whose lease ended at or before `now`.",
            epochs_of_a_number_increase: "A number's epochs increase.",
            epochs_follow_the_time: "An epoch is at least `now`, in milliseconds ([`NodeLease::next_epoch`]).",
            leases_of_a_number_never_overlap: "`from` is the latest of `now`, the number's last `until`, and the floor",
            leases_outlive_a_restart_of_the_store: "Durable when answered `Ok`.",
            all_numbers_can_be_held: "`LeaseLost` when all 1,024 numbers are held",
        }
        "Nodes::renew_node" {
            only_the_newest_epoch_renews: "Only the newest epoch of the number may renew, also after the lease's end; any other is `LeaseLost`.",
            a_lease_that_ended_is_renewed_if_nobody_took_it: "Only the newest epoch of the number may renew, also after the lease's end",
            a_lease_never_shrinks: "A renewal never moves a lease's end back.",
            renewals_outlive_a_restart_of_the_store: "Durable when answered `Ok`.",
        }
        "Nodes::held_nodes" {
            every_number_that_was_taken_is_told: "One row for each number, in order of number, whether its lease has ended or not.",
            a_floor_is_not_told: "The floor that a [bump] left is no row.",
            the_last_lease_of_a_number_is_told: "It has every lease and every renewal that was answered before this call.",
        }
        "Nodes::release_node" {
            a_lease_that_is_given_back_is_free_at_once: "The lease's end moves to `until`, but never forward, and never before the lease's `from`.",
            giving_back_never_lengthens_a_lease: "The lease's end moves to `until`, but never forward, and never before the lease's `from`.",
            giving_back_leaves_earlier_leases_alone: "The lease's end moves to `until`, but never forward, and never before the lease's `from`.",
            only_the_newest_epoch_gives_back: "Only the newest epoch of the number may give back; any other is `LeaseLost`, and changes nothing.",
            what_is_given_back_outlives_a_restart_of_the_store: "Durable when answered `Ok`.",
        }
    }
}

const TTL: Duration = Duration::from_millis(100);

async fn lease(store: &dyn Store, holder: &str, now: i64) -> Result<NodeLease, Failure> {
    Ok(store.lease_node(holder, Timestamp(now), TTL).await?)
}

async fn renew(store: &dyn Store, lease: &NodeLease, now: i64) -> Result<NodeLease, Failure> {
    Ok(store.renew_node(lease, Timestamp(now), TTL).await?)
}

/// A lease of node `node` from `from` to `until`.
fn leased(node: u16, epoch: i64, from: i64, until: i64) -> NodeLease {
    NodeLease { node: NodeId(node), epoch, from: Timestamp(from), until: Timestamp(until) }
}

async fn a_restart_takes_its_number_at_once(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let first = lease(&*store, "a", 1_000).await?;
    same("the first lease", first.clone(), leased(0, first.epoch, 1_000, 1_100))?;
    lease(&*store, "b", 1_010).await?;
    let second = lease(&*store, "a", 1_020).await?;
    same("the lease after a restart", second.clone(), leased(0, second.epoch, 1_100, 1_200))
}

async fn a_late_restart_takes_its_number_too(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    lease(&*store, "a", 1_000).await?;
    lease(&*store, "b", 1_000).await?;
    let late = lease(&*store, "b", 9_000).await?;
    same("the lease", late.clone(), leased(1, late.epoch, 9_000, 9_100))
}

async fn the_lowest_free_number_is_taken(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    for (n, holder) in (0..).zip(["it's", "\0", "c"]) {
        same("the number", lease(&*store, holder, 1_000 + i64::from(n)).await?.node, NodeId(n))?;
    }
    let before_the_end = lease(&*store, "d", 1_099).await?;
    same("the number while all are held", before_the_end.node, NodeId(3))?;
    let at_the_end = lease(&*store, "e", 1_100).await?;
    same("the number when the first lease ends", at_the_end.node, NodeId(0))
}

async fn a_number_taken_over_is_not_taken_back(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    lease(&*store, "a", 1_000).await?;
    same("the number that ended", lease(&*store, "b", 1_100).await?.node, NodeId(0))?;
    same("the number of who lost it", lease(&*store, "a", 1_101).await?.node, NodeId(1))
}

async fn epochs_of_a_number_increase(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let mut epochs = Vec::new();
    for (holder, now) in [("a", 0), ("a", 1), ("b", 10_000), ("a", 20_000), ("b", 30_000)] {
        epochs.push(lease(&*store, holder, now).await?.epoch);
    }
    let epochs_of_0 = [epochs[0], epochs[1], epochs[2]];
    same("whether epochs increase", epochs_of_0.windows(2).all(|pair| pair[0] < pair[1]), true)
}

async fn epochs_follow_the_time(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let now = 1_767_225_600_000;
    let first = lease(&*store, "a", now).await?.epoch;
    same("whether the first epoch is at least now", first >= now, true)?;
    let later = lease(&*store, "a", now + 70_000).await?.epoch;
    same("whether the next one is", later >= now + 70_000, true)?;
    let stepped_back = lease(&*store, "a", now - 70_000).await?.epoch;
    same("whether it grows though the clock steps back", stepped_back > later, true)
}

async fn leases_of_a_number_never_overlap(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let mut free_from = i64::MIN;
    // A clock that steps back, holders that come and go.
    for (holder, now) in [("a", 1_000), ("a", 10), ("b", 5_000), ("b", 5_001), ("b", 4_000), ("b", 9_000)] {
        let lease = lease(&*store, holder, now).await?;
        same("the number", lease.node, NodeId(0))?;
        let from = now.max(free_from);
        same("from and until", (lease.from.0, lease.until.0), (from, from + 100))?;
        free_from = lease.until.0;
    }
    Ok(())
}

async fn leases_outlive_a_restart_of_the_store(bench: &dyn StoreBench) -> Outcome {
    let first = lease(&*bench.open().await, "a", 1_000).await?;
    let store = bench.reopen().await;
    same("the number for another holder", lease(&*store, "b", 1_000).await?.node, NodeId(1))?;
    let again = lease(&*store, "a", 1_000).await?;
    same("the lease of the same", (again.node, again.from), (first.node, first.until))?;
    same("whether its epoch is greater", again.epoch > first.epoch, true)
}

async fn all_numbers_can_be_held(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    for n in 0..=NodeId::MAX.0 {
        same("the number", lease(&*store, &format!("holder {n}"), 1_000).await?.node, NodeId(n))?;
    }
    let answer = store.lease_node("late", Timestamp(1_099), TTL).await;
    refused("one holder too many", answer, StoreErrorKind::LeaseLost)?;
    same("a holder's own number", lease(&*store, "holder 5", 1_099).await?.node, NodeId(5))
}

async fn only_the_newest_epoch_renews(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let old = lease(&*store, "a", 1_000).await?;
    let new = lease(&*store, "a", 1_010).await?;
    let answer = store.renew_node(&old, Timestamp(1_020), TTL).await;
    refused("the epoch before", answer, StoreErrorKind::LeaseLost)?;
    let unknown = NodeLease { node: NodeId(9), ..new.clone() };
    let answer = store.renew_node(&unknown, Timestamp(1_020), TTL).await;
    refused("a number that nobody took", answer, StoreErrorKind::LeaseLost)?;
    let renewed = renew(&*store, &new, 1_150).await?;
    same("the newest epoch", renewed, NodeLease { until: Timestamp(1_250), ..new })
}

async fn a_lease_that_ended_is_renewed_if_nobody_took_it(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let held = lease(&*store, "a", 1_000).await?;
    let renewed = renew(&*store, &held, 5_000).await?;
    same("the lease", renewed.clone(), NodeLease { until: Timestamp(5_100), ..held })?;
    lease(&*store, "b", 5_100).await?;
    let answer = store.renew_node(&renewed, Timestamp(5_101), TTL).await;
    refused("a lease that was taken over", answer, StoreErrorKind::LeaseLost)
}

async fn a_lease_never_shrinks(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let held = lease(&*store, "a", 1_000).await?;
    same("renewed early", renew(&*store, &held, 900).await?.until, Timestamp(1_100))?;
    same("renewed", renew(&*store, &held, 2_000).await?.until, Timestamp(2_100))?;
    same("renewed by a clock that stepped back", renew(&*store, &held, 1_500).await?.until, Timestamp(2_100))
}

async fn renewals_outlive_a_restart_of_the_store(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let held = lease(&*store, "a", 1_000).await?;
    renew(&*store, &held, 2_000).await?;
    let store = bench.reopen().await;
    same("another's number", lease(&*store, "b", 2_000).await?.node, NodeId(1))?;
    same("where the next lease starts", lease(&*store, "a", 2_000).await?.from, Timestamp(2_100))
}

async fn release(store: &dyn Store, lease: &NodeLease, until: i64) -> Outcome {
    Ok(store.release_node(lease, Timestamp(until)).await?)
}

async fn a_lease_that_is_given_back_is_free_at_once(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let held = lease(&*store, "a", 1_000).await?;
    release(&*store, &held, 1_030).await?;
    same("another's number before that time", lease(&*store, "b", 1_029).await?.node, NodeId(1))?;
    let next = lease(&*store, "a", 1_020).await?;
    same("the next lease of the same", next.clone(), leased(0, next.epoch, 1_030, 1_130))?;
    release(&*store, &next, 1_050).await?;
    let taken = lease(&*store, "c", 1_050).await?;
    same("the lease of another", taken.clone(), leased(0, taken.epoch, 1_050, 1_150))
}

async fn giving_back_never_lengthens_a_lease(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let held = lease(&*store, "a", 1_000).await?;
    release(&*store, &held, 5_000).await?;
    same("where the next lease starts", lease(&*store, "a", 1_000).await?.from, Timestamp(1_100))
}

/// The numbers of a lease before it are used up.
async fn giving_back_leaves_earlier_leases_alone(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    lease(&*store, "a", 1_000).await?;
    let second = lease(&*store, "a", 1_010).await?;
    release(&*store, &second, 1_020).await?;
    same("where the next lease starts", lease(&*store, "a", 1_030).await?.from, second.from)
}

async fn only_the_newest_epoch_gives_back(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let old = lease(&*store, "a", 1_000).await?;
    let new = lease(&*store, "a", 1_010).await?;
    let answer = store.release_node(&old, Timestamp(1_020)).await;
    refused("the epoch before", answer, StoreErrorKind::LeaseLost)?;
    let unknown = NodeLease { node: NodeId(9), ..new.clone() };
    let answer = store.release_node(&unknown, Timestamp(1_020)).await;
    refused("a number that nobody took", answer, StoreErrorKind::LeaseLost)?;
    same("where the next lease starts", lease(&*store, "a", 1_030).await?.from, new.until)
}

async fn what_is_given_back_outlives_a_restart_of_the_store(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let held = lease(&*store, "a", 1_000).await?;
    release(&*store, &held, 1_030).await?;
    let store = bench.reopen().await;
    same("where the next lease starts", lease(&*store, "a", 1_000).await?.from, Timestamp(1_030))
}

async fn strange_holders_are_told_apart(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    for round in 0..2 {
        for (node, name) in (0..).zip(NAMES) {
            same(
                format!("the number of {name:?}"),
                lease(&*store, name, 1_000 + round).await?.node,
                NodeId(node),
            )?;
        }
    }
    Ok(())
}

fn held(lease: &NodeLease, holder: &str) -> HeldNode {
    HeldNode { node: lease.node, holder: holder.to_owned(), epoch: lease.epoch, until: lease.until }
}

async fn every_number_that_was_taken_is_told(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    same("the nodes of a new store", store.held_nodes().await?, Vec::new())?;
    let mut expected = Vec::new();
    for name in NAMES {
        expected.push(held(&lease(&*store, name, 1_000).await?, name));
    }
    same("the nodes", store.held_nodes().await?, expected.clone())?;
    let store = bench.reopen().await;
    // Long after all of them have ended.
    expected.push(held(&renew(&*store, &lease(&*store, "late", 900).await?, 9_000).await?, "late"));
    same("the nodes after a restart of the store", store.held_nodes().await?, expected)
}

async fn a_floor_is_not_told(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    store.bump_epoch(Timestamp(1_000)).await?;
    same("the nodes of a store that was bumped", store.held_nodes().await?, Vec::new())?;
    let lease = lease(&*store, "a", 1_000).await?;
    same("the nodes", store.held_nodes().await?, vec![held(&lease, "a")])
}

async fn the_last_lease_of_a_number_is_told(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let first = lease(&*store, "a", 1_000).await?;
    let renewed = renew(&*store, &first, 1_050).await?;
    same("after a renewal", store.held_nodes().await?, vec![held(&renewed, "a")])?;
    let again = lease(&*store, "a", 1_060).await?;
    same("after a restart", store.held_nodes().await?, vec![held(&again, "a")])?;
    let taken_over = lease(&*store, "b", 9_000).await?;
    same("after it was taken over", store.held_nodes().await?, vec![held(&taken_over, "b")])
}
