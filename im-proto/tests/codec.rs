//! The adapter for `tokio_util`.

#![cfg(feature = "codec")]
#![allow(clippy::unwrap_used)]

use bytes::{Bytes, BytesMut};
use im_proto::codec::{CodecError, FrameCodec};
use im_proto::{CmdId, Frame, FrameError, Limits, OutFrame, Seq, Suffix};
use tokio_util::codec::{Decoder, Encoder};

#[test]
fn what_one_codec_writes_another_reads() {
    let mut buf = BytesMut::new();
    FrameCodec::default().encode(frame(b"hello"), &mut buf).unwrap();
    assert_eq!(FrameCodec::default().decode(&mut buf).unwrap(), Some(frame(b"hello")));
    assert_eq!(FrameCodec::default().decode(&mut buf).unwrap(), None);
}

#[test]
fn a_shared_body_is_written_with_its_suffix() {
    let mut buf = BytesMut::new();
    let out = OutFrame { suffix: Suffix::version(1), ..frame(b"body").into() };
    FrameCodec::default().encode(out, &mut buf).unwrap();
    assert_eq!(FrameCodec::default().decode(&mut buf).unwrap(), Some(frame(b"body\x50\x01")));
}

#[test]
fn a_frame_over_the_limit_is_neither_read_nor_written() {
    let mut small = FrameCodec::new(Limits::new(24));
    let mut buf = BytesMut::new();
    let refused = small.encode(frame(b"hello"), &mut buf);
    assert!(matches!(refused, Err(CodecError::Frame(FrameError::TooLarge { len: 25, max: 24 }))));
    assert!(buf.is_empty());
    frame(b"hello").encode(&mut buf);
    assert!(matches!(small.decode(&mut buf), Err(CodecError::Frame(FrameError::TooLarge { .. }))));
}

#[test]
fn a_stream_that_ends_within_a_frame_is_an_error() {
    let mut buf = BytesMut::from(&[0, 0, 0, 20, 0][..]);
    assert!(matches!(FrameCodec::default().decode_eof(&mut buf), Err(CodecError::Io(_))));
}

fn frame(body: &'static [u8]) -> Frame {
    Frame { client_version: 200, cmd: CmdId::C2C_SEND, seq: Seq(1), body: Bytes::from_static(body) }
}
