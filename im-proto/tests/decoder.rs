//! What the decoder takes and what it refuses, and how early.

#![allow(clippy::unwrap_used)]

use bytes::{Bytes, BytesMut};
use im_proto::{CmdId, Decoder, Frame, FrameError, HEADER_LEN, Header, Limits, MAX_FRAME, Seq};

#[test]
fn header_options_are_skipped() {
    let mut buf = BytesMut::from(&header_bytes([23, 200, 1006, 7, 2])[..]);
    buf.extend_from_slice(b"optHI");
    let frame = Decoder::default().decode(&mut buf).unwrap().unwrap();
    assert_eq!(frame, Frame { client_version: 200, cmd: CmdId(1006), seq: Seq(7), body: Bytes::from("HI") });
    assert!(buf.is_empty());
}

#[test]
fn the_next_frame_stays_in_the_buffer() {
    let mut buf = BytesMut::from(&header_bytes([20, 1, 2, 3, 1])[..]);
    buf.extend_from_slice(b"Xnext");
    assert_eq!(Decoder::default().decode(&mut buf).unwrap().unwrap().body, "X");
    assert_eq!(&buf[..], b"next");
}

#[test]
fn an_incomplete_frame_leaves_the_buffer_untouched() {
    let mut whole = BytesMut::new();
    let body = Bytes::from_static(b"body");
    Frame { client_version: 200, cmd: CmdId::C2C_SEND, seq: Seq(1), body }.encode(&mut whole);
    for len in 0..whole.len() {
        let mut part = BytesMut::from(&whole[..len]);
        assert_eq!(Decoder::default().decode(&mut part), Ok(None), "after {len} bytes");
        assert_eq!(part, whole[..len]);
    }
}

#[test]
fn a_body_is_a_slice_of_the_read_buffer() {
    let mut buf = BytesMut::from(&header_bytes([20, 1, 2, 3, 4])[..]);
    buf.extend_from_slice(b"body");
    let body_at = buf[HEADER_LEN..].as_ptr();
    let frame = Decoder::default().decode(&mut buf).unwrap().unwrap();
    assert_eq!(frame.body.as_ptr(), body_at);
}

#[test]
fn an_empty_body_does_not_keep_the_read_buffer_alive() {
    let mut buf = BytesMut::from(&header_bytes([20, 200, 6, u32::MAX, 0])[..]);
    let noop = Decoder::default().decode(&mut buf).unwrap().unwrap();
    assert!(noop.body.is_empty());
    assert!(buf.try_reclaim(HEADER_LEN), "only a buffer without other owners can be reclaimed");
}

#[test]
fn a_header_below_20_bytes_is_refused_from_its_fourth_byte_on() {
    for head_len in [0, 1, 19] {
        let bytes = header_bytes([head_len, 0, 0, 0, 0]);
        assert_eq!(parse(&bytes[..3]), Ok(None));
        assert_eq!(parse(&bytes[..4]), Err(FrameError::HeadTooShort { head_len }));
        assert_eq!(parse(&bytes), Err(FrameError::HeadTooShort { head_len }));
    }
}

#[test]
fn a_header_over_the_limit_is_refused_from_its_fourth_byte_on() {
    for head_len in [1024 * 1024 + 1, u32::MAX] {
        let bytes = header_bytes([head_len, 0, 0, 0, 0]);
        let error = FrameError::TooLarge { len: head_len.into(), max: MAX_FRAME };
        assert_eq!(parse(&bytes[..3]), Ok(None));
        assert_eq!(parse(&bytes[..4]), Err(error));
    }
}

#[test]
fn a_body_over_the_limit_is_refused_with_its_header() {
    let bytes = header_bytes([20, 0, 0, 0, 1024 * 1024 - 19]);
    assert_eq!(parse(&bytes[..19]), Ok(None));
    assert_eq!(parse(&bytes), Err(FrameError::TooLarge { len: 1024 * 1024 + 1, max: MAX_FRAME }));
}

#[test]
fn lengths_whose_sum_overflows_32_bits_are_refused() {
    let bytes = header_bytes([21, 0, 0, 0, u32::MAX]);
    assert_eq!(parse(&bytes), Err(FrameError::TooLarge { len: 0x1_0000_0014, max: MAX_FRAME }));
}

#[test]
fn a_frame_of_exactly_the_limit_is_taken() {
    let mut buf = BytesMut::from(&header_bytes([20, 0, 0, 0, 1024 * 1024 - 20])[..]);
    assert_eq!(Decoder::default().decode(&mut buf), Ok(None));
    buf.resize(MAX_FRAME, b'x');
    let frame = Decoder::default().decode(&mut buf).unwrap().unwrap();
    assert_eq!(frame.body.len(), MAX_FRAME - HEADER_LEN);
}

#[test]
fn a_declared_length_reserves_no_memory() {
    let mut buf = BytesMut::with_capacity(64);
    buf.extend_from_slice(&header_bytes([20, 0, 0, 0, 1024 * 1024 - 20]));
    assert_eq!(Decoder::default().decode(&mut buf), Ok(None));
    assert_eq!(buf.capacity(), 64);
}

#[test]
fn an_error_comes_again_and_takes_nothing() {
    let bytes = header_bytes([3, 0, 0, 0, 0]);
    let mut buf = BytesMut::from(&bytes[..]);
    for _ in 0..2 {
        assert_eq!(Decoder::default().decode(&mut buf), Err(FrameError::HeadTooShort { head_len: 3 }));
        assert_eq!(buf, bytes[..]);
    }
}

#[test]
fn a_readers_limit_counts_header_options_and_body() {
    let decoder = Decoder::new(Limits::new(30));
    let mut fits = BytesMut::from(&header_bytes([22, 0, 0, 0, 8])[..]);
    assert_eq!(decoder.decode(&mut fits), Ok(None));
    let mut over = BytesMut::from(&header_bytes([22, 0, 0, 0, 9])[..]);
    assert_eq!(decoder.decode(&mut over), Err(FrameError::TooLarge { len: 31, max: 30 }));
}

#[test]
fn limits_are_clamped_to_what_the_protocol_allows() {
    assert_eq!(Limits::new(usize::MAX), Limits::default());
    assert_eq!(Limits::new(0).max_frame(), HEADER_LEN);
    assert_eq!(Limits::new(4096).max_frame(), 4096);
}

#[test]
fn a_parsed_header_says_how_long_the_frame_is() {
    let parsed = parse(&header_bytes([24, 200, 1006, 1, 100])).unwrap().unwrap();
    assert_eq!((parsed.head_len, parsed.body_len, parsed.frame_len()), (24, 100, 124));
}

fn parse(bytes: &[u8]) -> Result<Option<im_proto::Parsed>, FrameError> {
    Header::parse(bytes, &Limits::default())
}

fn header_bytes(fields: [u32; 5]) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    for (chunk, field) in bytes.chunks_exact_mut(4).zip(fields) {
        chunk.copy_from_slice(&field.to_be_bytes());
    }
    bytes
}
