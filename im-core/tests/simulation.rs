//! The simulated cluster: a few hundred seeds, and the mutants. The rest by hand:
//! `cargo run --profile simulation -p im-core --features testing --example simulate -- --seeds 10000`.
#![allow(clippy::print_stdout)]

use im_core::testing::sim::{self, Mutant};

/// Seeds that CI runs.
const SEEDS: u64 = 300;

/// Within how many seeds a mutant has to be caught.
const MUTANT_SEEDS: u64 = 200;

#[test]
fn no_promise_breaks_whatever_goes_wrong() {
    let summary = sim::run_all(0..SEEDS, |_| {});
    println!("{} seeds met:\n{}", summary.seeds, summary.counts);
    if let Err(what) = summary.verdict() {
        panic!("{what}");
    }
}

#[test]
fn a_seed_runs_the_same_every_time() {
    for seed in [1, 7, 4_711] {
        let first = sim::run(seed, None);
        assert_eq!(first, sim::run(seed, None));
        assert_ne!(first.trace, sim::run(seed + 1, None).trace);
    }
}

#[test]
fn a_seed_that_is_replayed_with_a_log_runs_as_without() {
    let replayed = sim::replay(3, None, Box::new(|line| assert!(!line.is_empty())));
    assert_eq!(replayed, sim::run(3, None));
}

fn is_caught(mutant: Mutant) {
    let caught = (0..MUTANT_SEEDS).find_map(|seed| sim::run(seed, Some(mutant)).broken);
    let caught = caught.unwrap_or_else(|| panic!("{mutant} is not caught in {MUTANT_SEEDS} seeds"));
    println!("{mutant} is caught by seed {}: {}: {}", caught.seed, caught.invariant, caught.what);
}

#[test]
fn an_ack_before_the_store_is_durable_is_caught() {
    is_caught(Mutant::AckBeforeDurable);
}

#[test]
fn a_store_without_dedupe_is_caught() {
    is_caught(Mutant::DedupeOff);
}

#[test]
fn a_version_that_is_given_twice_is_caught() {
    is_caught(Mutant::VersionReissued);
}

#[test]
fn numbering_before_dedupe_is_caught() {
    is_caught(Mutant::NumberingBeforeDedupe);
}

#[test]
fn a_cursor_by_maximum_is_caught() {
    is_caught(Mutant::CursorByMaximum);
}

#[test]
fn a_restore_that_does_not_raise_the_epoch_is_caught() {
    is_caught(Mutant::EpochNotRaised);
}

#[test]
fn a_device_that_does_not_recognise_what_it_has_is_caught() {
    is_caught(Mutant::ForgetfulDevice);
}

#[test]
fn an_order_that_is_not_kept_after_a_failure_is_caught() {
    is_caught(Mutant::OrderNotKept);
}
