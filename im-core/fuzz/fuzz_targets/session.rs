#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| im_core_fuzz::session::run(input));
