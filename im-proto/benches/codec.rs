//! What a frame costs. `cargo bench -p im-proto`; time is for one iteration, items are frames, and the
//! allocations are counted because the hot path is to have none.

use bytes::{Bytes, BytesMut};
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use im_proto::{CmdId, Decoder, Frame, OutFrame, Seq, Suffix};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

/// One frame alone, and as many as a busy link's read brings.
const BATCHES: [usize; 2] = [1, 64];

fn main() {
    divan::main();
}

/// The read buffer is made outside of the measured part, as a link's is made once.
#[divan::bench(args = BATCHES)]
fn decode(bencher: Bencher<'_, '_>, frames: usize) {
    let bytes = encoded(frames);
    bencher.counter(ItemsCount::new(frames)).with_inputs(|| shared(&bytes)).bench_local_refs(|buf| {
        let decoder = Decoder::default();
        while let Ok(Some(frame)) = decoder.decode(buf) {
            black_box(&frame);
        }
    });
}

#[divan::bench(args = BATCHES)]
fn encode(bencher: Bencher<'_, '_>, frames: usize) {
    let frame = frame();
    let mut buf = BytesMut::with_capacity(16 * 1024);
    bencher.counter(ItemsCount::new(frames)).bench_local(|| {
        buf.clear();
        for _ in 0..frames {
            black_box(&frame).encode(&mut buf);
        }
    });
}

/// A push of one message to as many receivers, each with a version of its own.
#[divan::bench(args = BATCHES)]
fn encode_out_frame(bencher: Bencher<'_, '_>, frames: usize) {
    let shared = frame();
    let mut buf = BytesMut::with_capacity(16 * 1024);
    bencher.counter(ItemsCount::new(frames)).bench_local(|| {
        buf.clear();
        for version in (100_000..).take(frames) {
            let suffix = Suffix::version(black_box(version));
            OutFrame { suffix, ..shared.clone().into() }.encode(&mut buf);
        }
    });
}

#[divan::bench]
fn version_suffix() -> Suffix {
    Suffix::version(black_box(100_000))
}

fn frame() -> Frame {
    let body = Bytes::from(vec![b'x'; 100]);
    Frame { client_version: 200, cmd: CmdId::C2C_PUSH, seq: Seq::PUSH, body }
}

fn encoded(frames: usize) -> BytesMut {
    let mut bytes = BytesMut::new();
    for _ in 0..frames {
        frame().encode(&mut bytes);
    }
    bytes
}

/// A buffer that has given away a slice before, so that its owner count is in place.
fn shared(bytes: &BytesMut) -> BytesMut {
    let mut buf = BytesMut::with_capacity(bytes.len() + 1);
    buf.extend_from_slice(b"0");
    buf.extend_from_slice(bytes);
    drop(buf.split_to(1));
    buf
}
