//! What it costs to plan who hears of a batch of direct messages: `cargo bench -p im-core --bench fanout`. Items are messages.
#![allow(missing_docs)]

mod shared;

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};
use im_core::fanout::plan;

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

/// Messages that are planned together.
const BATCHES: [usize; 2] = [1, 64];

fn main() {
    divan::main();
}

/// To receivers with one link each, from senders whose only link sent it.
#[divan::bench(args = BATCHES)]
fn plan_for_one_link(bencher: Bencher<'_, '_>, messages: usize) {
    let (stored, routes) = shared::stored::batch(messages, 1);
    bencher.counter(ItemsCount::new(messages)).bench_local(|| plan(&stored, &routes));
}

/// To receivers with eight links each.
#[divan::bench(args = BATCHES)]
fn plan_for_eight_links(bencher: Bencher<'_, '_>, messages: usize) {
    let (stored, routes) = shared::stored::batch(messages, 8);
    bencher.counter(ItemsCount::new(messages)).bench_local(|| plan(&stored, &routes));
}
