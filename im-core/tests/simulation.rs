//! The simulated cluster: a few hundred seeds, and the mutants. The rest by hand:
//! `cargo run --profile simulation -p im-core --features testing --example simulate -- --seeds 10000`.
#![allow(clippy::print_stdout)]

use std::ops::Range;
use std::thread;

use im_core::testing::sim::{self, Mutant, Summary};

/// Seeds that CI runs.
const SEEDS: u64 = 300;

/// Within how many seeds a mutant has to be caught.
const MUTANT_SEEDS: u64 = 200;

/// Runs seeds on every processor: no seed knows of another.
fn run_all(seeds: Range<u64>) -> Summary {
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let part = (seeds.end - seeds.start).div_ceil(threads);
    let parts = (seeds.start..seeds.end).step_by(usize::try_from(part).unwrap_or(1));
    thread::scope(|scope| {
        let run = |first: u64| sim::run_all(first..(first + part).min(seeds.end), |_| {});
        let parts: Vec<_> = parts.map(|first| scope.spawn(move || run(first))).collect();
        let summaries = parts.into_iter().map(|part| part.join().expect("a broken seed does not panic"));
        summaries.fold(Summary::default(), plus)
    })
}

fn plus(mut all: Summary, part: Summary) -> Summary {
    all.seeds += part.seeds;
    all.counts += part.counts;
    all.broken.extend(part.broken);
    all
}

#[test]
fn no_promise_breaks_whatever_goes_wrong() {
    let summary = run_all(0..SEEDS);
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
fn a_restore_that_leaves_leases_where_they_were_is_caught() {
    is_caught(Mutant::LeasesNotMoved);
}

#[test]
fn a_device_that_does_not_recognise_what_it_has_is_caught() {
    is_caught(Mutant::ForgetfulDevice);
}

#[test]
fn an_order_that_is_not_kept_after_a_failure_is_caught() {
    is_caught(Mutant::OrderNotKept);
}
