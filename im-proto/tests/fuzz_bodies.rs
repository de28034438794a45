//! The fuzz targets' bodies on generated inputs, on any compiler. `IM_FUZZ_INPUTS` sets how many
//! (20,000 unless told), `IM_FUZZ_SEED` the first seed (0); a failure names the seed that replays it.

#![allow(clippy::unwrap_used)]
#![allow(unreachable_pub, reason = "the included modules are public in the fuzz crate")]

#[path = "../fuzz/src/frames.rs"]
mod frames;
#[path = "../fuzz/src/generate.rs"]
mod generate;
#[path = "../fuzz/src/messages.rs"]
mod messages;

use generate::Numbers;

#[test]
fn any_stream_in_any_reads_keeps_the_decoders_promises() {
    for_each_seed(|numbers| frames::run(&generate::stream(numbers)));
}

#[test]
fn any_body_read_as_any_message_keeps_the_decoders_promises() {
    for_each_seed(|numbers| messages::run(&generate::message(numbers)));
}

#[test]
fn noise_keeps_the_promises_of_both_decoders() {
    for_each_seed(|numbers| {
        let noise = numbers.noise(512);
        frames::run(&noise);
        messages::run(&noise);
    });
}

fn for_each_seed(run: impl Fn(&mut Numbers)) {
    let first = setting("IM_FUZZ_SEED", 0);
    for seed in first..first + setting("IM_FUZZ_INPUTS", 20_000) {
        let _replay = Replay(seed);
        run(&mut Numbers::new(seed));
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// Says how to run the seed again, if the test panics while it lives.
struct Replay(u64);

impl Drop for Replay {
    #[allow(clippy::print_stderr, reason = "the test harness shows it with the failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with IM_FUZZ_SEED={} IM_FUZZ_INPUTS=1", self.0);
        }
    }
}
