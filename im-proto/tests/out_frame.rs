//! A shared body with a suffix is on the wire what the whole body would be.

#![allow(clippy::unwrap_used)]

use bytes::{Bytes, BytesMut};
use im_proto::v1::{C2cPush, C2gPush};
use im_proto::{CmdId, Decoder, OutFrame, Seq, Suffix};
use prost::Message;

const VERSIONS: [i64; 8] = [1, 127, 128, 16_383, 16_384, 1 << 40, i64::MAX, -1];

#[test]
fn a_shared_push_with_a_version_suffix_decodes_with_that_version() {
    for version in VERSIONS {
        let mut buf = BytesMut::new();
        out_frame(Suffix::version(version)).encode(&mut buf);
        let frame = Decoder::default().decode(&mut buf).unwrap().unwrap();
        assert_eq!(C2cPush::decode(frame.body).unwrap(), C2cPush { version, ..push() });
    }
}

#[test]
fn the_suffix_serves_group_pushes_too() {
    let shared = C2gPush { from: "alice".into(), group: 7, group_version: 9, ..Default::default() };
    let mut body = shared.encode_to_vec();
    body.extend_from_slice(Suffix::version(300).as_bytes());
    assert_eq!(C2gPush::decode(&body[..]).unwrap(), C2gPush { version: 300, ..shared });
}

#[test]
fn a_version_is_tag_10_and_a_varint() {
    assert_eq!(Suffix::version(1).as_bytes(), [0x50, 1]);
    assert_eq!(Suffix::version(300).as_bytes(), [0x50, 0xAC, 0x02]);
    assert_eq!(Suffix::version(-1).as_bytes().len(), Suffix::MAX_LEN);
}

#[test]
fn version_0_is_the_empty_suffix() {
    assert_eq!(Suffix::version(0), Suffix::NONE);
    assert_eq!(Suffix::NONE.as_bytes(), b"");
}

#[test]
fn a_suffix_says_which_version_it_names() {
    for version in VERSIONS.into_iter().chain([0, i64::MIN]) {
        assert_eq!(Suffix::version(version).named_version(), version);
    }
    assert_eq!(Suffix::from_bytes(&[0x58, 7]).unwrap().named_version(), 0, "another field");
    assert_eq!(Suffix::from_bytes(&[0x50]).unwrap().named_version(), 0, "cut off");
    assert_eq!(Suffix::from_bytes(&[0x50; Suffix::MAX_LEN]).unwrap().as_bytes().len(), Suffix::MAX_LEN);
}

#[test]
fn header_body_and_suffix_written_apart_are_the_encoded_frame() {
    let frame = out_frame(Suffix::version(300));
    let mut buf = BytesMut::new();
    frame.encode(&mut buf);
    let apart = [&frame.header().to_bytes()[..], &frame.body, frame.suffix.as_bytes()].concat();
    assert_eq!(buf, apart);
    assert_eq!(buf.len(), frame.len());
}

fn out_frame(suffix: Suffix) -> OutFrame {
    let body = Bytes::from(push().encode_to_vec());
    OutFrame { client_version: 200, cmd: CmdId::C2C_PUSH, seq: Seq::PUSH, body, suffix }
}

fn push() -> C2cPush {
    C2cPush { from: "alice".into(), content: "hi".into(), msgid: 42, timestamp: 1, ..Default::default() }
}
