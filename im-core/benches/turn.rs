//! What direct messages cost a server beside its store, its sockets and its runtime: `cargo bench -p im-core --bench turn`. Items are
//! messages, each with its reply and its push.
#![allow(missing_docs)]

mod shared;

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

#[divan::bench(args = [1, 64, 1_024])]
fn direct_messages(bencher: Bencher<'_, '_>, messages: usize) {
    let server = std::cell::RefCell::new(shared::Server::new());
    bencher
        .counter(ItemsCount::new(messages))
        .with_inputs(|| server.borrow_mut().requests(messages))
        .bench_local_values(|requests| server.borrow_mut().send(requests));
}
