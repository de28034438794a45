//! The frames that a Mars client and server exchange, byte for byte.

#![allow(clippy::unwrap_used)]

use bytes::{Bytes, BytesMut};
use im_proto::{CmdId, Decoder, Frame, Seq};

/// Lines of a name and a hex dump; `#` begins a comment.
const VECTORS: &str = include_str!("vectors/mars_frames.txt");

#[test]
fn a_noop_is_the_same_20_bytes_both_ways() {
    assert_golden("noop_request_and_reply", &frame(CmdId::NOOP, Seq::NOOP, b""));
}

#[test]
fn a_request_with_a_body_is_as_mars_writes_it() {
    assert_golden("cmd3_seq1_body_hello", &frame(CmdId(3), Seq(1), b"hello"));
}

#[test]
fn a_push_has_seq_0() {
    assert_golden("push_cmd10001_body_hello", &frame(CmdId(10001), Seq::PUSH, b"hello"));
}

#[test]
fn no_vector_goes_untried() {
    assert_eq!(vectors().count(), 3);
}

fn frame(cmd: CmdId, seq: Seq, body: &'static [u8]) -> Frame {
    Frame { client_version: 200, cmd, seq, body: Bytes::from_static(body) }
}

/// The frame encodes to the vector and the vector decodes to the frame.
fn assert_golden(name: &str, frame: &Frame) {
    let (_, golden) = vectors().find(|(vector, _)| *vector == name).unwrap();
    let mut buf = BytesMut::new();
    frame.encode(&mut buf);
    assert_eq!(buf, golden);
    let decoded = Decoder::default().decode(&mut buf).unwrap().unwrap();
    assert_eq!(decoded, *frame);
    assert!(buf.is_empty());
}

fn vectors() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    VECTORS.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(|line| {
        let (name, hex) = line.split_once(' ').unwrap();
        (name, unhex(hex.trim()))
    })
}

fn unhex(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap())
        .collect()
}
