//! What a frame costs one link's state machine: `cargo bench -p im-core --bench session`. Items are frames.
#![allow(missing_docs)]

mod shared;

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};
use im_core::session::Effect;

use crate::shared::links::{self, Link};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

const FRAMES: usize = 64;

fn main() {
    divan::main();
}

/// A request and the reply to it.
#[divan::bench]
fn request_and_reply(bencher: Bencher<'_, '_>) {
    let (mut link, mut effects) = (Link::ready(), Vec::new());
    let frames = link.requests(FRAMES);
    bencher.counter(ItemsCount::new(FRAMES)).bench_local(|| link.exchange(&frames, &mut effects));
}

#[divan::bench]
fn push(bencher: Bencher<'_, '_>) {
    let (mut link, mut effects) = (Link::ready(), Vec::<Effect>::new());
    let pushes = links::pushes(FRAMES);
    bencher.counter(ItemsCount::new(FRAMES)).bench_local(|| link.push(&pushes, &mut effects));
}

#[divan::bench]
fn acknowledgement(bencher: Bencher<'_, '_>) {
    let (mut link, mut effects) = (Link::ready(), Vec::<Effect>::new());
    let acks = links::acks(FRAMES);
    bencher.counter(ItemsCount::new(FRAMES)).bench_local(|| link.take(&acks, &mut effects));
}
