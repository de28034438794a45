//! The frame decoder: any bytes, cut into any reads.

use bytes::BytesMut;
use im_proto::{Decoder, Frame, FrameError, HEADER_LEN, Limits};

/// The first four bytes choose the limit and the reads' length, the rest is the stream.
///
/// # Panics
///
/// If a frame exceeds the limit, if the reads' length changes what is decoded, or if a frame does not
/// survive being written and read again.
pub fn run(input: &[u8]) {
    let Some(([limit_high, limit_low, read_len, _], stream)) = input.split_first_chunk() else { return };
    let limits = Limits::new(usize::from(u16::from_be_bytes([*limit_high, *limit_low])));
    let at_once = decode_in_reads(stream, stream.len().max(1), limits);
    let in_reads = decode_in_reads(stream, usize::from(*read_len).max(1), limits);
    assert_eq!(at_once, in_reads, "the cut into reads changed what was decoded");
    for frame in &at_once.0 {
        assert!(HEADER_LEN + frame.body.len() <= limits.max_frame(), "over the limit: {frame:?}");
        assert_survives(frame, limits);
    }
}

/// The frames of a stream, up to its end or to its first error.
fn decode_in_reads(stream: &[u8], read_len: usize, limits: Limits) -> (Vec<Frame>, Option<FrameError>) {
    let decoder = Decoder::new(limits);
    let mut frames = Vec::new();
    let mut buf = BytesMut::new();
    for read in stream.chunks(read_len) {
        buf.extend_from_slice(read);
        loop {
            let before = (buf.len(), buf.capacity());
            match decoder.decode(&mut buf) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => {
                    assert_eq!(before, (buf.len(), buf.capacity()), "an incomplete frame changed the buffer");
                    break;
                }
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

fn assert_survives(frame: &Frame, limits: Limits) {
    let mut buf = BytesMut::new();
    frame.encode(&mut buf);
    let again = Decoder::new(limits).decode(&mut buf);
    assert_eq!(again.as_ref(), Ok(&Some(frame.clone())));
    assert!(buf.is_empty(), "more was written than one frame");
}
