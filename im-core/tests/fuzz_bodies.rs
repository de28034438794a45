//! The fuzz target's body on generated inputs, on any compiler. `IM_FUZZ_INPUTS` sets how many (20,000 unless told),
//! `IM_FUZZ_SEED` the first seed (0); a failure names the seed that replays it.

#![allow(clippy::unwrap_used)]
#![allow(unreachable_pub, reason = "the included module is public in the fuzz crate")]

#[path = "../fuzz/src/session.rs"]
mod session;

#[test]
fn a_session_keeps_its_promises_whatever_it_is_fed() {
    let first = setting("IM_FUZZ_SEED", 0);
    for seed in first..first + setting("IM_FUZZ_INPUTS", 20_000) {
        let _replay = Replay(seed);
        session::run(&noise(seed));
    }
}

/// Up to 512 bytes of SplitMix64's output.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)).to_be_bytes()
    };
    (0..next()[0] % 64).flat_map(|_| next()).collect()
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
