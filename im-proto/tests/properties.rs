//! What holds for every stream.

use bytes::{Bytes, BytesMut};
use im_proto::{CmdId, Decoder, Frame, FrameError, HEADER_LEN, Limits, OutFrame, Seq, Suffix};
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_written_frame_is_read_back(frame in frames()) {
        let mut buf = BytesMut::new();
        frame.encode(&mut buf);
        prop_assert_eq!(Decoder::default().decode(&mut buf), Ok(Some(frame)));
        prop_assert!(buf.is_empty());
    }

    #[test]
    fn a_stream_cut_anywhere_decodes_the_same(
        sent in vec((frames(), vec(any::<u8>(), 0..12)), 0..6),
        cuts in vec(1_usize..64, 1..40),
    ) {
        let mut stream = Vec::new();
        for (frame, options) in &sent {
            write_with_options(frame, options, &mut stream);
        }
        let expected: Vec<Frame> = sent.into_iter().map(|(frame, _)| frame).collect();
        prop_assert_eq!(read_in_pieces(&stream, &cuts, Limits::default()), (expected, None));
    }

    #[test]
    fn any_bytes_cut_anywhere_decode_the_same_and_stay_within_the_limit(
        bytes in vec(prop_oneof![4 => Just(0_u8), 1 => Just(20), 2 => any::<u8>()], 0..400),
        cuts in vec(1_usize..64, 1..40),
        max_frame in 20_usize..200,
    ) {
        let limits = Limits::new(max_frame);
        let whole = read_in_pieces(&bytes, &[bytes.len().max(1)], limits);
        for frame in &whole.0 {
            prop_assert!(HEADER_LEN + frame.body.len() <= max_frame);
        }
        prop_assert_eq!(read_in_pieces(&bytes, &cuts, limits), whole);
    }

    #[test]
    fn a_suffix_is_the_end_of_the_body(frame in frames(), version in any::<i64>()) {
        let suffix = Suffix::version(version);
        let joined = Bytes::from([&frame.body, suffix.as_bytes()].concat());
        let mut buf = BytesMut::new();
        OutFrame { suffix, ..frame.clone().into() }.encode(&mut buf);
        prop_assert_eq!(Decoder::default().decode(&mut buf), Ok(Some(Frame { body: joined, ..frame })));
    }
}

fn frames() -> impl Strategy<Value = Frame> {
    (any::<u32>(), any::<u32>(), any::<u32>(), vec(any::<u8>(), 0..300)).prop_map(
        |(client_version, cmd, seq, body)| Frame {
            client_version,
            cmd: CmdId(cmd),
            seq: Seq(seq),
            body: body.into(),
        },
    )
}

/// The frame as a newer peer may write it, with options after its header's 20 bytes.
fn write_with_options(frame: &Frame, options: &[u8], out: &mut Vec<u8>) {
    let head_len = u32::try_from(HEADER_LEN + options.len()).expect("a few options");
    out.extend(head_len.to_be_bytes());
    out.extend(&frame.header().to_bytes()[4..]);
    out.extend(options);
    out.extend(&frame.body);
}

/// The stream's frames up to its end or to its first error, read in pieces of these lengths, round and
/// round. Checks on the way that the decoder never makes the buffer grow.
fn read_in_pieces(stream: &[u8], cuts: &[usize], limits: Limits) -> (Vec<Frame>, Option<FrameError>) {
    let (mut frames, mut buf, mut rest) = (Vec::new(), BytesMut::new(), stream);
    for cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((*cut).min(rest.len()));
        rest = after;
        buf.extend_from_slice(piece);
        let capacity = buf.capacity();
        loop {
            match Decoder::new(limits).decode(&mut buf) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
        assert!(buf.capacity() <= capacity);
    }
    (frames, None)
}
