//! The simulated cluster of im-core over a sharded store, whose buckets are moved meanwhile; and sharded stores with a known mistake each, which have to be caught.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod sharded;
mod wrong;

use std::sync::Arc;

use im_core::testing::sim::{self, Sharding};
use sharded::{Seen, Sharded};

/// Seeds that CI runs.
const SEEDS: u64 = 40;

/// Within how many seeds a mistake has to be caught.
const WRONG_SEEDS: u64 = 200;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |number| number.parse().unwrap())
}

fn over(seen: Seen) -> Arc<dyn Sharding> {
    Arc::new(Sharded(seen))
}

#[test]
fn no_promise_breaks_over_databases_whose_buckets_move() {
    let (first, count) = (number("IM_SEED", 0), number("IM_SEEDS", SEEDS));
    let report = |outcome: &sim::Outcome| outcome.broken.iter().for_each(|broken| println!("{broken}"));
    let summary = sim::run_all_over(first..first + count, &over(|database| database), report);
    println!("{} seeds met:\n{}", summary.seeds, summary.counts);
    assert!(summary.broken.is_empty(), "{} seeds break a promise", summary.broken.len());
    let counts = summary.counts;
    let moves = [counts.moves_ended, counts.moves_failed, counts.mover_crashes];
    let crashes = [counts.crashes_between_copies, counts.unsynced_tails_lost, counts.store_crashes];
    assert!([moves, crashes].as_flattened().iter().all(|met| *met > 0), "not everything was met");
}

#[test]
fn one_seed_runs_the_same_every_time() {
    let seed = number("IM_SEED", 1);
    let sharding = over(|database| database);
    let replayed = sim::replay_over(seed, &sharding, Box::new(|line| println!("{line}")));
    assert_eq!(replayed, sim::run_over(seed, &sharding));
    assert_eq!(replayed.broken, None);
}

fn is_caught(mistake: Seen) {
    let sharding = over(mistake);
    let caught = (0..WRONG_SEEDS).find_map(|seed| sim::run_over(seed, &sharding).broken);
    let caught = caught.unwrap_or_else(|| panic!("it is not caught in {WRONG_SEEDS} seeds"));
    println!("caught by seed {}: {}: {}", caught.seed, caught.invariant, caught.what);
}

#[test]
fn a_second_copy_that_is_not_tried_again_is_caught() {
    is_caught(wrong::copy_not_retried);
}

#[test]
fn copies_that_are_not_in_order_are_caught() {
    is_caught(wrong::copies_not_in_order);
}

#[test]
fn a_fence_that_is_not_kept_is_caught() {
    is_caught(wrong::fence_not_kept);
}

#[test]
fn a_switch_before_the_last_copy_is_caught() {
    is_caught(wrong::last_copy_left_out);
}

#[test]
fn a_bucket_that_is_not_given_away_is_caught() {
    is_caught(wrong::not_given_away);
}
