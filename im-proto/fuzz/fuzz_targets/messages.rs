#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| im_proto_fuzz::messages::run(input));
